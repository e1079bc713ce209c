"""One real Kafka broker on this machine.

    with LocalBroker() as kafka:
        kafka.create_topics({"reviews": 4})
        ... kafka.bootstrap ...

It is ready on entry; process, data and ports are gone on exit, and also if this program is killed.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

from consumer.local.cluster import LocalCluster
from consumer.local.node import Node


class LocalBroker(LocalCluster):
    """A cluster of one, with the faults that a test may ask of it.

    Args:
        port: where it listens; a free port if None.
        data_dir: where data is kept for the next start; a temporary directory if None.
        properties: more server properties; they win over the built-in ones.
        protocol: of the listener for clients: PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL.
        advertised: HOST:PORT that clients are told to use (a proxy in front); the listener's own if None.
        on_waiting: see `LocalCluster`.
    """

    def __init__(
        self,
        *,
        port: int | None = None,
        data_dir: Path | None = None,
        properties: Mapping[str, str] | None = None,
        protocol: str = "PLAINTEXT",
        advertised: str | None = None,
        on_waiting: Callable[[], None] | None = None,
    ) -> None:
        super().__init__(
            1,
            port=port,
            data_dir=data_dir,
            properties=properties,
            protocol=protocol,
            advertised=[advertised] if advertised else (),
            on_waiting=on_waiting,
        )

    @property
    def node(self) -> Node:
        """The broker's process."""
        return self.nodes[0]

    @property
    def port(self) -> int:
        """Where it listens for clients."""
        return self.node.ports.client

    @property
    def pid(self) -> int:
        """The process id of the broker."""
        return self.node.pid

    @property
    def log_path(self) -> Path:
        """What the broker logs."""
        return self.node.log_path

    def kill(self) -> None:
        """End it at once (SIGKILL); `start` brings it back on the same port and data."""
        self.node.kill()

    def pause(self) -> None:
        """Freeze it (SIGSTOP)."""
        self.node.pause()

    def resume(self) -> None:
        """Let it go on after `pause`."""
        self.node.resume()

    def restart(self) -> None:
        """Stop it in order and start it again on the same port and data."""
        self.stop()
        self.start()
