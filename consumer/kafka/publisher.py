"""How the outcomes of a poll become visible: the order of a commit.

Where each line comes from is written down, with the test that shows it, in docs/delivery.md.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from kafka import TopicPartition
from kafka.errors import KafkaError, ProducerFencedError
from kafka.structs import ConsumerGroupMetadata, MemberState, OffsetAndMetadata

from consumer.errors import GaveUp, ReviewsError
from consumer.kafka import fixes
from consumer.kafka.client import NULL, reason_of
from consumer.kafka.lineage import Lineages
from consumer.kafka.start import Connection
from consumer.records.outgoing import Outgoing
from consumer.records.record import Record
from consumer.settings import WorkerSettings

#: The points between which a failure has a meaning of its own; tests stop a worker there.
Step = Literal["polled", "inferred", "begun", "sent", "offsets_sent", "committed"]


class NotPublished(ReviewsError):  # noqa: N818 - the state of a poll, not of our program
    """Nothing of this poll became visible and no offset moved; rewind and take it again."""

    exit_code = 5


@dataclass(frozen=True, slots=True)
class Poll:
    """What one poll returned, with the group metadata of that moment.

    Attributes:
        records: in order within each partition.
        first, next: offset of the first record, and the one behind the last, of each partition.
        epochs: leader epoch of the last record of each partition of `next`, where it is known.
        group: see `Publisher.publish`.
        restored: where reading goes on, for each partition whose committed offset had gone back: see
            `consumer.kafka.lineage`.
        deleted: records that retention deleted before they were read, for each partition where there were any.
    """

    records: list[Record]
    first: dict[TopicPartition, int]
    next: dict[TopicPartition, int]
    epochs: dict[TopicPartition, int]
    group: ConsumerGroupMetadata
    restored: dict[int, int] = field(default_factory=dict)
    deleted: dict[int, int] = field(default_factory=dict)

    @property
    def in_group(self) -> bool:
        """Whether it was taken as a member of the group.

        While the group rebalances, the generation may be the new one already and the partitions still the old ones.
        """
        return bool(self.group.state == MemberState.STABLE)


class Publisher:
    """The producer, and the offsets that are committed with what it sends. Used by one thread.

    Args:
        settings: delivery, timeouts.
        connection: clients and the partitions of each topic.
        lineages: what marks results and commits.
        at: called when a poll has come as far as this step.
    """

    def __init__(
        self, settings: WorkerSettings, connection: Connection, lineages: Lineages, at: Callable[[Step], None]
    ) -> None:
        self._settings = settings
        self._consumer, self._producer = connection.consumer, connection.producer
        self._partitions = connection.partitions
        self._lineages = lineages
        self._at = at

    def publish(self, poll: Poll, outgoing: Sequence[Outgoing]) -> None:
        """Make `outgoing` and the offsets of `poll` visible: together, or not at all, if delivery is exactly once.

        1. refuse a poll that was taken outside the group
        2. begin the transaction (after inference, so that it lives for milliseconds)
        3. send predictions and dead letters
        4. send the offsets with the group metadata of the poll, so that a stale one is fenced
        5. wait until every record is acknowledged, for the client commits without those that were not
        6. commit

        Raises:
            NotPublished: aborted; the caller rewinds and retries.
            GaveUp: the outcome is unknown or the producer is unusable; only a new process is safe.
        """
        self._at("inferred")
        if not poll.in_group:  # 1
            raise NotPublished("this worker has left its group")
        offsets = {
            where: OffsetAndMetadata(
                offset, self._lineages.metadata(where.partition, offset), poll.epochs.get(where, -1)
            )
            for where, offset in poll.next.items()
        }
        if self._settings.is_exactly_once:
            self._publish_in_transaction(outgoing, offsets, poll.group)
        else:
            self._publish_then_commit(outgoing, offsets)
        self._at("committed")

    def _publish_in_transaction(
        self,
        outgoing: Sequence[Outgoing],
        offsets: dict[TopicPartition, OffsetAndMetadata],
        group: ConsumerGroupMetadata,
    ) -> None:
        sent: list[Any] = []
        try:
            self._producer.begin_transaction()  # 2
            self._at("begun")
            sent += [self._send(record) for record in outgoing]  # 3
            self._at("sent")
            self._producer.send_offsets_to_transaction(offsets, group)  # 4
            self._at("offsets_sent")
            self._acknowledged(sent)  # 5
            self._producer.commit_transaction()  # 6
        except ProducerFencedError as error:
            raise GaveUp(
                "fenced: another worker has this transactional id, or the broker ended our transaction after "
                "transaction_timeout_seconds; give each worker an instance_id of its own, and start this one again"
            ) from error
        except KafkaError as error:
            refused = [future for future in sent if future.failed()]
            cause = reason_of(refused[0].exception if refused else error)
            # A batch that was refused and cut in two has not failed yet: whatever was sent may have left a hole.
            self._abort(cause, sequences_are_off=bool(sent))
            raise NotPublished(cause) from error

    def _acknowledged(self, sent: Sequence[Any]) -> None:
        self._producer.flush(timeout=self._settings.delivery_timeout_seconds)
        for future in sent:
            future.get(timeout=0)

    def _abort(self, cause: str, *, sequences_are_off: bool) -> None:
        try:
            self._producer.abort_transaction()
            if sequences_are_off:
                fixes.bump_epoch(self._producer, self._settings.request_timeout_seconds)
        except KafkaError as error:
            raise GaveUp(
                f"the transaction can be neither committed nor aborted ({cause}; {reason_of(error)}); "
                "start the worker again, it resumes from the last commit"
            ) from error

    def _publish_then_commit(
        self, outgoing: Sequence[Outgoing], offsets: dict[TopicPartition, OffsetAndMetadata]
    ) -> None:
        try:
            self._acknowledged([self._send(record) for record in outgoing])
            self._at("sent")
            self._consumer.commit(offsets, timeout_ms=int(self._settings.request_timeout_seconds * 1000))
        except KafkaError as error:
            raise NotPublished(reason_of(error)) from error

    def _send(self, record: Outgoing) -> Any:
        value = NULL if record.value is None else record.value
        partition = record.partition % self._partitions[record.topic]
        headers = record.headers + self._lineages.headers(record.partition)
        try:
            return self._producer.send(record.topic, value, record.key, headers, partition)
        except ValueError as error:
            count = self._partitions[record.topic]
            raise GaveUp(
                f"{record.topic} no longer has the {count} partitions that it had at the start ({reason_of(error)}); "
                "start the worker again"
            ) from error
