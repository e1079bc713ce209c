"""Where a partition without a committed offset is read first (setting `start_from`).

`latest` and a time are meant for a group that begins. A partition that is added to the topic later has no committed
offset either, but it must be read from its first record, or what producers wrote before the group noticed it would be
lost. So every commit records how many partitions the topic had when the group began: a partition with a higher number
was added later, whichever worker meets it, and however long no worker was there.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

from kafka import TopicPartition
from kafka.errors import KafkaTimeoutError
from kafka.structs import OffsetAndMetadata

from consumer.settings import WorkerSettings

_MARK = re.compile(r"\bpartitions=([0-9]{1,9})$")
Commits = Mapping[TopicPartition, OffsetAndMetadata | None]


class Beginnings:
    """Where this group begins. Used by one thread.

    Args:
        settings: `start_from`, topic, timeouts.
        partitions: number of partitions of each topic at the start of this worker.
    """

    def __init__(self, settings: WorkerSettings, partitions: Mapping[str, int]) -> None:
        self._start = settings.start_from
        self._topic = settings.input_topic
        self._timeout_ms = int(settings.request_timeout_seconds * 1000)
        self._partitions = partitions
        self._first_partitions: int | None = None

    @property
    def at_first_record(self) -> bool:
        """Whether every partition without a committed offset is read from its first record."""
        return self._start == "earliest"

    @property
    def mark(self) -> str:
        """The end of the metadata of each commit; empty if nothing needs to be known."""
        if self.at_first_record:
            return ""
        known = self._first_partitions
        return f"partitions={self._partitions[self._topic] if known is None else known}"

    def note(self, commits: Iterable[OffsetAndMetadata | None]) -> None:
        """Learn from commits how many partitions there were. One without a mark is older than this setting."""
        for commit in commits:
            if commit is not None:
                found = _MARK.search(commit.metadata or "")
                count = int(found[1]) if found else 0
                known = self._first_partitions
                self._first_partitions = count if known is None else min(known, count)

    def of(
        self,
        partitions: Iterable[TopicPartition],
        consumer: Any,
        committed: Callable[[Iterable[TopicPartition]], Commits],
    ) -> dict[TopicPartition, int]:
        """Where to read these partitions, which have no committed offset; left out: at their first record.

        Args:
            partitions: of the input topic.
            consumer: asked for offsets.
            committed: returns the committed offsets of partitions, as far as they are known.

        Raises:
            KafkaError: not known now.
        """
        unread = set(partitions)
        if self.at_first_record or not unread:
            return {}
        if self._first_partitions is None:
            others = {TopicPartition(self._topic, number) for number in range(self._partitions[self._topic])} - unread
            self.note(committed(others).values())
        if self._first_partitions is None:  # nothing is committed: the group begins here
            self._first_partitions = self._partitions[self._topic]
        initial = {each for each in unread if each.partition < self._first_partitions}
        if not initial:
            return {}
        # The ends first: a record that comes in between is behind them.
        ends: dict[TopicPartition, int] = consumer.end_offsets(list(initial), timeout_ms=self._timeout_ms)
        if unknown := initial - ends.keys():
            raise KafkaTimeoutError(f"no leader of partition {min(unknown).partition} of {self._topic} is known")
        if not isinstance(self._start, datetime):
            return ends
        times = dict.fromkeys(initial, int(self._start.timestamp() * 1000))
        found = consumer.offsets_for_times(times, timeout_ms=self._timeout_ms)
        return {each: ends[each] if found.get(each) is None else found[each].offset for each in initial}
