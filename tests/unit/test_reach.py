"""Which addresses cannot be reached, and why: real sockets, each with another fault."""

import socket
import socketserver
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
import trustme
from prometheus_client import CollectorRegistry

from consumer.kafka.reach import diagnose
from consumer.service.health import Health
from consumer.service.server import HealthServer
from tests.ports import NOWHERE, listening, refusing

SECONDS = 1.0


class _Closes(socketserver.BaseRequestHandler):
    """Reads nonsense and closes the connection, as a broker without TLS does with the beginning of a handshake."""

    def handle(self) -> None:
        """Do it."""
        self.request.recv(1000)


@contextmanager
def plaintext() -> Iterator[str]:
    """A broker without TLS."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Closes) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@contextmanager
def encrypted(asks_for_a_certificate: bool = False) -> Iterator[str]:
    """A broker with TLS, whose certificate we do not trust."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("kafka.example").configure_cert(context)
    if asks_for_a_certificate:
        context.maximum_version = ssl.TLSVersion.TLSv1_2  # it refuses within the handshake
        context.verify_mode = ssl.CERT_REQUIRED
        authority.configure_trust(context)

    class Handshakes(socketserver.BaseRequestHandler):
        """Does its part of the handshake."""

        def handle(self) -> None:
            """Do it."""
            try:
                context.wrap_socket(self.request, server_side=True).close()
            except OSError:
                self.request.close()

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handshakes) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@contextmanager
def http() -> Iterator[str]:
    """Another program."""
    server = HealthServer("127.0.0.1", 0, Health(60), CollectorRegistry(), bytes)
    yield f"127.0.0.1:{server.port}"
    server.close()


def test_each_way_not_to_be_reached_has_its_own_line_with_address_and_remedy() -> None:
    """A name, a refused port, a silent address, a frozen broker and another program are five different lines."""
    with refusing() as refused, listening(accepts=False) as silent, listening() as frozen, http() as other:
        wanted = {
            NOWHERE: ("the name kafka.nowhere.invalid cannot be resolved (", "check its spelling, and the DNS"),
            refused: (f"{refused} refuses connections", "check the port, and that Kafka runs there"),
            silent: (f"{silent} is silent", "firewalls"),
            frozen: (f"{frozen} takes connections and does not answer", "frozen"),
            other: (f"{other} answers, but not as Kafka does", "check the port"),
        }
        for tls in (False, True):
            for address, (what, remedy) in wanted.items():
                line = diagnose([address], [], tls, SECONDS)
                assert line.startswith(what)
                assert remedy in line


def test_a_port_with_the_other_encryption_is_named() -> None:
    """TLS spoken to in plaintext, and the reverse. The right one is no finding, trusted or not."""
    with plaintext() as open_, encrypted() as closed, encrypted(asks_for_a_certificate=True) as mutual:
        assert diagnose([open_], [], False, SECONDS) == ""
        assert f"{open_} does not speak TLS" in diagnose([open_], [], True, SECONDS)
        for tls in (closed, mutual):
            assert diagnose([tls], [], True, SECONDS) == ""
            assert f"{tls} speaks TLS; set security_protocol to SASL_SSL" in diagnose([tls], [], False, SECONDS)


def test_an_advertised_address_that_leads_nowhere_is_told_apart() -> None:
    """The line names the broker that answered, the address that it sent us to, why that fails, and the setting."""
    with plaintext() as answers, refusing() as refused, listening(accepts=False) as silent:
        for advertised, why in (
            (NOWHERE, "the name kafka.nowhere.invalid cannot be resolved"),
            (refused, f"{refused} refuses connections"),
            (silent, f"{silent} is silent"),
        ):
            line = diagnose([answers], [advertised], False, SECONDS)
            assert line.startswith(f"{answers} answers and sends clients on")
            assert why in line
            assert "correct advertised.listeners" in line
        # The same address in the settings and advertised: there is no other one to correct.
        assert diagnose([refused], [refused], False, SECONDS).startswith(f"{refused} refuses connections")


def test_one_server_that_answers_is_enough_to_begin_with() -> None:
    """Of several bootstrap servers some may be away: then they are not the cause."""
    with plaintext() as answers, refusing() as refused:
        assert diagnose([refused, answers], [], False, SECONDS) == ""
        assert diagnose([refused, answers], [answers], False, SECONDS) == ""
        line = diagnose([NOWHERE, refused], [], False, SECONDS)
        assert "cannot be resolved" in line
        assert f"{refused} refuses connections" in line


def test_a_large_cluster_makes_no_long_line() -> None:
    """Three addresses stand for the others."""
    with ExitStack() as ending:
        refused = [ending.enter_context(refusing()) for _ in range(10)]
        line = diagnose(refused, [], False, SECONDS)
    assert line.count("refuses connections") == 3
    assert line.endswith("(and 7 more)")


def test_a_resolver_that_does_not_answer_takes_no_longer_than_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    """`getaddrinfo` has no timeout: a DNS server that is away would take half a minute."""
    ending = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: ending.wait(60) and [])
    began = time.monotonic()
    line = diagnose(["kafka:9092"], [], False, 0.5)
    ending.set()
    assert line.startswith("the name kafka cannot be resolved (no answer within 0.5 s)")
    assert time.monotonic() - began < 1.2


@pytest.mark.parametrize("advertised", ["k\u00e4fka..:9092", "\u200b:9092", "a" * 300 + ":9092", ":9092", "kafka:0"])
def test_a_strange_advertised_address_is_reported(advertised: str) -> None:
    """Brokers may advertise anything; nothing of it raises."""
    with plaintext() as answers:
        assert "correct advertised.listeners" in diagnose([answers], [advertised], False, SECONDS)
