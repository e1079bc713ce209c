"""A sender and a reader without encryption: the two ends of the pipeline around a worker, for the demo."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.errors import KafkaError

from consumer.errors import GaveUp, KafkaUnusable
from consumer.kafka.client import Clients
from consumer.records.record import Record, record_of

#: Partition and offset.
Coordinates = tuple[int, int]

_BOOTSTRAP_MS = 10_000
_TIMEOUT_SECONDS = 30.0
_CLOSE_SECONDS = 2.0


class Sender:
    """Produces records, acknowledged by all replicas, and never creates a topic.

    Raises:
        KafkaUnusable: no broker answers at `bootstrap` (HOST:PORT).
    """

    def __init__(self, bootstrap: str) -> None:
        with _answering(bootstrap):
            self._producer = KafkaProducer(
                bootstrap_servers=bootstrap,
                bootstrap_timeout_ms=_BOOTSTRAP_MS,
                kafka_client=Clients(),
                acks="all",
            )

    def close(self) -> None:
        """Close the connection; what is not acknowledged yet is given up."""
        self._producer.close(timeout=_CLOSE_SECONDS)

    def send(self, topic: str, key: bytes, value: bytes | None, timestamp_ms: int) -> Callable[[], Coordinates]:
        """Send one record.

        Returns:
            A function that waits until the record is acknowledged and returns where it is.

        Raises:
            GaveUp: the broker did not take it; the returned function raises it as well.
        """
        with _giving_up():
            future = self._producer.send(topic, value, key, timestamp_ms=timestamp_ms)

        def acknowledged() -> Coordinates:
            with _giving_up():
                metadata = future.get(timeout=_TIMEOUT_SECONDS)
            return metadata.partition, metadata.offset

        return acknowledged


class Reader:
    """Reads committed records of `topics` from their beginning, in no group.

    Raises:
        KafkaUnusable: no broker answers at `bootstrap` (HOST:PORT).
    """

    def __init__(self, bootstrap: str, topics: Sequence[str]) -> None:
        with _answering(bootstrap):
            self._consumer = KafkaConsumer(
                bootstrap_servers=bootstrap,
                bootstrap_timeout_ms=_BOOTSTRAP_MS,
                kafka_client=Clients(),
                group_id=None,
                enable_auto_commit=False,
                auto_offset_reset="earliest",
                isolation_level="read_committed",
            )
            partitions = {topic: self._consumer.partitions_for_topic(topic) or () for topic in topics}
        self._consumer.assign([TopicPartition(topic, number) for topic in topics for number in partitions[topic]])

    def close(self) -> None:
        """Close the connection."""
        self._consumer.close(timeout_ms=int(_CLOSE_SECONDS * 1000))

    def read(self, timeout_seconds: float) -> list[Record]:
        """The records committed since the last call; waits up to `timeout_seconds` for the first.

        Raises:
            GaveUp: the client failed.
        """
        with _giving_up():
            polled = self._consumer.poll(timeout_ms=int(timeout_seconds * 1000))
        return [record_of(each) for records in polled.values() for each in records]

    def read_to_end(self) -> list[Record]:
        """All records that are committed by now and were not read yet.

        Raises:
            GaveUp: the end was not reached in time, or the client failed.
        """
        deadline = time.monotonic() + _TIMEOUT_SECONDS
        records: list[Record] = []
        with _giving_up():
            ends = self._consumer.end_offsets(list(self._consumer.assignment()))
        while any(self._consumer.position(partition) < end for partition, end in ends.items()):
            if time.monotonic() > deadline:
                raise GaveUp(f"the output topics were not read to their end within {_TIMEOUT_SECONDS:.0f} s")
            records += self.read(0.1)
        return records


@contextmanager
def _answering(bootstrap: str) -> Iterator[None]:
    try:
        yield
    except (KafkaError, ValueError) as error:
        raise KafkaUnusable(
            f"no answer from {bootstrap} ({type(error).__name__}); check host and port, and that a Kafka runs there"
        ) from error


@contextmanager
def _giving_up() -> Iterator[None]:
    try:
        yield
    except KafkaError as error:
        raise GaveUp(f"Kafka stopped answering ({type(error).__name__}); start again when it is back") from error
