"""A reader of committed results that runs while the faults happen."""

import threading
from collections.abc import Iterable
from typing import Self

from consumer.local.cluster import LocalCluster
from tests.foreign_reader import ForeignReader
from tests.kafka_helpers import Topics, internal
from tests.record import Record
from tests.worker_process import wait_until

#: How long it may take to see what is there, seconds.
CATCH_UP_SECONDS = 60.0

Source = tuple[str, int, int]


class LiveReader:
    """Reads outputs and dead letters with `read_committed`, from the start, while the faults happen."""

    def __init__(self, kafka: LocalCluster, topics: Topics) -> None:
        self._seen: dict[str, list[tuple[int, Source]]] = {topics.output: [], topics.dead_letter: []}
        self._ended = threading.Event()
        self._error: BaseException | None = None
        self._reader = ForeignReader(internal(kafka), self._seen)
        self._thread = threading.Thread(target=self._read, name="live-reader", daemon=True)
        self._thread.start()

    @property
    def count(self) -> int:
        """Records seen so far."""
        return sum(map(len, self._seen.values()))

    def agrees_with(self, results: dict[str, list[Record]]) -> None:
        """Assert that it saw, partition by partition, what is there now, and stop it.

        Raises:
            AssertionError: it saw something that is gone, or in another order, or not all.
        """
        expected = {
            topic: _by_partition((r.partition or 0, r.source) for r in found) for topic, found in results.items()
        }
        total = sum(map(len, results.values()))
        try:
            wait_until(lambda: self.count >= total or self._error, CATCH_UP_SECONDS, f"a reader sees {total}")
        finally:
            self.close()
        assert self._error is None, f"the reader that ran during the faults failed: {self._error}"
        seen = {topic: _by_partition(records) for topic, records in self._seen.items()}
        assert seen == expected, "a reader during the faults saw other records than there are now"

    def close(self) -> None:
        """Stop reading."""
        self._ended.set()
        self._thread.join(30)
        self._reader.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if not self._ended.is_set():
            self.close()

    def _read(self) -> None:
        try:
            while not self._ended.is_set():
                for record in self._reader.poll(0.1):
                    self._seen[record.topic].append((record.partition or 0, record.source))
        except Exception as error:
            self._error = error


def _by_partition(records: Iterable[tuple[int, Source]]) -> dict[int, list[Source]]:
    found: dict[int, list[Source]] = {}
    for partition, source in records:
        found.setdefault(partition, []).append(source)
    return found
