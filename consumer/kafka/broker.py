"""Kafka, behind the few verbs that the worker needs: connect, poll, publish, rewind.

Where each line comes from is written down, with the test that shows it, in docs/delivery.md.
"""

import logging
import time
from collections.abc import Callable, Sequence
from typing import Any

from kafka import TopicPartition
from kafka.errors import (
    AuthorizationError,
    FencedInstanceIdError,
    GroupMaxSizeReachedError,
    InconsistentGroupProtocolError,
    InvalidGroupIdError,
    InvalidSessionTimeoutError,
    KafkaError,
    RetriableError,
)

from consumer.errors import GaveUp, KafkaUnusable
from consumer.kafka import fixes
from consumer.kafka.assignment import Assignment
from consumer.kafka.client import reason_of
from consumer.kafka.drain import Drain
from consumer.kafka.lineage import Lineages
from consumer.kafka.losses import Losses
from consumer.kafka.publisher import Poll, Publisher, Step
from consumer.kafka.start import Connection, Start
from consumer.records.outgoing import Outgoing
from consumer.records.progress import Progress
from consumer.records.record import Record
from consumer.settings import WorkerSettings

log = logging.getLogger(__name__)

#: Between two looks at a committed offset that a transaction still decides.
WAITING_SECONDS = 0.1
#: Answers of the group, or about the topic, that no other attempt changes.
REFUSALS = (
    AuthorizationError,
    FencedInstanceIdError,
    GroupMaxSizeReachedError,
    InconsistentGroupProtocolError,
    InvalidGroupIdError,
    InvalidSessionTimeoutError,
)
#: What keeps a worker from reading although brokers answer.
OUTSIDE = "not in the consumer group yet"
IN_DOUBT = "waiting for committed offsets, which are not known yet"


