"""The probes report the state of the worker, and scrapes are cheap."""

import http.client
import socket
import struct
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from socketserver import ThreadingMixIn
from typing import Self

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily

from consumer.records.poll import Obstacle
from consumer.service.health import STALLED, Health
from consumer.service.server import CLIENT_SECONDS, CLIENTS, HealthServer
from tests.worker_process import wait_until


class Counting:
    """A collector that counts how often it is rendered."""

    times = 0

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """One gauge."""
        self.times += 1
        yield GaugeMetricFamily("times", "rendered", self.times)


@pytest.fixture
def health() -> Health:
    """A worker that has not started."""
    return Health(live_seconds=60)


@pytest.fixture
def counting() -> Counting:
    """What /metrics renders."""
    return Counting()


@pytest.fixture
def server(health: Health, counting: Counting) -> Iterator[HealthServer]:
    """Listening on a free port."""
    registry = CollectorRegistry()
    registry.register(counting)
    server = HealthServer("127.0.0.1", 0, health, registry, lambda: b"<!doctype html>")
    yield server
    server.close()


class Dripping:
    """Clients that send one byte of a request after the other, until the `with` block ends or all are dropped."""

    def __init__(self, server: HealthServer, clients: int) -> None:
        self._ending = ExitStack()
        self._stop = threading.Event()
        self.left = [
            self._ending.enter_context(socket.create_connection((server.host, server.port))) for _ in range(clients)
        ]
        self._thread = threading.Thread(target=self._drip)

    def _drip(self) -> None:
        while self.left and not self._stop.wait(0.1):
            self.left = [client for client in self.left if self._sent(client)]

    def _sent(self, client: socket.socket) -> bool:
        try:
            return client.send(b"x") == 1
        except OSError:
            return False

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._ending.close()


def being_answered() -> int:
    """Threads that have a client in hand."""
    return sum("process_request_thread" in thread.name for thread in threading.enumerate())


def get(server: HealthServer, path: str, timeout: float = 30) -> tuple[int, str]:
    """Status and body."""
    try:
        with urllib.request.urlopen(server.url + path, timeout=timeout) as answer:  # noqa: S310 - our own address
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def ask(
    server: HealthServer, method: str, path: str, body: bytes | None = None
) -> tuple[int, dict[str, str | None], bytes]:
    """Status, the headers that matter, and the body."""
    connection = http.client.HTTPConnection(server.host, server.port, timeout=30)
    try:
        connection.request(method, path, body)
        answer = connection.getresponse()
        headers = {name: answer.getheader(name) for name in ("Content-Type", "Content-Length", "Allow")}
        return answer.status, headers, answer.read()
    finally:
        connection.close()


def after_headers(server: HealthServer, method: str, path: str) -> bytes:
    """Every byte that comes after the headers; http.client would not show a body after HEAD."""
    with socket.create_connection((server.host, server.port)) as client, client.makefile("rb") as answer:
        client.sendall(f"{method} {path} HTTP/1.0\r\n\r\n".encode())
        return answer.read().partition(b"\r\n\r\n")[2]


def test_ready_says_why_not(server: HealthServer, health: Health) -> None:
    """/ready is 503 with the reason in each state but READY; /live is 200 throughout."""
    steps: list[tuple[Callable[[], object], str]] = [
        (lambda: None, "starting"),
        (lambda: health.starting("topic reviews does not exist"), "topic reviews does not exist"),
        (lambda: health.answered(Obstacle.OUTSIDE), "not in the consumer group yet"),
        (lambda: health.answered(Obstacle.IN_DOUBT), "waiting for the committed offsets of its partitions"),
        (lambda: health.unanswered("kafka:9092"), "no answer from kafka:9092"),
    ]
    for step, reason in steps:
        step()
        assert get(server, "/ready") == (503, f"{reason}\n")
        assert get(server, "/live") == (200, "ok\n")
    health.answered(None)
    assert get(server, "/ready") == (200, "ok\n")


def test_only_news_is_news(health: Health) -> None:
    """The start and the loop log a state when it begins, not each time they see it."""
    assert health.starting("connecting")
    assert not health.starting("connecting")
    assert health.unanswered("kafka:9092")
    assert not health.unanswered("kafka:9092")
    health.answered(None)
    assert health.unanswered("kafka:9092")


def test_a_loop_that_has_stalled_is_neither_live_nor_ready(server: HealthServer, health: Health) -> None:
    """Both probes fail when the last turn is too long ago, and recover with the next one."""
    health.answered(None)
    health._last_turn -= 61
    assert get(server, "/live") == get(server, "/ready") == (503, f"{STALLED}\n")
    health.turned()
    assert get(server, "/live")[0] == get(server, "/ready")[0] == 200


def test_unknown_paths_are_not_found(server: HealthServer) -> None:
    """The answer names those that exist."""
    for path in ("/nowhere", "/docs/../pyproject", "/docs/nothing", "/docsrunbook"):
        assert get(server, path) == (404, "/ /live /ready /metrics /docs\n")


@pytest.mark.parametrize(
    "path", ["/", "/live", "/ready", "/ready?verbose=1", "/metrics", "/docs", "/docs/runbook", "/nowhere"]
)
@pytest.mark.parametrize("is_ready", [False, True])
def test_head_is_answered_like_get_without_a_body(
    server: HealthServer, health: Health, path: str, is_ready: bool
) -> None:
    """`curl -I`, `wget --spider` and many load balancers probe with HEAD: the same status and headers, no body."""
    if is_ready:
        health.answered(None)
    status, headers, body = ask(server, "GET", path)
    assert body
    assert headers["Content-Length"] == str(len(body))
    assert after_headers(server, "HEAD", path) == b""
    assert ask(server, "HEAD", path)[:2] == (status, headers)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND", "get"])
