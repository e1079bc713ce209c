"""One real Kafka broker on this machine.

    with LocalBroker() as kafka:
        kafka.create_topics({"reviews": 4})
        ... kafka.bootstrap ...

It is ready on entry. Process, data and ports are gone on exit, even if this program is killed.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

from consumer.local.cluster import LocalCluster
from consumer.local.node import Node


class LocalBroker(LocalCluster):
    """A cluster of one broker, with the faults that a test can cause.

    Args:
        port: port to listen on; None takes a free one.
        data_dir: directory that keeps the data for the next start; None uses a temporary one.
        properties: more server properties; they override the built-in ones.
        protocol: of the listener for clients: PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL.
        advertised: HOST:PORT that the broker advertises to clients, such as a proxy; None: its listener.
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
        """Port of the listener for clients."""
        return self.node.ports.client

    @property
    def pid(self) -> int:
        """The process id of the broker."""
        return self.node.pid

    @property
    def log_path(self) -> Path:
        """The log of the broker."""
        return self.node.log_path

    def kill(self) -> None:
        """Kill it (SIGKILL); `start` starts it again with the same port and data."""
        self.node.kill()

    def pause(self) -> None:
        """Freeze it (SIGSTOP)."""
        self.node.pause()

    def resume(self) -> None:
        """Continue after `pause` (SIGCONT)."""
        self.node.resume()

    def restart(self) -> None:
        """Stop it gracefully and start it again with the same port and data."""
        self.stop()
        self.start()
