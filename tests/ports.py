"""Addresses that lead to no broker, each in another way."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

#: A host that no resolver knows.
NOWHERE = "kafka.nowhere.invalid:9092"


@contextmanager
def listening(accepts: bool = True) -> Iterator[str]:
    """A port of a program that reads nothing: as of a frozen broker, or with a full queue, of a firewall."""
    with ExitStack() as ending:
        server = ending.enter_context(socket.socket())
        server.bind(("127.0.0.1", 0))
        server.listen(20 if accepts else 0)
        if not accepts:
            for _ in range(3):
                waiting = ending.enter_context(socket.socket())
                waiting.setblocking(False)
                waiting.connect_ex(server.getsockname())
        yield f"127.0.0.1:{server.getsockname()[1]}"


@contextmanager
def refusing() -> Iterator[str]:
    """A port that is bound, and that no program listens on."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{bound.getsockname()[1]}"
