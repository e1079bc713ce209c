"""Reads Kafka with librdkafka, which shares no code with the worker's client.

The worker patches kafka-python (`consumer.kafka.fixes`) for the whole process. A judge that read through the same
patches could be wrong in the same way. librdkafka also shows that other clients can read what the worker writes.
"""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Self

from confluent_kafka import OFFSET_BEGINNING, Consumer, IsolationLevel, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]

from tests.raw_headers import raw_headers
from tests.record import Header, Record

#: How long one answer may take, seconds.
REQUEST_SECONDS = 20.0
#: Errors that pass, because the reader resumes where it was. Any other one might hide a record, so it is raised.
_PASSING = {
    KafkaError._TRANSPORT,
    KafkaError._ALL_BROKERS_DOWN,
    KafkaError._TIMED_OUT,
    KafkaError._UNKNOWN_PARTITION,
    KafkaError._UNKNOWN_TOPIC,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.REQUEST_TIMED_OUT,
    KafkaError.UNKNOWN_TOPIC_OR_PART,
}


class NoAnswerError(Exception):
    """No broker answered, or one returned an error."""


def configuration(bootstrap: str) -> dict[str, str | int | float | bool]:
    """What all librdkafka clients of the tests share; they log nothing, since tests break connections on purpose."""
    return {"bootstrap.servers": bootstrap, "log_level": 0, "reconnect.backoff.max.ms": 500}


class ForeignReader:
    """Reads every partition of some topics from its start, in no group.

    Args:
        bootstrap: HOST:PORT of the brokers.
        topics: what to read; each must exist.
        committed: `read_committed`: no record of an aborted transaction, nothing beyond an open one.

    Attributes:
        ends: for each (topic, partition), the offset at which reading last came to the end.
    """

    def __init__(self, bootstrap: str, topics: Iterable[str], *, committed: bool = True) -> None:
        self.ends: dict[tuple[str, int], int] = {}
        self._bootstrap = bootstrap
        self._consumer = Consumer(
            {
                **configuration(bootstrap),
                "group.id": "unused",
                "enable.auto.commit": False,
                "auto.offset.reset": "error",
                "isolation.level": "read_committed" if committed else "read_uncommitted",
                "enable.partition.eof": True,
                "check.crcs": True,
                "fetch.error.backoff.ms": 50,
                "topic.metadata.refresh.interval.ms": 5000,
            }
        )
        try:
            places = [(topic, number) for topic in topics for number in _numbers(self._consumer, topic)]
            self._consumer.assign([TopicPartition(*place, OFFSET_BEGINNING) for place in places])
        except BaseException:
            self._consumer.close()
            raise

    def poll(self, timeout_s: float) -> list[Record]:
        """The records that are there, as soon as there are some; none after `timeout_s`.

        Raises:
            AssertionError: records may have been skipped: damaged, deleted or cut off.
        """
        first = self._consumer.poll(timeout_s)
        found = []
        for message in [first, *self._consumer.consume(1000, 0)] if first is not None else []:
            topic, partition, offset = message.topic() or "", message.partition() or 0, message.offset() or 0
            if (error := message.error()) is None:
                kind, timestamp = message.timestamp()
                headers = self._headers(message.headers, topic, partition, offset)
                found.append(
                    Record(
                        message.value(), message.key(), headers, partition, offset, topic, timestamp if kind else None
                    )
                )
            elif error.code() == KafkaError._PARTITION_EOF:
                self.ends[topic, partition] = offset
            else:
                assert error.code() in _PASSING, f"{topic} {partition} cannot be read at {offset}: {error}"
        return found

    def _headers(self, read: object, topic: str, partition: int, offset: int) -> tuple[Header, ...]:
        assert callable(read)
        try:
            return tuple(read() or ())
        except (SystemError, UnicodeDecodeError):  # the Python binding cannot return a name that is not UTF-8
            raw = raw_headers(self._bootstrap, topic, partition, offset)
            return tuple((name.decode("utf-8", "surrogateescape"), value) for name, value in raw)

    def close(self) -> None:
        """Stop reading."""
        self._consumer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def read_all(bootstrap: str, topic: str, *, committed: bool = True, timeout_s: float = 60.0) -> list[Record]:
    """Every record of a topic up to the end offsets of this moment, partition by partition.

    Args:
        bootstrap: HOST:PORT of the broker.
        topic: what to read.
        committed: as for `ForeignReader`.
        timeout_s: how long the whole reading may take, seconds.

    Raises:
        AssertionError: the end was not reached in time, or a record cannot be read.
    """
    ends = end_offsets(bootstrap, topic, committed=committed)
    found: dict[int, list[Record]] = {partition: [] for partition in ends}
    open_ends = {partition for partition, end in ends.items() if end}
    deadline = time.monotonic() + timeout_s
    with ForeignReader(bootstrap, [topic], committed=committed) as reader:
        while open_ends:
            assert time.monotonic() < deadline, f"{topic} was not read to its end within {timeout_s} s"
            for record in reader.poll(0.2):
                partition = record.partition or 0
                if record.offset < ends[partition]:
                    found[partition].append(record)
                if record.offset >= ends[partition] - 1:
                    open_ends.discard(partition)
            open_ends = {each for each in open_ends if reader.ends.get((topic, each), -1) < ends[each]}
    return [record for partition in sorted(found) for record in found[partition]]


