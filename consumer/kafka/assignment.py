"""From the assignment of a partition until it is known where to read it.

kafka-python starts reading when it knows the committed offsets of *all* assigned partitions. One offset that a
transaction of a dead worker still decides would hold up every partition of its successor. Here each partition waits for
its own offset, and none is read before it is known whether its commit is the last one (`consumer.kafka.lineage`).
"""

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from kafka import TopicPartition
from kafka.errors import KafkaError, UnstableOffsetCommitError
from kafka.structs import OffsetAndMetadata

from consumer.kafka.client import reason_of
from consumer.kafka.fixes import positions
from consumer.kafka.lineage import Lineages

log = logging.getLogger(__name__)


class Assignment:
    """What the group has assigned to this consumer. Used by one thread, after each of its polls.

    Args:
        consumer: the input consumer.
        lineages: adopts each partition that is taken over.
        request_seconds: how long to wait for one answer.
        alive: called before each request that may take that long.

    Attributes:
        readable: partitions whose records may be used.
        waiting: the others; where to read them is not known yet.
        committed: the last committed offset of each partition that has one.
    """

    def __init__(self, consumer: Any, lineages: Lineages, request_seconds: float, alive: Callable[[], None]) -> None:
        self.readable: set[TopicPartition] = set()
        self.waiting: set[TopicPartition] = set()
        self.committed: dict[TopicPartition, int] = {}
        self._consumer = consumer
        self._lineages = lineages
        self._request_seconds = request_seconds
        self._alive = alive
        self._logged: set[TopicPartition] = set()
        self._last_failure = ""
        self._times_assigned = 0

    def renew(self) -> bool:
        """Start over if the last poll came with a new assignment; the records it returned may not be used then."""
        times_assigned = positions.times_assigned(self._consumer)
        if times_assigned == self._times_assigned:
            return False
        self._times_assigned = times_assigned
        self.readable.clear()
        self.committed.clear()
        self.waiting = set(self._consumer.assignment())
        self._logged.clear()
        for partition in self.waiting:
            self._consumer.pause(partition)
            self._consumer.seek(partition, 0)  # any position: without one the next poll would wait for all of them
        return True

    def take_over(self) -> dict[int, int]:
        """Make partitions readable: from the committed offset, or after the last result if that offset went back.

        Returns:
            The offset at which reading resumes, for each partition whose committed offset went back.
        """
        try:
            commits = self._committed(self.waiting)
            self._alive()
            restored = self._lineages.adopt({where.partition: commit for where, commit in commits.items()})
            unread = [where for where, commit in commits.items() if commit is None]
            starts = self._lineages.beginnings.of(unread, self._consumer, self._committed)
            # If we were frozen in between, we may have lost partitions, and their new owners have committed.
            suspected = [where for where in commits if where.partition in restored]
            again = self._committed(suspected)
            for where in suspected:
                if again.get(where) != commits[where]:
                    del commits[where], restored[where.partition]
        except KafkaError as error:
            if (reason := reason_of(error)) != self._last_failure:  # the next poll asks again
                log.warning("cannot get committed offsets yet: %s", reason)
            self._last_failure = reason
            return {}
        self._last_failure = ""
        self._read_from(commits, restored, starts)
        return restored

    def _committed(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, OffsetAndMetadata | None]:
        """The committed offsets of those partitions whose offset no open transaction decides."""
        commits = {}
        for partition in sorted(partitions):
            self._alive()
            try:
                commits[partition] = positions.committed_now(self._consumer, partition, self._request_seconds)
            except UnstableOffsetCommitError:
                if partition not in self._logged:
                    log.info("partition %s waits for a transaction that decides its offset", partition.partition)
                    self._logged.add(partition)
        return commits

    def _read_from(
        self,
        commits: Mapping[TopicPartition, OffsetAndMetadata | None],
        restored: dict[int, int],
        starts: Mapping[TopicPartition, int],
    ) -> None:
        for partition, commit in commits.items():
            if partition in starts:
                self._consumer.seek(partition, starts[partition])
            elif commit is None:
                self._consumer.seek_to_beginning(partition)
            else:
                self.committed[partition] = commit.offset  # if it went back, settle() corrects it
                if (offset := restored.get(partition.partition)) is None:
                    positions.seek(self._consumer, partition, commit.offset, commit.leader_epoch)
                else:
                    self._consumer.seek(partition, offset)
            self._consumer.resume(partition)
        self.readable |= commits.keys()
        self.waiting -= commits.keys()
