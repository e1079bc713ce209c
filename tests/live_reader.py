"""A reader of committed results that runs while the faults happen."""

import threading
from typing import Any, Self

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from consumer.local.cluster import LocalCluster
from tests.kafka_helpers import Record, Topics, internal
from tests.worker_process import wait_until

#: How long it may take to see what is there, seconds.
CATCH_UP_SECONDS = 60.0

Source = tuple[str, int, int]


class LiveReader:
    """Reads outputs and dead letters with `read_committed`, from the start, while the faults happen."""

    def __init__(self, kafka: LocalCluster, topics: Topics) -> None:
        self._seen: dict[str, list[tuple[int, Source]]] = {topics.output: [], topics.dead_letter: []}
        self._ended = threading.Event()
        self._error: Exception | None = None
        self._consumer: Any = KafkaConsumer(
            bootstrap_servers=internal(kafka),
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            reconnect_backoff_max_ms=1000,
        )
        self._consumer.assign(
            [
                TopicPartition(topic, number)
                for topic in self._seen
                for number in self._consumer.partitions_for_topic(topic)
            ]
        )
        self._thread = threading.Thread(target=self._read, name="live-reader", daemon=True)
        self._thread.start()

    @property
    def count(self) -> int:
        """Records seen so far."""
        return sum(map(len, self._seen.values()))

    def agrees_with(self, results: dict[str, list[Record]]) -> None:
        """Assert that it saw, partition by partition, what is there now; ends it.

        Raises:
            AssertionError: it saw something that is gone, or in another order, or not all.
        """
        expected = {
            topic: _by_partition((r.partition or 0, r.source) for r in found) for topic, found in results.items()
        }
        total = sum(map(len, results.values()))
        try:
            wait_until(lambda: self.count >= total or self._ended.is_set(), CATCH_UP_SECONDS, f"a reader sees {total}")
        finally:
            self.close()
        assert self._error is None, f"the reader that ran during the faults failed: {self._error}"
        seen = {topic: _by_partition(records) for topic, records in self._seen.items()}
        assert seen == expected, "a reader during the faults saw other records than there are now"

    def close(self) -> None:
        """Stop reading."""
        self._ended.set()
        self._thread.join(30)
        self._consumer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if not self._ended.is_set():
            self.close()

    def _read(self) -> None:
        while not self._ended.is_set():
            try:
                polled = self._consumer.poll(timeout_ms=100)
            except KafkaError as error:
                self._error = error
                return
            for where, records in polled.items():
                self._seen[where.topic] += [
                    (where.partition, Record(None, headers=tuple(each.headers)).source) for each in records
                ]


def _by_partition(records: Any) -> dict[int, list[Source]]:
    found: dict[int, list[Source]] = {}
    for partition, source in records:
        found.setdefault(partition, []).append(source)
    return found
