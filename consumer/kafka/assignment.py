"""From the moment a partition is assigned until it is known where to read it from.

kafka-python begins at the committed offsets of *all* that was assigned, and waits for the last of them: one offset that
a transaction of a dead worker still decides would hold up every partition of its successor. Here each partition waits
for its own, and nothing is read before it is known whether the commit is the last one (`consumer.kafka.lineage`).
"""

import logging
from collections.abc import Iterable, Mapping
from typing import Any

from kafka import TopicPartition
from kafka.errors import KafkaError, UnstableOffsetCommitError
from kafka.structs import OffsetAndMetadata

from consumer.kafka import fixes
from consumer.kafka.client import reason_of
from consumer.kafka.lineage import Lineages

log = logging.getLogger(__name__)


class Assignment:
    """What the group has given to this consumer. Used by one thread, after each of its polls.

    Args:
        consumer: the input consumer.
        lineages: told of each partition that is taken over.
        request_seconds: how long to wait for one answer.

    Attributes:
        readable: partitions whose records may be used.
        waiting: the others, of which it is not known yet where to read them from.
        committed: their committed offsets, as far as there are any.
    """

    def __init__(self, consumer: Any, lineages: Lineages, request_seconds: float) -> None:
        self.readable: set[TopicPartition] = set()
        self.waiting: set[TopicPartition] = set()
        self.committed: dict[TopicPartition, int] = {}
        self._consumer = consumer
        self._lineages = lineages
        self._request_seconds = request_seconds
        self._said: set[TopicPartition] = set()
        self._last_failure = ""
        self._times_assigned = 0

    def renew(self) -> bool:
        """Begin anew if the last poll came with a new assignment; records that it returned may not be used then."""
        times_assigned = fixes.times_assigned(self._consumer)
        if times_assigned == self._times_assigned:
            return False
        self._times_assigned = times_assigned
        self.readable.clear()
        self.committed.clear()
        self.waiting = set(self._consumer.assignment())
        self._said.clear()
        for partition in self.waiting:
            self._consumer.pause(partition)
            self._consumer.seek(partition, 0)  # any position: else the next poll would wait for all of them
        return True

    def take_over(self) -> dict[int, int]:
        """Make readable what can be, from its committed offset, or behind the last result where that went back.

        Returns:
            The offset to go on from, for each partition of which the committed offset went back.
        """
        try:
            commits = self._committed(self.waiting)
            restored = self._lineages.adopt({where.partition: commit for where, commit in commits.items()})
            # Frozen in between, we may have lost partitions without knowing, and their new owners have committed.
            suspected = [where for where in commits if where.partition in restored]
            again = self._committed(suspected)
            for where in suspected:
                if again.get(where) != commits[where]:
                    del commits[where], restored[where.partition]
        except KafkaError as error:
            if (reason := reason_of(error)) != self._last_failure:  # asked again at once, for as long as it takes
                log.warning("the committed offsets are not known yet: %s", reason)
            self._last_failure = reason
            return {}
        self._last_failure = ""
        self._read_from(commits, restored)
        return restored

    def _committed(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, OffsetAndMetadata | None]:
        """The committed offsets of those partitions that no transaction still decides."""
        commits = {}
        for partition in sorted(partitions):
            try:
                commits[partition] = fixes.committed_now(self._consumer, partition, self._request_seconds)
            except UnstableOffsetCommitError:
                if partition not in self._said:
                    log.info("partition %s waits for a transaction that decides its offset", partition.partition)
                    self._said.add(partition)
        return commits

    def _read_from(self, commits: Mapping[TopicPartition, OffsetAndMetadata | None], restored: dict[int, int]) -> None:
        for partition, commit in commits.items():
            if commit is None:
                self._consumer.seek_to_beginning(partition)
            else:
                self.committed[partition] = commit.offset  # settle() sets it right where it went back
                if (offset := restored.get(partition.partition)) is None:
                    fixes.seek_committed(self._consumer, partition, commit)
                else:
                    self._consumer.seek(partition, offset)
            self._consumer.resume(partition)
        self.readable |= commits.keys()
        self.waiting -= commits.keys()
