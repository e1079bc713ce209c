"""Kafka behind the few verbs that the worker needs (`consumer.records.poll.Channel`).

docs/design.md explains each decision, with the test that fails without it.
"""

from collections.abc import Callable, Mapping, Sequence

from kafka import TopicPartition
from kafka.errors import KafkaError
from kafka.structs import MemberState

from consumer.kafka.assignment import Assignment
from consumer.kafka.connection import Connection
from consumer.kafka.drain import Drain
from consumer.kafka.fixes import group as group_fixes
from consumer.kafka.fixes import losses, positions
from consumer.kafka.losses import Losses
from consumer.kafka.publisher import Publisher, Step
from consumer.kafka.reading import Reading
from consumer.records.events import IGNORED, Events
from consumer.records.outgoing import Outgoing
from consumer.records.poll import Obstacle, Poll, Span
from consumer.records.progress import Progress
from consumer.records.record import record_of
from consumer.settings import WorkerSettings

#: How long a poll waits for records.
POLL_SECONDS = 0.5
#: The same while a committed offset is not known yet, because a transaction still decides it.
WAITING_SECONDS = 0.1


class Broker:
    """A member of the consumer group that publishes what comes of its records. Used by one thread.

    Args:
        settings: topics, group, timeouts.
        connection: what a `Start` returned; the caller closes it.
        at: called when a poll has come as far as this step.
        alive: called during waits that are long and yet no hang, at least every `request_timeout_seconds`.
        events: learns of rebalances and transactions.

    Raises:
        KafkaUnusable: this worker is to drain its topic, and cannot find out where the topic ends.
    """

    def __init__(
        self,
        settings: WorkerSettings,
        connection: Connection,
        *,
        at: Callable[[Step], None] = lambda _: None,
        alive: Callable[[], None] = lambda: None,
        events: Events = IGNORED,
    ) -> None:
        self._settings = settings
        self._consumer = connection.consumer
        self._at = at
        self._assignment = Assignment(self._consumer, connection.lineages, settings.request_timeout_seconds, alive)
        self._losses = Losses(settings, self._consumer, connection.lineages, alive)
        self._publisher = Publisher(settings, connection, at, alive, events)
        self._reading = Reading(settings, self._consumer)
        self._events = events
        self._read_out: set[int] = set()  # partitions with nothing left to read, as `progress` last saw them
        self._consumer.subscribe([settings.input_topic])
        partitions = connection.partitions[settings.input_topic]
        self._drain = Drain(settings, self._consumer, partitions, alive) if settings.drain else None

    def poll(self, max_records: int, timeout_seconds: float = POLL_SECONDS) -> Poll:
        """Return the records that are there; if there are none, those that come within `timeout_seconds`.

        1. poll the client, which also keeps us in the group
        2. take the group metadata now: after inference the client may have left the group, and the broker accepts
           metadata of a consumer that is in no group
        3. if the group has assigned partitions, discard the records: where to read these partitions is not known yet
        4. discard the records of partitions that lost some, because their offsets may mean other records now
        5. take over partitions whose committed offset is known by now
        6. count what retention deleted, from the notes that 3 and 4 have not discarded

        Raises:
            KafkaUnusable: the group or the topic was refused from the start.
            GaveUp: what the broker returned is unreadable (corrupt batch, unknown codec), or rights were withdrawn.
        """
        seconds = min(timeout_seconds, WAITING_SECONDS) if self._assignment.waiting else timeout_seconds
        polled = self._reading.poll(max_records, seconds, self._assignment.readable)  # 1
        group = self._consumer.group_metadata()  # 2
        if self._assignment.renew():  # 3
            polled = {}
            self._losses.forget()
        for outdated in self._losses.outdated(self._assignment.readable):  # 4
            polled.pop(outdated, None)
        restored = self._assignment.take_over() if self._assignment.waiting else {}  # 5
        deleted = self._losses.deleted()  # 6
        if not self._assignment.waiting and (took := group_fixes.rebalance_seconds(self._consumer)) is not None:
            self._events.rebalanced(took)
        if polled:
            self._at("polled")
        return Poll(
            records=[record_of(message) for messages in polled.values() for message in messages],
            spans=tuple(self._reading.span(partition, messages) for partition, messages in polled.items()),
            in_group=group.state == MemberState.STABLE,
            group=group,
            restored=restored,
            deleted=deleted,
            idle_seconds=self._reading.idle_seconds,
        )

    def publish(self, poll: Poll, outgoing: Sequence[Outgoing]) -> None:
        """Publish `outgoing` and commit the offsets of `poll`: see `Publisher.publish`."""
        self._publisher.publish(poll, outgoing)
        self._assignment.committed.update({self._place(span.partition): span.next for span in poll.spans})

    def rewind(self, poll: Poll) -> None:
        """Go back to the first record of `poll` in each partition that is still ours; aborting alone does not."""
        self.cut(poll, {})

    def cut(self, poll: Poll, counts: Mapping[int, int]) -> Poll:
        """Keep so many of the first records of each partition; go back to the one after them if it is still ours."""
        kept = poll.first_ones(counts)
        reached = {span.partition: (span.next, span.leader_epoch) for span in kept.spans}
        ours = self._consumer.assignment() & self._assignment.readable
        for span in poll.spans:
            offset, epoch = reached.get(span.partition, (span.first, span.epoch_before))
            if offset < span.next and (place := self._place(span.partition)) in ours:
                positions.seek(self._consumer, place, offset, epoch)
        return kept

    @property
    def turns(self) -> int:
        """How many partitions could have been read so far, counting repeats."""
        return positions.turns(self._consumer) + self._reading.idle_turns

    @property
    def obstacle(self) -> Obstacle | None:
        """What keeps us from reading although brokers answer. Having no partition is no obstacle."""
        if self._consumer.group_metadata().generation_id < 0:
            return Obstacle.OUTSIDE
        return Obstacle.IN_DOUBT if self._assignment.waiting and not self._assignment.readable else None

    def assignment(self) -> frozenset[int]:
        """Partitions of the input topic that are ours now, and read."""
        return frozenset(partition.partition for partition in self._assignment.readable)

    def progress(self, timeout_seconds: float) -> dict[int, Progress] | None:
        """Position and end of each partition of ours, with one request; None if no answer came in time.

        The position is None if the committed offset is not known yet. A partition without a leader is left out.
        """
        ours = self._consumer.assignment()
        try:
            ends = self._consumer.end_offsets(list(ours or {self._place(0)}), timeout_ms=int(timeout_seconds * 1000))
        except KafkaError:
            return None
        found = {
            partition.partition: Progress(self._position(partition), ends[partition])
            for partition in ours & ends.keys()
        }
        self._read_out = {partition for partition, seen in found.items() if seen.lag == 0}
        return found

    def settle(self, poll: Poll) -> bool:
        """After an empty or a published `poll`, commit positions that moved without a record, so that lag reaches 0.

        Transaction markers and compacted tails move them forward; a log that lost its end moves them back.

        Returns:
            Whether there was something to commit.

        Raises:
            NotPublished, GaveUp: as `publish`.
        """
        if not poll.in_group:
            return False
        moved = []
        for partition in self._consumer.assignment() & self._assignment.readable:
            if (position := positions.position(self._consumer, partition)) is None:
                continue
            # A new group commits nothing of a partition before it reads it, with three exceptions. There is nothing to
            # read: without a commit, tools that compute the lag from outside show none, or count from the first offset.
            # It has to reach an end. It does not begin at the first record: the next worker must begin there as well.
            must_commit = (
                partition.partition in self._read_out
                or (self._drain and self._drain.undone)
                or self._settings.start_from != "earliest"
            )
            unknown = -1 if must_commit else position.offset
            if position.offset != self._assignment.committed.get(partition, unknown):
                moved.append(Span(partition.partition, position.offset, position.offset, position.leader_epoch))
        if losses.has_lost_records(self._consumer):
            return False  # these positions may belong to another lineage, which begins with the next poll
        if moved:
            self.publish(Poll([], tuple(moved), poll.in_group, poll.group), [])
        return bool(moved)

    def drained(self) -> bool:
        """Whether everything that was there at the start is committed; False unless the worker is to drain."""
        return self._drain is not None and self._drain.is_over()

    def _place(self, partition: int) -> TopicPartition:
        return TopicPartition(self._settings.input_topic, partition)

    def _position(self, partition: TopicPartition) -> int | None:
        position = positions.position(self._consumer, partition)
        return None if position is None or partition in self._assignment.waiting else position.offset
