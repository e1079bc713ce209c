"""How the results of a poll become visible: the order of a commit.

docs/design.md explains each decision, with the test that fails without it.
"""

import logging
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, Literal

from kafka import TopicPartition
from kafka.errors import KafkaError, ProducerFencedError
from kafka.structs import OffsetAndMetadata

from consumer.errors import GaveUp
from consumer.kafka.client import reason_of
from consumer.kafka.connection import Outlet
from consumer.kafka.delivery import SIGN_SECONDS, Delivery
from consumer.kafka.fixes import refusals, sending, transactions
from consumer.records.events import Events
from consumer.records.outgoing import Outgoing
from consumer.records.poll import NotPublished, Poll
from consumer.settings import WorkerSettings

log = logging.getLogger(__name__)

#: The points between which a failure has a meaning of its own; tests stop a worker there.
Step = Literal["polled", "inferred", "begun", "sent", "offsets_sent", "committed"]


class Publisher:
    """The producer, and the offsets that are committed with what it sends. Used by one thread.

    Results have `delivery_timeout_seconds` to be delivered. Within that time a slow link is no hang: `alive`
    is called at least every `request_timeout_seconds`. An answer that is overdue after all results are delivered is for
    the watchdog, because kafka-python waits for it forever.

    Args:
        settings: delivery, timeouts.
        connection: clients, lineages, the partitions of each topic.
        at: called when a poll has come as far as this step.
        alive: called while results are being delivered.
        events: learns how each transaction ends.
    """

    def __init__(
        self,
        settings: WorkerSettings,
        connection: Outlet,
        at: Callable[[Step], None],
        alive: Callable[[], None],
        events: Events,
    ) -> None:
        self._settings = settings
        self._delivery_seconds = settings.delivery_timeout_seconds
        self._consumer, self._producer = connection.consumer, connection.producer
        self._lineages, self._partitions = connection.lineages, connection.partitions
        self._at = at
        self._alive = alive
        self._events = events

    def publish(self, poll: Poll, outgoing: Sequence[Outgoing]) -> None:
        """Publish `outgoing` and commit the offsets of `poll`: both or neither, if delivery is exactly once.

        1. reject a poll that was taken outside the group
        2. begin the transaction (after inference, so that it lives for milliseconds)
        3. send predictions and dead letters
        4. send the offsets with the group metadata of the poll, so that a stale worker is fenced
        5. wait until every record is acknowledged, because the client commits without those that are not
        6. commit
        7. if a request was sent again, get a new epoch, because brokers would apply a late first copy to the next
           transaction

        At-least-once delivery has no transaction: after steps 1, 3 and 5 it commits the offsets.

        Raises:
            NotPublished: aborted; the caller rewinds and retries.
            GaveUp: the outcome is unknown or the producer is unusable; only a new process is safe.
        """
        self._at("inferred")
        if not poll.in_group:  # 1
            raise NotPublished("this worker has left its group")
        offsets = {
            TopicPartition(self._settings.input_topic, span.partition): OffsetAndMetadata(
                span.next, self._lineages.metadata(span.partition, span.next), span.leader_epoch
            )
            for span in poll.spans
        }
        if self._settings.is_exactly_once:
            self._publish_in_transaction(outgoing, offsets, poll.group)
        else:
            self._publish_then_commit(outgoing, offsets)
        self._at("committed")

    def _publish_in_transaction(
        self, outgoing: Sequence[Outgoing], offsets: dict[TopicPartition, OffsetAndMetadata], group: object
    ) -> None:
        delivery = Delivery(self._delivery_seconds, self._alive)
        try:
            self._producer.begin_transaction()  # 2
            self._at("begun")
            self._send(outgoing, delivery)  # 3
            self._at("sent")
            transactions.send_offsets(self._producer, offsets, group, delivery.show_life, SIGN_SECONDS)  # 4
            self._at("offsets_sent")
            delivery.wait(self._producer)  # 5
            self._alive()
            self._producer.commit_transaction()  # 6
            self._events.transaction_ended(committed=True)
        except ProducerFencedError as error:
            raise GaveUp(
                "fenced: another worker has this transactional id, or the broker ended our transaction after "
                "transaction_timeout_seconds; give each worker an instance_id of its own, and restart this one"
            ) from error
        except KafkaError as error:
            cause = delivery.cause(error)
            self._abort(cause)
            raise NotPublished(cause) from error
        if transactions.has_repeated(self._producer):  # 7
            self._renew_epoch()

    def _renew_epoch(self) -> None:
        log.info("a request of the last transaction was sent again; requesting a new producer epoch")
        try:
            self._bump_epoch()
        except KafkaError as error:
            raise GaveUp(
                f"the last transaction is committed, but the producer gets no new epoch ({reason_of(error)}); "
                "restart the worker, which resumes from the last commit"
            ) from error

    def _bump_epoch(self) -> None:
        self._alive()
        transactions.bump_epoch(self._producer, self._settings.request_timeout_seconds)

    def _abort(self, cause: str) -> None:
        try:
            self._alive()
            self._producer.abort_transaction()
            self._events.transaction_ended(committed=False)
            # What was sent may have left a gap in the sequence numbers, or may still arrive.
            self._bump_epoch()
        except KafkaError as error:
            raise GaveUp(
                f"the transaction can be neither committed nor aborted ({cause}; {reason_of(error)}); "
                "restart the worker, which resumes from the last commit"
            ) from error

    def _publish_then_commit(
        self, outgoing: Sequence[Outgoing], offsets: dict[TopicPartition, OffsetAndMetadata]
    ) -> None:
        delivery = Delivery(self._delivery_seconds, self._alive)
        try:
            self._send(outgoing, delivery)
            delivery.wait(self._producer)
            self._at("sent")
            self._alive()
            self._consumer.commit(offsets, timeout_ms=int(self._settings.request_timeout_seconds * 1000))
        except KafkaError as error:
            cause = delivery.cause(error)
            if refusals.is_beyond_repair(self._producer):
                raise GaveUp(f"not published ({cause}); see docs/runbook.md, and restart the worker") from error
            raise NotPublished(cause) from error

    def _send(self, outgoing: Sequence[Outgoing], delivery: Delivery) -> None:
        place = cache(self._place)  # for this poll: a topic may change between two

        def send(record: Outgoing) -> Any:
            return self._send_one(record, place(record.topic, record.partition))

        for record in outgoing:
            delivery.put(record, send)
        sending.wake(self._producer)

    def _place(self, topic: str, source_partition: int) -> TopicPartition:
        """Where results of this source partition go; announced to the transaction."""
        count = self._partitions[topic]
        place = TopicPartition(topic, source_partition % count)
        if place.partition not in self._producer.partitions_for(topic):
            raise GaveUp(f"{topic} no longer has the {count} partitions that it had at the start; restart the worker")
        sending.announce(self._producer, place)
        return place

    def _send_one(self, record: Outgoing, place: TopicPartition) -> Any:
        headers = record.headers + self._lineages.headers(record.partition)
        if record.size > self._settings.max_request_bytes:  # an upper bound
            sending.check_size(self._producer, record, headers)
        return sending.put(self._producer, place, record, headers)
