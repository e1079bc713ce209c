"""/live, /ready and /metrics on one small port, served by one thread."""

import threading
import time
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, HTTPServer

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from consumer.errors import UsageError

#: A scrape storm renders the metrics once in this many seconds.
CACHE_SECONDS = 1.0
#: A client that sends nothing is dropped after this many seconds.
CLIENT_SECONDS = 2.0


class Health:
    """What the probes answer: `not_ready_because` is empty when the worker is ready."""

    def __init__(self, live_seconds: float) -> None:
        self._live_seconds = live_seconds
        self._last_turn = time.monotonic()
        self.not_ready_because = "starting"

    def turned(self) -> None:
        """Note that the loop made a turn."""
        self._last_turn = time.monotonic()

    @property
    def live(self) -> bool:
        """Whether the loop still turns."""
        return time.monotonic() - self._last_turn < self._live_seconds

    @property
    def ready(self) -> bool:
        """Whether reviews are being taken."""
        return self.live and not self.not_ready_because


class _Server(HTTPServer):
    request_queue_size = 128  # connections of a scrape storm that wait for the one thread


class HealthServer:
    """Listens from construction on; `port` is the one in use.

    Raises:
        UsageError: the port is taken or the address is not ours.
    """

    def __init__(self, host: str, port: int, health: Health, registry: CollectorRegistry) -> None:
        try:
            self._server = _Server((host, port), _handler(health, _cached(registry)))
        except (OSError, OverflowError) as error:
            raise UsageError(
                f"cannot listen on {host}:{port} ({error}); set another metrics_port, or 0 for any free one"
            ) from error
        self.host, self.port = host, self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), name="health", daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """Address of the port, for people."""
        return f"http://{self.host}:{self.port}"

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()


def _cached(registry: CollectorRegistry) -> Callable[[], bytes]:
    rendered, until = b"", 0.0

    def render() -> bytes:
        nonlocal rendered, until
        if time.monotonic() >= until:
            rendered, until = generate_latest(registry), time.monotonic() + CACHE_SECONDS
        return rendered

    return render


def _handler(health: Health, metrics: Callable[[], bytes]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = CLIENT_SECONDS
        server_version, sys_version = "review-consumer", ""

        def do_GET(self) -> None:
            match self.path.partition("?")[0]:
                case "/metrics":
                    self._answer(HTTPStatus.OK, metrics(), CONTENT_TYPE_LATEST)
                case "/live":
                    self._probe(health.live, "the loop does not turn")
                case "/ready":
                    self._probe(health.ready, health.not_ready_because or "the loop does not turn")
                case _:
                    self._answer(HTTPStatus.NOT_FOUND, b"/live /ready /metrics\n")

        def _probe(self, good: bool, otherwise: str) -> None:
            status = HTTPStatus.OK if good else HTTPStatus.SERVICE_UNAVAILABLE
            self._answer(status, f"{'ok' if good else otherwise}\n".encode())

        def _answer(self, status: HTTPStatus, body: bytes, content_type: str = "text/plain; charset=utf-8") -> None:
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Probes are not worth a log line."""

    return Handler
