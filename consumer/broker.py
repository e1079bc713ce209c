"""Kafka, behind the few verbs that the worker needs: connect, poll, publish, rewind.

Where each line comes from is written down, with the test that shows it, in docs/delivery.md.
"""

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from kafka import TopicPartition
from kafka.errors import KafkaError, ProducerFencedError, RetriableError
from kafka.structs import ConsumerGroupMetadata, OffsetAndMetadata

from consumer import kafka_fixes
from consumer.errors import GaveUp, KafkaUnusable, ReviewsError
from consumer.kafka_client import NULL, reason_of
from consumer.messages import Record
from consumer.outcomes import Outgoing
from consumer.settings import WorkerSettings
from consumer.stall import Progress
from consumer.start import Start

log = logging.getLogger(__name__)

#: The points between which a failure has a meaning of its own; tests stop a worker there.
Step = Literal["polled", "inferred", "begun", "sent", "offsets_sent", "committed"]


class NotPublished(ReviewsError):  # noqa: N818 - the state of a poll, not of our program
    """Nothing of this poll became visible and no offset moved; rewind and take it again."""

    exit_code = 5


@dataclass(frozen=True, slots=True)
class Poll:
    """What one poll returned, with the group metadata of that moment."""

    records: list[Record]
    first: dict[TopicPartition, int]
    next: dict[TopicPartition, int]
    group: ConsumerGroupMetadata


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
        self._consumer: Any = None
        self._producer: Any = None
        self._partitions: dict[str, int] = {}
        self._committed: dict[TopicPartition, int] = {}
        self._drain_to: dict[TopicPartition, int] = {}

    def connect(self, stopping: Callable[[], bool] = lambda: False) -> None:
        """Wait for Kafka and the topics as `Start.connect` does; join the group.

        Raises:
            KafkaUnusable: as `Start.connect`.
        """
        connection = Start(self._settings, self._on_waiting, stopping).connect()
        self._consumer, self._producer = connection.consumer, connection.producer
        self._partitions = connection.partitions
        if stopping():
            return
        self._consumer.subscribe([self._settings.input_topic])
        if self._settings.drain:
            self._drain_to = self._undone()

    def poll(self, max_records: int, timeout_seconds: float = 0.5) -> Poll:
        """Return what is there, at once if there is something, else after `timeout_seconds`.

        Raises:
            GaveUp: what the broker returned cannot be read (corrupt batch, unknown codec), or rights were withdrawn.
        """
        try:
            polled = self._consumer.poll(timeout_ms=int(timeout_seconds * 1000), max_records=max_records)
        except RetriableError as error:
            # No way to a broker while joining the group. The loop asks for signs of life, and gives up in time.
            log.warning("nothing polled: %s", reason_of(error))
            time.sleep(timeout_seconds)
            polled = {}
        except Exception as error:  # the client raises what its decoders raise
            raise GaveUp(
                f"cannot read {self._settings.input_topic}: {reason_of(error)}; "
                "nothing was skipped, see docs/runbook.md"
            ) from error
        # Taken now: after inference the client may have left the group, and the broker accepts the metadata of
        # a consumer that is in no group.
        group = self._consumer.group_metadata()
        records, first, after = [], {}, {}
        for partition, messages in polled.items():
            records += [
                Record(m.topic, m.partition, m.offset, m.timestamp, m.key, m.value, tuple(m.headers)) for m in messages
            ]
            first[partition] = messages[0].offset
            after[partition] = messages[-1].offset + 1
        if records:
            self._at("polled")
        return Poll(records, first, after, group)

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
        offsets = {partition: OffsetAndMetadata(offset, "", -1) for partition, offset in poll.next.items()}
        if poll.group.generation_id < 0:  # 1
            raise NotPublished("this worker has left its group")
        if self._settings.is_exactly_once:
            self._publish_in_transaction(outgoing, offsets, poll.group)
        else:
            self._publish_then_commit(outgoing, offsets)
        self._at("committed")
        self._committed.update(poll.next)

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
            self._abort(cause, sequences_are_off=bool(refused))
            raise NotPublished(cause) from error

    def _acknowledged(self, sent: Sequence[Any]) -> None:
        self._producer.flush(timeout=self._settings.max_poll_interval_seconds / 2)
        for future in sent:
            future.get(timeout=0)

    def _abort(self, cause: str, *, sequences_are_off: bool) -> None:
        try:
            self._producer.abort_transaction()
            if sequences_are_off:
                kafka_fixes.bump_epoch(self._producer, self._settings.request_timeout_seconds)
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
        return self._producer.send(record.topic, value, record.key, record.headers, partition)

    def rewind(self, poll: Poll) -> None:
        """Go back to the first record of `poll` in each partition that is still ours; aborting alone does not."""
        for partition in self._consumer.assignment() & poll.first.keys():
            self._consumer.seek(partition, poll.first[partition])

    def assignment(self) -> frozenset[int]:
        """Partitions of the input topic that are ours now."""
        return frozenset(partition.partition for partition in self._consumer.assignment())

    def progress(self, timeout_seconds: float) -> dict[int, Progress] | None:
        """Position and end of each partition of ours; one request. None if no answer came within `timeout_seconds`."""
        ours = self._consumer.assignment()
        try:
            ends = self._consumer.end_offsets(
                list(ours or {TopicPartition(self._settings.input_topic, 0)}), timeout_ms=int(timeout_seconds * 1000)
            )
        except KafkaError:
            return None
        positions = {partition: self._consumer.position(partition, timeout_ms=0) for partition in ours}
        return {
            partition.partition: Progress(position, ends[partition])
            for partition, position in positions.items()
            if position is not None
        }

    def settle(self) -> bool:
        """Commit positions that moved without a record (transaction markers, compacted tails): lag reaches 0.

        Returns:
            Whether there was something to commit.

        Raises:
            NotPublished, GaveUp: as `publish`.
        """
        group = self._consumer.group_metadata()
        if group.generation_id < 0:
            return False
        moved = {}
        try:
            for partition in self._consumer.assignment():
                position = self._consumer.position(partition, timeout_ms=0)
                if position is not None and position > self._known_commit(partition, position):
                    moved[partition] = position
        except KafkaError as error:
            log.warning("committed offsets are not known now: %s", reason_of(error))
            return False
        if moved:
            self.publish(Poll([], {}, moved, group), [])
        return bool(moved)

    def take_stock(self, partitions: Iterable[int]) -> dict[int, int]:
        """After the assignment changed: forget known commits, and look at `partitions`, which are new to us.

        Returns:
            Records that retention deleted before the group read them, for each partition where there are any.
        """
        self._committed.clear()
        new = [TopicPartition(self._settings.input_topic, partition) for partition in partitions]
        missed = {}
        try:
            starts = self._consumer.beginning_offsets(new, timeout_ms=self._request_ms) if new else {}
            for partition in (each for each in new if starts[each] > 0):
                gap = starts[partition] - self._known_commit(partition, starts[partition])
                if gap > 0:
                    missed[partition.partition] = gap
        except KafkaError as error:
            log.warning("could not compare commits with the start of the log: %s", reason_of(error))
        return missed

    def drained(self) -> bool:
        """Whether the group has committed everything up to the end offsets seen at start, in every partition."""
        try:
            self._drain_to = {
                partition: end
                for partition, end in self._drain_to.items()
                if (self._consumer.committed(partition, timeout_ms=self._request_ms) or 0) < end
            }
        except KafkaError as error:
            log.warning("whether all is drained is not known now: %s", reason_of(error))
            return False
        return not self._drain_to

    def close(self, timeout_seconds: float) -> None:
        """Leave the group and close, within `timeout_seconds`; safe to call at any time."""
        if self._producer is not None:
            self._quietly("producer", lambda: self._producer.close(timeout=timeout_seconds / 2))
        if self._consumer is not None:
            self._quietly(
                "consumer",
                lambda: self._consumer.close(autocommit=False, timeout_ms=int(timeout_seconds / 2 * 1000)),
            )

    @staticmethod
    def _quietly(what: str, close: Callable[[], None]) -> None:
        try:
            close()
        except KafkaError as error:
            log.warning("the %s did not close cleanly: %s", what, reason_of(error))

    @property
    def _request_ms(self) -> int:
        return int(self._settings.request_timeout_seconds * 1000)

    def _known_commit(self, partition: TopicPartition, position: int) -> int:
        """Committed offset; `position` where there is none, so that a fresh group commits nothing before it reads."""
        if partition not in self._committed:
            committed = self._consumer.committed(partition, timeout_ms=self._request_ms)
            # With an end to drain to, a partition without records has to be committed as well.
            self._committed[partition] = committed if committed is not None else -1 if self._drain_to else position
        return self._committed[partition]

    def _undone(self) -> dict[TopicPartition, int]:
        topic = self._settings.input_topic
        partitions = [TopicPartition(topic, number) for number in range(self._partitions[topic])]
        try:
            ends = self._consumer.end_offsets(partitions, timeout_ms=self._request_ms)
            starts = self._consumer.beginning_offsets(partitions, timeout_ms=self._request_ms)
        except KafkaError as error:
            raise KafkaUnusable(f"the end of {topic} is not known: {reason_of(error)}") from error
        return {partition: end for partition, end in ends.items() if end > starts[partition]}
