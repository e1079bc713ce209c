"""What stands around a worker: a producer of reviews, and a reader of what became of them."""

import json
import time
from collections import deque
from dataclasses import dataclass
from typing import Any, Self

from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from consumer.demo.sample import SampleRecord
from consumer.errors import GaveUp

_TIMEOUT_SECONDS = 30.0
_CLOSE_SECONDS = 2.0

#: Partition and offset in the input topic.
Coordinates = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Sent:
    """An acknowledged input record and the time of its timestamp, epoch seconds."""

    record: SampleRecord
    time: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """A prediction (`label` set) or a dead letter (`reason` set), as read from its topic.

    `sent` is None for a record that somebody else produced; `age` is the time from producing to reading, seconds.
    """

    source: Coordinates
    value: bytes | None
    label: str = ""
    score: float = 0.0
    reason: str = ""
    sent: Sent | None = None
    age: float = 0.0


class Traffic:
    """One producer and one `read_committed` reader. A context manager, used by one thread.

    Args:
        bootstrap: HOST:PORT of the broker.
        topics: the input topic, the output topic, the dead-letter topic.
    """

    def __init__(self, bootstrap: str, topics: tuple[str, str, str]) -> None:
        self._input, self._output, self._dead_letter = topics
        self._bootstrap = bootstrap
        self._pending: deque[tuple[Any, Sent]] = deque()
        self.sent: dict[Coordinates, Sent] = {}

    def __enter__(self) -> Self:
        self._producer = KafkaProducer(bootstrap_servers=self._bootstrap, acks="all", linger_ms=5)
        self._consumer = KafkaConsumer(
            bootstrap_servers=self._bootstrap,
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
        )
        topics = (self._output, self._dead_letter)
        self._consumer.assign(
            [TopicPartition(topic, number) for topic in topics for number in self._consumer.partitions_for_topic(topic)]
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._producer.close(timeout=_CLOSE_SECONDS)
        self._consumer.close(timeout_ms=int(_CLOSE_SECONDS * 1000))

    def send(self, record: SampleRecord) -> None:
        """Produce `record` with the time of this moment."""
        now = time.time()
        future = self._producer.send(self._input, record.value, record.key, timestamp_ms=int(now * 1000))
        self._pending.append((future, Sent(record, now)))

    def receive(self, timeout_seconds: float) -> list[Outcome]:
        """What became visible since the last call; waits up to `timeout_seconds` for the first."""
        polled = self._consumer.poll(timeout_ms=int(timeout_seconds * 1000))
        messages = [message for messages in polled.values() for message in messages]
        return [self._outcome(message) for message in messages]

    def rest(self) -> list[Outcome]:
        """Everything that is still to be read, up to the end of this moment.

        Raises:
            GaveUp: the end was not reached in time.
        """
        self.acknowledged()
        outcomes = []
        ends = self._consumer.end_offsets(list(self._consumer.assignment()))
        deadline = time.monotonic() + _TIMEOUT_SECONDS
        while any(self._consumer.position(partition) < end for partition, end in ends.items()):
            if time.monotonic() > deadline:
                raise GaveUp(f"the output topics were not read to their end within {_TIMEOUT_SECONDS:.0f} s")
            outcomes += self.receive(0.1)
        return outcomes

    def acknowledged(self) -> None:
        """Wait until the broker has everything that was sent."""
        while self._pending:
            future, sent = self._pending.popleft()
            metadata = future.get(timeout=_TIMEOUT_SECONDS)
            self.sent[metadata.partition, metadata.offset] = sent

    def _outcome(self, message: Any) -> Outcome:
        headers = dict(message.headers)
        source = int(headers["source-partition"]), int(headers["source-offset"])
        if source not in self.sent:
            self.acknowledged()
        sent = self.sent.get(source)
        age = time.time() - sent.time if sent else 0.0
        if message.topic == self._dead_letter:
            return Outcome(source, message.value, reason=headers["dead-letter-reason"].decode(), sent=sent, age=age)
        prediction = json.loads(message.value)
        return Outcome(source, message.value, prediction["label"], prediction["score"], sent=sent, age=age)
