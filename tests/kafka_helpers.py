"""What tests do with a real Kafka: produce, read to the end, ask for committed offsets."""

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from consumer.local.cluster import LocalCluster
from consumer.settings import WorkerSettings

Header = tuple[str, bytes | None]


@dataclass(frozen=True)
class Topics:
    """The topics and the group of one test; nobody else uses their names."""

    bootstrap: str
    input: str
    output: str
    dead_letter: str
    group: str

    @property
    def flags(self) -> list[str]:
        """The flags of `review-consumer run` that name them."""
        return [
            *("--bootstrap-servers", self.bootstrap),
            *("--input-topic", self.input),
            *("--output-topic", self.output),
            *("--dead-letter-topic", self.dead_letter),
            *("--group-id", self.group),
        ]

    def settings(self, **others: object) -> WorkerSettings:
        """The settings of a worker that name them, and others."""
        return WorkerSettings.model_validate(
            {
                "bootstrap_servers": self.bootstrap,
                "input_topic": self.input,
                "output_topic": self.output,
                "dead_letter_topic": self.dead_letter,
                "group_id": self.group,
                **others,
            }
        )


@dataclass(frozen=True)
class Record:
    """One record to produce, or one that was read (then with its coordinates)."""

    value: bytes | None
    key: bytes | None = None
    headers: Sequence[Header] = ()
    partition: int | None = None
    offset: int = -1
    topic: str = ""
    timestamp_ms: int | None = None

    def header(self, name: str) -> bytes | None:
        """The value of the only header with this name."""
        (value,) = [value for key, value in self.headers if key == name]
        return value

    @property
    def source(self) -> tuple[str, int, int]:
        """The input coordinates that the worker noted: topic, partition, offset."""
        topic, partition, offset = (self.header(f"source-{name}") or b"" for name in ("topic", "partition", "offset"))
        return topic.decode(), int(partition), int(offset)


def produce(bootstrap: str, topic: str, records: Iterable[Record | bytes | None], **options: object) -> list[Record]:
    """Produce in order and wait until all are acknowledged.

    Args:
        bootstrap: HOST:PORT of the broker.
        topic: where to.
        records: whole records, or values alone.
        options: more options of kafka-python's `KafkaProducer`.

    Returns:
        The records with the coordinates that they got.
    """
    producer = KafkaProducer(bootstrap_servers=bootstrap, acks="all", linger_ms=5, **options)
    try:
        sent = [record if isinstance(record, Record) else Record(record) for record in records]
        futures = [
            producer.send(
                topic,
                value=record.value,
                key=record.key,
                headers=list(record.headers),
                partition=record.partition,
                timestamp_ms=record.timestamp_ms,
            )
            for record in sent
        ]
        producer.flush(timeout=60)
        done = [future.get(timeout=60) for future in futures]
    finally:
        producer.close(timeout=10)
    return [
        Record(record.value, record.key, record.headers, meta.partition, meta.offset, topic, meta.timestamp)
        for record, meta in zip(sent, done, strict=True)
    ]


@contextmanager
def transaction(kafka: LocalCluster, topic: str, partition: int = 0) -> Iterator[KafkaProducer]:
    """A producer whose transaction has sent one record, and is yet to be committed or aborted."""
    producer = KafkaProducer(bootstrap_servers=internal(kafka), transactional_id=f"{topic}-upstream")
    try:
        producer.init_transactions()
        producer.begin_transaction()
        producer.send(topic, b'{"text": "good"}', partition=partition)
        producer.flush()
        yield producer
    finally:
        producer.close(timeout=10)


def read_all(bootstrap: str, topic: str, *, committed: bool = True, timeout_s: float = 60.0) -> list[Record]:
    """Every record of a topic up to the end offsets of this moment, partition by partition.

    Args:
        bootstrap: HOST:PORT of the broker.
        topic: what to read.
        committed: `read_committed`: no record of an aborted transaction, nothing beyond an open one.
        timeout_s: how long the whole reading may take, seconds.

    Raises:
        AssertionError: the end was not reached in time.
    """
    consumer = KafkaConsumer(
        bootstrap_servers=bootstrap,
        group_id=None,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        isolation_level="read_committed" if committed else "read_uncommitted",
    )
    try:
        ends = consumer.end_offsets(_partitions(consumer, topic))  # of a read_committed reader: the last stable offset
        consumer.assign(list(ends))
        consumer.seek_to_beginning()
        found: dict[int, list[Record]] = {where.partition: [] for where in ends}
        deadline = time.monotonic() + timeout_s
        while any(consumer.position(where) < end for where, end in ends.items()):
            assert time.monotonic() < deadline, f"{topic} was not read to its end within {timeout_s} s"
            for where, records in consumer.poll(timeout_ms=200).items():
                found[where.partition] += [_record(each) for each in records if each.offset < ends[where]]
        return [record for partition in sorted(found) for record in found[partition]]
    finally:
        consumer.close()


def internal(kafka: LocalCluster) -> str:
    """Addresses on which no test interferes with the network."""
    return ",".join(node.internal for node in kafka.nodes if node.running)


def end_offsets(bootstrap: str, topic: str) -> dict[int, int]:
    """The high watermark of each partition."""
    consumer = KafkaConsumer(bootstrap_servers=bootstrap, group_id=None)
    try:
        return {where.partition: end for where, end in consumer.end_offsets(_partitions(consumer, topic)).items()}
    finally:
        consumer.close()


def committed_offsets(kafka: LocalCluster, group: str, topic: str) -> dict[int, int]:
    """The offsets that a group has committed for a topic, by partition; 0 for none."""
    with kafka.admin() as admin:
        found = admin.list_group_offsets([group])[group]
    return {where.partition: max(0, meta.offset) for where, meta in found.items() if where.topic == topic}


def _partitions(consumer: KafkaConsumer, topic: str) -> list[TopicPartition]:
    numbers = consumer.partitions_for_topic(topic)
    assert numbers, f"topic {topic} does not exist"
    return [TopicPartition(topic, number) for number in sorted(numbers)]


def _record(read: Any) -> Record:
    return Record(read.value, read.key, tuple(read.headers), read.partition, read.offset, read.topic, read.timestamp)