def test_other_methods_are_not_allowed(server: HealthServer, method: str) -> None:
    """405 with the methods that are allowed; elsewhere 404."""
    for path in ("/", "/live", "/ready", "/metrics", "/docs/runbook"):
        status, headers, body = ask(server, method, path, None if method == "TRACE" else b"x" * 10_000)
        assert (status, headers["Allow"], body) == (405, "GET, HEAD", b"use GET or HEAD\n")
    assert ask(server, method, "/nowhere")[0] == 404


def test_a_body_that_never_comes_is_not_waited_for(server: HealthServer) -> None:
    """A client that announces a body and sends none is answered at once, and takes no thread."""
    with socket.create_connection((server.host, server.port), timeout=CLIENT_SECONDS / 2) as client:
        client.sendall(b"POST /live HTTP/1.1\r\nContent-Length: 1000000000\r\n\r\n")
        assert client.recv(1000).startswith(b"HTTP/1.0 405 ")


def test_a_client_that_is_gone_at_once_leaves_no_trace(server: HealthServer, capfd: pytest.CaptureFixture[str]) -> None:
    """Load balancers and port scanners reset their connections; each would be a stack trace between lines of JSON."""
    for _ in range(20):
        with socket.create_connection((server.host, server.port)) as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    assert get(server, "/live")[0] == 200
    wait_until(lambda: server._server._free._value == CLIENTS, 10, "all are done")
    assert capfd.readouterr() == ("", "")


def test_an_ipv6_address_is_listened_on(health: Health) -> None:
    """`--metrics-host ::` is how a worker is reached in a cluster without IPv4."""
    server = HealthServer("::1", 0, health, CollectorRegistry(), bytes)
    try:
        health.answered(None)
        assert get(server, "/ready")[0] == 200
        assert server.url == f"http://[::1]:{server.port}"
    finally:
        server.close()


def test_a_scrape_storm_renders_rarely(server: HealthServer, counting: Counting) -> None:
    """Two hundred scrapes at once are answered from a rendering that is shared."""
    answers: list[int] = []
    before = counting.times
    scrapers = [threading.Thread(target=lambda: answers.append(get(server, "/metrics")[0])) for _ in range(200)]
    for scraper in scrapers:
        scraper.start()
    for scraper in scrapers:
        scraper.join()
    assert answers == [200] * 200
    assert counting.times - before < 50


def test_metrics_are_rendered(server: HealthServer) -> None:
    """/metrics is in the format that Prometheus reads."""
    assert "# TYPE times gauge" in get(server, "/metrics")[1]


def test_a_client_that_drips_delays_no_other(server: HealthServer) -> None:
    """Probes are answered beside it, and it is dropped though every byte comes in time."""
    with Dripping(server, 1) as dripping:
        wait_until(lambda: being_answered() == 1, 10, "it is being served")
        assert get(server, "/live", timeout=CLIENT_SECONDS / 2) == (200, "ok\n")
        wait_until(lambda: not dripping.left, 3 * CLIENT_SECONDS, "it is dropped")


def test_a_crowd_of_dripping_clients_takes_a_bounded_number_of_threads(server: HealthServer) -> None:
    """The surplus waits unread until others are dropped, and so does a probe behind it, which is answered then."""
    with Dripping(server, 2 * CLIENTS):
        wait_until(lambda: being_answered() == CLIENTS, 10, "all threads are taken")
        assert get(server, "/live") == (200, "ok\n")
        assert being_answered() <= CLIENTS


@pytest.mark.parametrize("beginning", [b"", b"GET /live HTTP/1.1\r\nHost: "])
def test_a_crowd_that_asks_nothing_holds_up_no_probe(server: HealthServer, beginning: bytes) -> None:
    """Three times as many connections as there are threads, and no whole request: a probe behind them is answered."""
    with ExitStack() as crowd:
        for _ in range(3 * CLIENTS):
            crowd.enter_context(socket.create_connection((server.host, server.port))).sendall(beginning)
        wait_until(lambda: being_answered() == CLIENTS, 10, "all threads are taken")
        assert get(server, "/live", timeout=CLIENT_SECONDS) == (200, "ok\n")
    wait_until(lambda: server._server._free._value == CLIENTS and not server._server._waited_for, 10, "all are done")


def test_clients_that_no_thread_was_left_for_are_not_counted(
    server: HealthServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine that is out of threads for a while loses these answers, not the ones after them."""

    def no_thread(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(ThreadingMixIn, "process_request", no_thread)
        for _ in range(CLIENTS + 1):
            with pytest.raises(ConnectionError):
                get(server, "/live", timeout=5)
    assert get(server, "/live", timeout=5) == (200, "ok\n")


def test_a_client_that_drips_does_not_hold_up_the_end(server: HealthServer) -> None:
    """The worker exits although a client never finishes its request."""
    with Dripping(server, 1):
        wait_until(lambda: being_answered() == 1, 10, "it is being served")
        closing = threading.Thread(target=server.close, daemon=True)
        closing.start()
        closing.join(CLIENT_SECONDS / 2)
        assert not closing.is_alive()