class Broker:
    """One consumer and one producer. Used by one thread.

    Args:
        settings: addresses, topics, group, timeouts.
        on_waiting: told, in one line, what a slow start is waiting for.
        at: called when a poll has come as far as this step.
    """

    def __init__(
        self,
        settings: WorkerSettings,
        on_waiting: Callable[[str], None] = lambda _: None,
        at: Callable[[Step], None] = lambda _: None,
    ) -> None:
        self._settings = settings
        self._on_waiting = on_waiting
        self._at = at
        self._connection = Connection(None, None, None, {})
        self._consumer: Any = None
        self._publisher: Publisher
        self._assignment: Assignment
        self._losses: Losses
        self._drain: Drain | None = None
        self._idle_turns = 0

    def connect(self, stopping: Callable[[], bool] = lambda: False) -> None:
        """Wait for Kafka and the topics as `Start.connect` does; join the group.

        Raises:
            KafkaUnusable: as `Start.connect`.
        """
        self._connection = connection = Start(self._settings, self._on_waiting, stopping).connect()
        if stopping():
            return
        self._consumer = connection.consumer
        lineages = Lineages(self._settings, connection.reader, connection.partitions)
        self._assignment = Assignment(self._consumer, lineages, self._settings.request_timeout_seconds)
        self._losses = Losses(self._settings, self._consumer, lineages)
        self._publisher = Publisher(self._settings, connection, lineages, self._at)
        self._consumer.subscribe([self._settings.input_topic])
        if self._settings.drain:
            self._drain = Drain(self._settings, self._consumer, connection.partitions[self._settings.input_topic])

    def poll(self, max_records: int, timeout_seconds: float = 0.5) -> Poll:
        """Return what is there, at once if there is something, else after `timeout_seconds`.

        Raises:
            KafkaUnusable: the group or the topic was refused from the first.
            GaveUp: what the broker returned cannot be read (corrupt batch, unknown codec), or rights were withdrawn.
        """
        try:
            # A partition that waits for its committed offset is looked after more often.
            seconds = min(timeout_seconds, WAITING_SECONDS) if self._assignment.waiting else timeout_seconds
            polled = self._consumer.poll(timeout_ms=int(seconds * 1000), max_records=max_records)
        except RetriableError as error:
            # No way to a broker while joining the group. The loop asks for signs of life, and gives up in time.
            log.warning("nothing polled: %s", reason_of(error))
            time.sleep(timeout_seconds)
            polled = {}
        except REFUSALS as error:
            what = f"the group {self._settings.group_id} or the topic {self._settings.input_topic} is refused"
            kind = GaveUp if fixes.times_assigned(self._consumer) else KafkaUnusable
            raise kind(f"{what}: {reason_of(error)}; see docs/runbook.md") from error
        except Exception as error:  # the client raises what its decoders raise
            raise GaveUp(
                f"cannot read {self._settings.input_topic}: {reason_of(error)}; "
                "nothing was skipped, see docs/runbook.md"
            ) from error
        if not polled:  # all that was fetched is handed out, and there was time for more of any partition
            self._idle_turns += max(1, len(self._consumer.assignment()))
        # Taken now: after inference the client may have left the group, and the broker accepts the metadata of
        # a consumer that is in no group.
        group = self._consumer.group_metadata()
        if self._assignment.renew():
            polled = {}
            self._losses.forget()
        for outdated in self._losses.outdated(self._assignment.readable):
            polled.pop(outdated, None)
        restored = self._assignment.take_over() if self._assignment.waiting else {}
        records, first, after, epochs = [], {}, {}, {}
        for partition, messages in polled.items():
            records += [
                Record(m.topic, m.partition, m.offset, _milliseconds(m.timestamp), m.key, m.value, tuple(m.headers))
                for m in messages
            ]
            first[partition] = messages[0].offset
            after[partition] = messages[-1].offset + 1
            epochs[partition] = messages[-1].leader_epoch
        if records:
            self._at("polled")
        return Poll(records, first, after, epochs, group, restored, self._losses.deleted())

    def publish(self, poll: Poll, outgoing: Sequence[Outgoing]) -> None:
        """Make `outgoing` and the offsets of `poll` visible: see `Publisher.publish`."""
        self._publisher.publish(poll, outgoing)
        self._assignment.committed.update(poll.next)

    def rewind(self, poll: Poll) -> None:
        """Go back to the first record of `poll` in each partition that is still ours; aborting alone does not."""
        for partition in self._consumer.assignment() & self._assignment.readable & poll.first.keys():
            self._consumer.seek(partition, poll.first[partition])

    @property
    def turns(self) -> int:
        """How many partitions could have been read so far, each counted as often as it had its turn."""
        return fixes.turns(self._consumer) + self._idle_turns

    @property
    def obstacle(self) -> str:
        """What keeps us from reading although brokers answer: `OUTSIDE`, `IN_DOUBT` or nothing.

        A member of the group may well have no partition.
        """
        if self._consumer.group_metadata().generation_id < 0:
            return OUTSIDE
        return IN_DOUBT if self._assignment.waiting and not self._assignment.readable else ""

    def assignment(self) -> frozenset[int]:
        """Partitions of the input topic that are ours now, and read."""
        return frozenset(partition.partition for partition in self._assignment.readable)

    def progress(self, timeout_seconds: float) -> dict[int, Progress] | None:
        """Position and end of each partition of ours; one request. None if no answer came within `timeout_seconds`.

        The position is None where the committed offset is not known yet. A partition without a leader is left out.
        """
        ours = self._consumer.assignment()
        try:
            ends = self._consumer.end_offsets(
                list(ours or {TopicPartition(self._settings.input_topic, 0)}), timeout_ms=int(timeout_seconds * 1000)
            )
        except KafkaError:
            return None
        return {
            partition.partition: Progress(self._position(partition), ends[partition])
            for partition in ours & ends.keys()
        }

    def settle(self, poll: Poll) -> bool:
        """After a `poll` without records, or that is published, commit positions that moved without one: lag reaches 0.

        Transaction markers and compacted tails move them on, and a log that has lost its end moves them back.

        Returns:
            Whether there was something to commit.

        Raises:
            NotPublished, GaveUp: as `publish`.
        """
        if not poll.in_group:
            return False
        moved, epochs = {}, {}
        for partition in self._consumer.assignment() & self._assignment.readable:
            if (position := fixes.position(self._consumer, partition)) is None:
                continue
            # A fresh group commits nothing before it reads; with an end to drain to, an empty partition as well.
            unknown = -1 if self._drain and self._drain.undone else position.offset
            if position.offset != self._assignment.committed.get(partition, unknown):
                moved[partition], epochs[partition] = position.offset, position.leader_epoch
        if fixes.has_lost_records(self._consumer):
            return False  # these positions may be of another lineage, which begins with the next poll
        if moved:
            self.publish(Poll([], {}, moved, epochs, poll.group), [])
        return bool(moved)

    def drained(self) -> bool:
        """Whether what there was at the start is committed, where we are to drain it."""
        return self._drain is not None and self._drain.is_over()

    def close(self, timeout_seconds: float) -> None:
        """Leave the group and close, within `timeout_seconds`; safe to call at any time."""
        self._connection.close(timeout_seconds)

    def _position(self, partition: TopicPartition) -> int | None:
        position = fixes.position(self._consumer, partition)
        return None if position is None or partition in self._assignment.waiting else position.offset


def _milliseconds(timestamp: int | None) -> int:
    return -1 if timestamp is None else timestamp  # the oldest format of records has none
