"""Accounts for hundreds of thousands of records in a byte each: which came, how often, and in which order."""

import json
import threading
import time
from typing import Any, Self

from kafka import KafkaConsumer, TopicPartition

from tests.fake_model import label_and_score
from tests.kafka_helpers import Record, Topics
from tests.stream import review


class Tally:
    """What a reader of the results has seen. Attributes may be read while another thread adds.

    Attributes:
        records: seen at least once.
        duplicated: seen again.
        reordered: came after a later one of the same source partition.
        wrong: a prediction with another label than the fake model's, or a dead letter that is none.
    """

    def __init__(self) -> None:
        self.records = self.duplicated = self.reordered = self.wrong = 0
        self._seen: dict[int, bytearray] = {}
        self._last: dict[tuple[str, int, int], int] = {}

    def add(self, topic: str, partition: int, value: bytes | None, headers: Any, *, dead: bool) -> None:
        """Note one result."""
        _, source, offset = Record(None, headers=tuple(headers)).source
        seen = self._seen.setdefault(source, bytearray())
        if len(seen) <= offset:
            seen.extend(bytes(offset + 1 - len(seen)))
        self.duplicated += seen[offset]
        self.records += not seen[offset]
        seen[offset] = 1
        where = (topic, partition, source)
        self.reordered += offset < self._last.get(where, -1)
        self._last[where] = offset
        self.wrong += not _is_right(value or b"", source, offset, dead=dead)

    def lost(self, ends: dict[int, int]) -> int:
        """Records below the `ends` of the input that have not been seen."""
        return sum(end - sum(self._seen.get(partition, b"")[:end]) for partition, end in ends.items())

    @property
    def is_clean(self) -> bool:
        """Nothing twice, nothing out of order, nothing wrong."""
        return not (self.duplicated or self.reordered or self.wrong)


def _is_right(value: bytes, partition: int, offset: int, *, dead: bool) -> bool:
    original = review(partition, offset)
    if dead or not original.startswith(b"{"):
        return dead and value == original
    label, _ = label_and_score(json.loads(original)["text"])
    return bool(json.loads(value)["label"] == label)


class Watcher:
    """Reads results with `read_committed` from their start, in a thread, into a `Tally`.

    Attributes:
        tally: what it saw.
        worst_stall: longest time in seconds without a result while the input had more, after the first result.
    """

    def __init__(self, bootstrap: str, topics: Topics) -> None:
        self.tally = Tally()
        self.worst_stall = 0.0
        self.expected = 0
        self._topics = topics
        self._ending = threading.Event()
        self._consumer: Any = KafkaConsumer(
            bootstrap_servers=bootstrap,
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            reconnect_backoff_max_ms=1000,
        )
        self._consumer.assign(
            [
                TopicPartition(topic, number)
                for topic in (topics.output, topics.dead_letter)
                for number in self._consumer.partitions_for_topic(topic)
            ]
        )
        self._thread = threading.Thread(target=self._read, name="watcher", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join(30)
        self._consumer.close()

    def _read(self) -> None:
        moved = time.monotonic()
        while not self._ending.is_set():
            polled = self._consumer.poll(timeout_ms=200)
            for where, records in polled.items():
                for record in records:
                    dead = where.topic == self._topics.dead_letter
                    self.tally.add(where.topic, where.partition, record.value, record.headers, dead=dead)
            now = time.monotonic()
            if polled or not self.tally.records or self.tally.records >= self.expected:
                moved = now
            self.worst_stall = max(self.worst_stall, now - moved)