def end_offsets(bootstrap: str, topic: str, *, committed: bool = False) -> dict[int, int]:
    """The high watermark of each partition, or the last stable offset: the end for readers of `committed` records.

    Raises:
        NoAnswerError: no answer for one of them.
    """
    consumer = Consumer({**configuration(bootstrap), "group.id": "unused"})
    try:
        places = [TopicPartition(topic, number) for number in _numbers(consumer, topic)]
    finally:
        consumer.close()
    isolation = IsolationLevel.READ_COMMITTED if committed else IsolationLevel.READ_UNCOMMITTED
    latest: Any = OffsetSpec.latest()  # type: ignore[no-untyped-call]
    with foreign_admin(bootstrap) as admin:
        asked = admin.list_offsets(
            dict.fromkeys(places, latest), isolation_level=isolation, request_timeout=REQUEST_SECONDS
        )
        return {place.partition: answer.result().offset for place, answer in asked.items()}


def committed_offsets(bootstrap: str, group: str, topic: str) -> dict[int, int]:
    """The offsets that a group has committed for a topic, by partition; 0 for none.

    A consumer that never joins asks, without waiting for open transactions. The administration client could ask as
    well, but librdkafka 2.16 crashes when the coordinator returns an error to it.

    Raises:
        NoAnswerError: no broker can tell, or the topic does not exist.
    """
    if not bootstrap:
        raise NoAnswerError("no broker runs")
    consumer = Consumer({**configuration(bootstrap), "group.id": group, "isolation.level": "read_uncommitted"})
    try:
        places = [TopicPartition(topic, number) for number in _numbers(consumer, topic)]
        found = consumer.committed(places, timeout=REQUEST_SECONDS)
    except KafkaException as error:
        raise NoAnswerError(str(error)) from error
    finally:
        consumer.close()
    if errors := [place.error for place in found if place.error is not None]:
        raise NoAnswerError(str(errors[0]))
    return {place.partition: max(0, place.offset) for place in found}


@contextmanager
def foreign_admin(bootstrap: str) -> Iterator[AdminClient]:
    """An administration client of librdkafka.

    Raises:
        NoAnswerError: for what goes wrong inside the `with` block.
    """
    if not bootstrap:
        raise NoAnswerError("no broker runs")
    try:
        yield AdminClient(configuration(bootstrap))
    except KafkaException as error:
        raise NoAnswerError(str(error)) from error


def _numbers(consumer: Consumer, topic: str) -> list[int]:
    try:
        partitions = consumer.list_topics(topic, timeout=REQUEST_SECONDS).topics[topic].partitions
    except KafkaException as error:
        raise NoAnswerError(str(error)) from error
    if not partitions:
        raise NoAnswerError(f"topic {topic} does not exist")
    return sorted(partitions)
