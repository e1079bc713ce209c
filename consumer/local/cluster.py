"""A cluster of several brokers on this machine; `consumer.local.broker` is the same with one broker.

    with LocalCluster(3) as kafka:
        kafka.create_topics({"reviews": 4})
        kafka.nodes[0].kill()
        kafka.start(kafka.nodes[0])

Readiness is asked of the cluster itself, not guessed from a delay.
"""

import fcntl
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import IO, Any, Self

from consumer.errors import KafkaUnusable, UsageError
from consumer.kafka import admin
from consumer.local import tools
from consumer.local.config import server_properties
from consumer.local.node import HOST, Node, Ports, is_free

#: Usually 2-3 seconds; longer on a loaded machine with a cold disk.
READY_TIMEOUT_SECONDS = 90.0
_POLL_SECONDS = 0.05
_START_ATTEMPTS = 4


class LocalCluster:
    """Real Kafka brokers, each also a controller. A context manager: ready on entry, gone on exit.

    By default ports are free ones and data is temporary. No broker outlives this process, however it ends.

    Args:
        brokers: number of brokers. With three or more, topics have three replicas, two of which must be in sync.
        port: port of the first broker, the others use the ones after it; None takes free ports.
        data_dir: directory that keeps the data for the next start; None uses a temporary one.
        properties: more server properties; they override the built-in ones.
        protocol: of the listener for clients: PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL.
        advertised: HOST:PORT that each broker advertises to clients, such as a proxy; empty: its listener.
        on_waiting: called repeatedly while brokers start; an exception from it ends the start cleanly.
    """

    def __init__(
        self,
        brokers: int = 3,
        *,
        port: int | None = None,
        data_dir: Path | None = None,
        properties: Mapping[str, str] | None = None,
        protocol: str = "PLAINTEXT",
        advertised: Sequence[str] = (),
        on_waiting: Callable[[], None] | None = None,
    ) -> None:
        self.nodes: list[Node] = []
        self._given_ports = [None] * brokers if port is None else list(range(port, port + brokers))
        self._data_dir = data_dir
        self._properties = dict(properties or {})
        self._protocol = protocol
        self._advertised: list[str | None] = list(advertised) or [None] * brokers
        self._on_waiting = on_waiting or (lambda: None)
        self._directory = Path()
        self._temporary: Path | None = None
        self._lock: IO[str] | None = None
        self._resources = ExitStack()

    def __enter__(self) -> Self:
        """Start the brokers and wait until they are ready.

        Raises:
            UsageError: a port is taken, or Java or Kafka's jars are missing.
            KafkaUnusable: a broker ended or was not ready in time.
        """
        try:
            self._create()
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._remove()

    @property
    def bootstrap(self) -> str:
        """The brokers' listeners for clients, comma-separated."""
        return ",".join(node.bootstrap for node in self.nodes)

    def start(self, *nodes: Node) -> None:
        """Start those of these nodes (default: all) that are not running, with their ports and data.

        Raises:
            KafkaUnusable: a broker ended or was not ready in time.
        """
        for node in nodes or self.nodes:
            if not node.running:
                node.start()
        self.wait_until_ready(nodes or self.nodes)

    def stop(self) -> None:
        """Stop all brokers gracefully; `start` starts them again with their data."""
        for node in self.nodes:
            node.stop()

    def wait_until_ready(self, nodes: Sequence[Node]) -> None:
        """Return when the cluster itself lists these nodes.

        Raises:
            KafkaUnusable: one of them ended or was not ready in time.
        """
        deadline = time.monotonic() + READY_TIMEOUT_SECONDS
        while not self._takes_part(nodes):
            self._on_waiting()
            for node in nodes:
                if not node.running:
                    raise KafkaUnusable(f"the local broker {node.node_id} ended: {node.last_words()}")
            if time.monotonic() > deadline:
                raise KafkaUnusable(f"the local broker was not ready after {READY_TIMEOUT_SECONDS:.0f} s")
            time.sleep(_POLL_SECONDS)

    def create_topics(
        self, topics: Mapping[str, int], configs: Mapping[str, str] | None = None, *, exist_ok: bool = False
    ) -> None:
        """Create topics and wait until every partition has a leader.

        Args:
            topics: number of partitions by topic name.
            configs: topic configuration for all of them, such as {"max.message.bytes": "2000000"}.
            exist_ok: leave existing topics unchanged.

        Raises:
            kafka.errors.KafkaError: refused by the cluster, for example TopicAlreadyExistsError.
        """
        admin.create_topics(self._internal, topics, configs, exist_ok=exist_ok)

    def admin(self) -> AbstractContextManager[Any]:
        """A kafka-python `KafkaAdminClient` on the internal listener: all rights, no password, no proxy in between."""
        return admin.open_admin(self._internal)

    @property
    def _internal(self) -> list[str]:
        return [node.internal for node in self.nodes if node.running]

    def _create(self) -> None:
        tools.prepare()
        for port in self._given_ports:
            if port is not None and not is_free(port):
                raise UsageError(
                    f"port {port} of {HOST} is in use; choose another --port, or stop the program that listens there"
                )
        self._open_directory()
        for attempt in range(1, _START_ATTEMPTS + 1):
            self._lay_out()
            try:
                self.start()
                break
            except KafkaUnusable:
                # Another process may have taken a port between the check and Kafka's bind.
                if attempt == _START_ATTEMPTS or not any(node.found_port_taken() for node in self.nodes):
                    raise
                self._kill()

    def _open_directory(self) -> None:
        """Open a temporary directory, or lock the given one: two clusters in one directory would destroy its data."""
        if self._data_dir is None:
            self._directory = self._temporary = Path(tempfile.mkdtemp(prefix="review-consumer-kafka-"))
            return
        self._directory = self._data_dir.absolute()
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            self._lock = self._resources.enter_context((self._directory / ".lock").open("w"))
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            kept = len([*self._directory.glob("broker-*")])
        except BlockingIOError as error:
            raise UsageError(f"another broker uses {self._data_dir}; stop it, or choose another --data-dir") from error
        except OSError as error:
            raise UsageError(f"cannot write to {self._data_dir} ({error}); choose another --data-dir") from error
        # If most controllers were new, they would elect one of themselves, and all topics would be lost.
        if kept not in (0, len(self._advertised)):
            raise UsageError(
                f"{self._data_dir} has the data of {kept} broker(s); use --brokers {kept}, or choose another --data-dir"
            )

    def _lay_out(self) -> None:
        """Choose ports, write the properties of each node and format its data directory."""
        ports = [Ports.free(port) for port in self._given_ports]
        self.nodes = []
        for index, advertised in enumerate(self._advertised):
            directory = self._directory / f"broker-{index + 1}"
            properties = server_properties(
                index + 1,
                ports,
                directory / "data",
                protocol=self._protocol,
                advertised=advertised,
                extra=self._properties,
            )
            self.nodes.append(Node(directory, properties, ports[index], temporary=self._temporary, lock=self._lock))
        for node in self.nodes:
            self._on_waiting()
            node.format()

    def _takes_part(self, nodes: Sequence[Node]) -> bool:
        try:
            for node in nodes:
                socket.create_connection((HOST, node.ports.internal), timeout=1).close()
        except OSError:
            return False
        return admin.known_brokers(self._internal).issuperset(node.node_id for node in nodes)

    def _kill(self) -> None:
        for node in self.nodes:
            node.kill()

    def _remove(self) -> None:
        if self._temporary is None:
            self.stop()
        else:
            self._kill()  # temporary data needs no graceful stop
            shutil.rmtree(self._temporary, ignore_errors=True)
        self._resources.close()
