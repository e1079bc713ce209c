"""How long the oldest record of each partition has waited for its outcome to be committed."""

import time
from collections.abc import Callable, Iterable, Mapping

from consumer.records.progress import Progress
from consumer.records.record import Record


class Waiting:
    """Since when the oldest uncommitted record of each partition waits. Written by one thread, read by any.

    The timestamp of a record is known once it is polled. Before that its wait began at the earliest after the last
    committed record, and after the last moment at which the partition was seen to hold nothing; the later of the two
    counts, so an age is at most one probe too high.

    Args:
        clock: seconds since 1970. Ages compare it with the timestamps of records, which are a producer's or a broker's.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._since: dict[int, float] = {}  # no later record has waited longer
        self._waits: dict[int, bool] = {}
        self._ends: dict[int, int] = {}

    def assigned(self, partition: int) -> None:
        """A partition is ours from now on; nothing is known of its records yet."""
        self._since[partition] = self._clock()
        self._waits[partition] = False

    def revoked(self, partition: int) -> None:
        """A partition is no longer ours."""
        for known in (self._since, self._waits, self._ends):
            known.pop(partition, None)

    def polled(self, records: Iterable[Record]) -> None:
        """These records are in hand and not committed."""
        oldest: dict[int, Record] = {}
        for record in records:
            before = oldest.setdefault(record.partition, record)
            if record.timestamp_ms < before.timestamp_ms:
                oldest[record.partition] = record
            self._ends[record.partition] = record.offset + 1
        for partition, record in oldest.items():
            self._waits[partition] = True
            if record.timestamp_ms >= 0:
                self._since[partition] = record.timestamp_ms / 1000

    def committed(self, records: Iterable[Record]) -> None:
        """The outcomes of these records are committed."""
        last = {record.partition: record for record in records}
        for partition, record in last.items():
            self._waits[partition] = record.offset + 1 < self._ends.get(partition, 0)
            self._since[partition] = record.timestamp_ms / 1000 if record.timestamp_ms >= 0 else self._clock()

    def seen(self, progress: Mapping[int, Progress]) -> None:
        """A broker has told the ends of the partitions; nothing is in hand."""
        for partition, each in progress.items():
            if each.lag is None:
                continue
            self._ends[partition] = each.end
            self._waits[partition] = each.lag > 0
            if not each.lag:
                self._since[partition] = self._clock()

    def seconds(self, partition: int) -> float:
        """Age of the oldest record that waits; 0 if none does."""
        now = self._clock()
        return max(0.0, now - self._since.get(partition, now)) if self._waits.get(partition) else 0.0
