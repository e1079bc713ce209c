"""/live, /ready, /metrics and a page for people on one small port.

It is served by a few threads, so that no client delays another's probe.
"""

import io
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from consumer.errors import UsageError
from consumer.service.health import STALLED, Health
from consumer.service.page import manual
from consumer.service.page.markup import HEADERS

PATHS = ("/", "/live", "/ready", "/metrics", "/docs")
METHODS = ("GET", "HEAD")
#: However many scrapes and viewers come, the metrics and the page are rendered at most once in this many seconds.
CACHE_SECONDS = 1.0
#: A client whose request is not complete after this many seconds is dropped.
CLIENT_SECONDS = 2.0
#: Clients served at a time; this bounds the memory that slow clients can take.
CLIENTS = 32
#: When others wait for a thread, a client whose request is not complete after this many seconds is dropped: a probe
#: sends its request at once.
CROWD_SECONDS = 0.25


class _Server(ThreadingHTTPServer):
    request_queue_size = 128  # connections of a scrape storm that wait for a thread
    daemon_threads = True  # closing does not wait for them

    def __init__(
        self, host: str, port: int, health: Health, metrics: Callable[[], bytes], page: Callable[[], bytes]
    ) -> None:
        self.health, self.metrics, self.page = health, metrics, page
        self._free = threading.Semaphore(CLIENTS)
        self._waited_for: dict[Any, float] = {}  # since when
        if ":" in host:
            self.address_family = socket.AF_INET6
        super().__init__((host, port), _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        # A client that disconnects during its request is not worth a log line.
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)

    def process_request(self, request: Any, client_address: Any) -> None:
        # Each client is done or dropped within CLIENT_SECONDS; if one were not, close() would still not wait forever.
        deadline = time.monotonic() + 2 * CLIENT_SECONDS
        while not self._free.acquire(timeout=CROWD_SECONDS):
            self._drop_silent()
            if time.monotonic() > deadline:
                self.shutdown_request(request)
                return
        self._waited_for[request] = time.monotonic()
        try:
            super().process_request(request, client_address)
        except RuntimeError:  # out of threads
            self.has_asked(request)
            self._free.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self.has_asked(request)
            self._free.release()

    def has_asked(self, request: Any) -> None:
        """The request of this client is complete, or will never be."""
        self._waited_for.pop(request, None)

    def _drop_silent(self) -> None:
        for client, since in list(self._waited_for.items()):
            # Its thread may take it off the list at this moment, to answer.
            is_silent = time.monotonic() - since >= CROWD_SECONDS
            if is_silent and self._waited_for.pop(client, None) is not None:
                with suppress(OSError):  # it has disconnected by itself
                    client.shutdown(socket.SHUT_RDWR)


class _Until(io.RawIOBase):
    """What a client sends until the deadline; the timeout of a socket alone restarts with every byte."""

    def __init__(self, connection: socket.socket, deadline: float) -> None:
        self._connection = connection
        self._deadline = deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if (left := self._deadline - time.monotonic()) <= 0:
            raise TimeoutError
        self._connection.settimeout(left)
        return self._connection.recv_into(buffer)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    server_version, sys_version = "review-consumer", ""

    def setup(self) -> None:
        super().setup()
        self.rfile.close()
        self.rfile = io.BufferedReader(_Until(self.connection, time.monotonic() + CLIENT_SECONDS))

    def parse_request(self) -> bool:
        """Read the request; whether `http.server` is to call its method. It knows GET and HEAD alone."""
        parsed = super().parse_request()
        self.server.has_asked(self.connection)
        if parsed and self.command not in METHODS:
            self._route()
            return False
        return parsed

    def do_GET(self) -> None:
        self._route()

    def do_HEAD(self) -> None:
        self._route()

    def _route(self) -> None:
        path = self.path.partition("?")[0]
        if path not in PATHS and not path.startswith("/docs/"):
            self._not_found()
        elif self.command not in METHODS:
            self._answer(HTTPStatus.METHOD_NOT_ALLOWED, b"use GET or HEAD\n", Allow=", ".join(METHODS))
        elif path == "/metrics":
            self._answer(HTTPStatus.OK, self.server.metrics(), CONTENT_TYPE_LATEST)
        elif path == "/":
            self._answer(HTTPStatus.OK, self.server.page(), "text/html; charset=utf-8", **HEADERS)
        elif path.startswith("/docs"):
            self._manual(path.removeprefix("/docs").strip("/"))
        elif path == "/live":
            self._probe(self.server.health.live, STALLED)
        else:
            self._probe(self.server.health.ready, self.server.health.readiness.reason or STALLED)

    def _manual(self, name: str) -> None:
        pages = manual.pages()
        if not name:
            self._answer(HTTPStatus.OK, "".join(f"/docs/{each}\n" for each in sorted(pages)).encode())
        elif name in pages:
            self._answer(HTTPStatus.OK, pages[name].read_bytes())
        else:
            self._not_found()

    def _not_found(self) -> None:
        self._answer(HTTPStatus.NOT_FOUND, f"{' '.join(PATHS)}\n".encode())

    def _probe(self, good: bool, otherwise: str) -> None:
        status = HTTPStatus.OK if good else HTTPStatus.SERVICE_UNAVAILABLE
        self._answer(status, f"{'ok' if good else otherwise}\n".encode())

    def _answer(
        self, status: HTTPStatus, body: bytes, content_type: str = "text/plain; charset=utf-8", **headers: str
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Content-Type-Options", "nosniff")
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Probes are not worth a log line."""


class HealthServer:
    """Listens as soon as it exists; `port` is the one in use.

    Args:
        host: address to listen on.
        port: 0 is any free one.
        health: what the probes report.
        registry: the metrics.
        page: renders what is at `/`.

    Raises:
        UsageError: the port is taken, or the address is not one of this machine.
    """

    def __init__(
        self, host: str, port: int, health: Health, registry: CollectorRegistry, page: Callable[[], bytes]
    ) -> None:
        metrics = _cached(lambda: generate_latest(registry))
        try:
            self._server = _Server(host, port, health, metrics, _cached(page))
        except (OSError, OverflowError) as error:
            raise UsageError(
                f"cannot listen on {host}:{port} ({error}); set another metrics_host, or another metrics_port (0: any "
                "free one)"
            ) from error
        self.host, self.port = host, self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), name="health", daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """Address, for people."""
        return f"http://[{self.host}]:{self.port}" if ":" in self.host else f"http://{self.host}:{self.port}"

    def close(self) -> None:
        """Stop listening; does not wait for clients that are not done."""
        self._server.shutdown()
        self._server.server_close()


def _cached(render: Callable[[], bytes]) -> Callable[[], bytes]:
    rendered, until, one_at_a_time = b"", 0.0, threading.Lock()

    def cached() -> bytes:
        nonlocal rendered, until
        with one_at_a_time:
            if time.monotonic() >= until:
                rendered, until = render(), time.monotonic() + CACHE_SECONDS
            return rendered

    return cached
