"""What one poll returns, and what the worker needs of the broker that returns it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Protocol

from consumer.errors import ReviewsError
from consumer.records.outgoing import Outgoing
from consumer.records.progress import Progress
from consumer.records.record import Record


class NotPublished(ReviewsError):  # noqa: N818 - the state of a poll, not of our program
    """The results of this poll are not committed and its offsets did not move; rewind and retry.

    With exactly-once delivery nothing became visible. With at-least-once delivery some results may already be visible,
    and the retry publishes them again.
    """

    exit_code = 5


class Obstacle(Enum):
    """What keeps a worker from reading although brokers answer; the value is its text for people."""

    OUTSIDE = "not in the consumer group yet"
    IN_DOUBT = "waiting for the committed offsets of its partitions"


@dataclass(frozen=True, slots=True)
class Span:
    """A range of offsets of one partition.

    Attributes:
        partition: of the input topic.
        first: offset of its first record.
        next: offset after its last record; this is what gets committed.
        leader_epoch: of its last record; -1 if unknown.
        epoch_before: leader epoch of the record before its first; -1 if unknown.
    """

    partition: int
    first: int
    next: int
    leader_epoch: int = -1
    epoch_before: int = -1


@dataclass(frozen=True, slots=True)
class Poll:
    """The records of one poll, and the worker's place in the group at that moment.

    Attributes:
        records: in order within each partition.
        spans: one for each partition that has records here, or whose position moved without one.
        in_group: whether it was taken as a member of the group. While the group rebalances, the generation may already
            be new and the partitions still the old ones: such a poll is not a member's.
        group: group metadata of that moment; opaque, for the broker that returned it.
        restored: offset at which reading resumes, for each partition whose committed offset went back.
        deleted: records that retention deleted before they were read, for each partition that has any.
        idle_seconds: how long this poll waited although there was nothing to read.
    """

    records: Sequence[Record]
    spans: tuple[Span, ...]
    in_group: bool
    group: object
    restored: Mapping[int, int] = field(default_factory=dict)
    deleted: Mapping[int, int] = field(default_factory=dict)
    idle_seconds: float = 0.0

    def first_ones(self, counts: Mapping[int, int]) -> "Poll":
        """This poll with only so many of the first records of each partition; in order."""
        taken: Counter[int] = Counter()
        last: dict[int, Record] = {}
        records = []
        for record in self.records:
            if taken[record.partition] < counts.get(record.partition, 0):
                taken[record.partition] += 1
                last[record.partition] = record
                records.append(record)
        spans = tuple(
            replace(span, next=last[span.partition].offset + 1, leader_epoch=last[span.partition].leader_epoch)
            for span in self.spans
            if span.partition in last
        )
        return replace(self, records=records, spans=spans)


class Channel(Protocol):
    """What the worker needs of a message broker. Used by one thread."""

    @property
    def turns(self) -> int:
        """How many partitions could have been read so far, counting repeats."""
        ...

    @property
    def obstacle(self) -> Obstacle | None:
        """What keeps us from reading although brokers answer; None if nothing does."""
        ...

    def poll(self, max_records: int, /) -> Poll:
        """Return the records that are there; if there are none, wait for some, but not for long.

        Raises:
            KafkaUnusable, GaveUp: no other poll will bring any.
        """
        ...

    def publish(self, poll: Poll, outgoing: Sequence[Outgoing], /) -> None:
        """Publish the results of `poll` and commit its offsets.

        Raises:
            NotPublished: rewind and retry.
            GaveUp: only a new process is safe.
        """
        ...

    def rewind(self, poll: Poll, /) -> None:
        """Go back to the first record of `poll` in each partition that is still ours."""
        ...

    def cut(self, poll: Poll, counts: Mapping[int, int], /) -> Poll:
        """Keep only so many of the first records of each partition; the next polls return the others again.

        Returns:
            What is left of `poll`, to be published in its place.
        """
        ...

    def settle(self, poll: Poll, /) -> bool:
        """Commit positions that moved without a record; whether there were any.

        Raises:
            NotPublished, GaveUp: as `publish`.
        """
        ...

    def assignment(self) -> frozenset[int]:
        """Partitions that are ours now, and read."""
        ...

    def progress(self, timeout_seconds: float, /) -> dict[int, Progress] | None:
        """Position and end of each partition of ours; None if no broker answered in time."""
        ...

    def drained(self) -> bool:
        """Whether everything that was there at the start is committed; False unless asked to drain."""
        ...
