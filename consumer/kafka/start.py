"""The way from settings to clients that work: wait for Kafka and the topics, say why, tell what waiting cannot mend."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from kafka.errors import KafkaError, RetriableError

from consumer.errors import KafkaUnusable
from consumer.kafka.client import Clients, LastWarning, fatal_cause, new_consumer, new_producer, new_reader, reason_of
from consumer.settings import WorkerSettings

log = logging.getLogger(__name__)

RETRY_SECONDS = 0.5
#: The first Kafka that refuses the offsets of a worker which its group has left behind, and tells one that asks for
#: committed offsets of those that a transaction still decides (KIP-447). kafka-python leaves both out for older ones.
EXACTLY_ONCE_SINCE = (2, 5)


@dataclass(frozen=True, slots=True)
class Connection:
    """A consumer that is in no group yet, a producer, a reader of results, and the partitions of each topic.

    A start that was ended early leaves None where it had not come to; at-least-once delivery needs no reader.
    """

    consumer: Any
    producer: Any
    reader: Any
    partitions: dict[str, int]

    def close(self, timeout_seconds: float) -> None:
        """Leave the group and close, within `timeout_seconds`; safe to call at any time."""
        each = timeout_seconds / 3
        in_ms = {"autocommit": False, "timeout_ms": int(each * 1000)}
        _close("producer", self.producer, timeout=each)
        _close("consumer", self.consumer, **in_ms)
        _close("reader", self.reader, **in_ms)


class Start:
    """One start. `on_waiting` is told in one line what it waits for; `stopping` ends the wait early."""

    def __init__(
        self, settings: WorkerSettings, on_waiting: Callable[[str], None], stopping: Callable[[], bool]
    ) -> None:
        self._settings = settings
        self._on_waiting = on_waiting
        self._stopping = stopping
        self._deadline = time.monotonic() + settings.start_timeout_seconds

    def connect(self) -> Connection:
        """Wait until the cluster answers and the three topics exist; take over our transactional id.

        Raises:
            KafkaUnusable: wrong credentials or rights, or nothing usable within `start_timeout_seconds`.
        """
        consumer = producer = reader = None
        partitions: dict[str, int] = {}
        with LastWarning() as warning:
            while consumer is None and not self._stopping():
                consumer = self._attempt(new_consumer, warning)
            if consumer is not None:
                self._check_version(consumer.config["api_version"])
            for topic in (self._settings.input_topic, self._settings.output_topic, self._settings.dead_letter_topic):
                while topic not in partitions and not self._stopping():
                    if count := self._partitions(consumer, topic):
                        partitions[topic] = count
            while producer is None and not self._stopping():
                producer = self._attempt(new_producer, warning)
            while self._settings.is_exactly_once and reader is None and not self._stopping():
                reader = self._attempt(new_reader, warning)
        return Connection(consumer, producer, reader, partitions)

    def _attempt(self, build: Callable[[WorkerSettings, Clients], Any], warning: LastWarning) -> Any:
        """One try to build a client; None when it is worth another."""
        clients = Clients()
        warning.advice = None
        try:
            return build(self._settings, clients)
        except (KafkaError, ValueError, OSError) as error:
            clients.close()
            if fatal := fatal_cause(warning, error):
                raise KafkaUnusable(f"{self._settings.bootstrap_servers}: {fatal}") from error
            cause = warning.text or reason_of(error)
            self._wait(
                f"no answer from {self._settings.bootstrap_servers} ({cause}); "
                "check that Kafka runs there, and bootstrap_servers and security_protocol",
                error,
            )
            return None

    def _check_version(self, version: tuple[int, ...]) -> None:
        if self._settings.is_exactly_once and version < EXACTLY_ONCE_SINCE:
            raise KafkaUnusable(
                f"{self._settings.bootstrap_servers} speaks as Kafka {'.'.join(map(str, version))}: exactly-once "
                f"delivery needs {'.'.join(map(str, EXACTLY_ONCE_SINCE))} or newer; set delivery to at_least_once"
            )

    def _partitions(self, consumer: Any, topic: str) -> int:
        """Number of partitions of `topic`; 0 when it is worth another try."""
        try:
            count = len(consumer.partitions_for_topic(topic) or ())
        except RetriableError as error:  # a broker that comes and goes
            self._wait(f"no answer whether topic {topic} exists ({reason_of(error)})", error)
            return 0
        except KafkaError as error:
            raise KafkaUnusable(f"topic {topic}: {reason_of(error)}") from error
        if count == 0:
            self._wait(f"topic {topic} does not exist, or this user may not see it; this worker creates none")
        return count

    def _wait(self, what: str, error: Exception | None = None) -> None:
        if time.monotonic() >= self._deadline:
            seconds = self._settings.start_timeout_seconds
            raise KafkaUnusable(f"gave up after {seconds:g} s: {what}") from error
        self._on_waiting(what)
        time.sleep(RETRY_SECONDS)


def _close(what: str, client: Any, **options: Any) -> None:
    try:
        if client is not None:
            client.close(**options)
    except KafkaError as error:
        log.warning("the %s did not close cleanly: %s", what, reason_of(error))
