"""What tests do with a real Kafka: produce with kafka-python, read and ask for offsets with librdkafka."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from kafka import KafkaProducer

from consumer.local.cluster import LocalCluster
from consumer.settings import WorkerSettings
from tests import foreign_reader
from tests.foreign_reader import end_offsets, read_all
from tests.record import Header, Record

__all__ = ["Header", "Record", "Topics", "committed_offsets", "end_offsets", "internal", "produce", "read_all"]


@dataclass(frozen=True)
class Topics:
    """The topics and the group of one test, which no other test uses."""

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


def internal(kafka: LocalCluster) -> str:
    """Addresses on which no test interferes with the network."""
    return ",".join(node.internal for node in kafka.nodes if node.running)


def committed_offsets(kafka: LocalCluster, group: str, topic: str) -> dict[int, int]:
    """The offsets that a group has committed for a topic: see `tests.foreign_reader`."""
    return foreign_reader.committed_offsets(internal(kafka), group, topic)
