"""Sends the records of long work, so that it can be killed at any moment and resumed without a record sent twice.

Progress is a committed offset: that of partition 0 of the target topic, in a consumer group that is the work's own and
that nobody joins. Each transaction holds some records and the progress after them, so Kafka has both or neither. The
transactional id is the work's own as well: whoever starts the same work again fences the one before.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import (
    AuthorizationError,
    InvalidProducerEpochError,
    KafkaError,
    KafkaTimeoutError,
    ProducerFencedError,
)
from kafka.structs import OffsetAndMetadata

from consumer.errors import GaveUp, KafkaUnusable, ReviewsError
from consumer.kafka.client import Clients, connection, new_producer, reason_of
from consumer.kafka.delivery import SIGN_SECONDS, Delivery
from consumer.kafka.fixes import transactions
from consumer.kafka.tools.opening import opened
from consumer.records.outgoing import Outgoing
from consumer.settings import Delivery as Mode
from consumer.settings import WorkerSettings
from consumer.settings.times import CONNECT_SECONDS


@dataclass(frozen=True, slots=True)
class Saved:
    """Progress in Kafka.

    Attributes:
        position: how far the work is, in its own count.
        note: what was saved with it, at most 4,096 bytes.
    """

    position: int
    note: str


#: Another process has taken over the transactional id.
FENCES = (ProducerFencedError, InvalidProducerEpochError)


class Sending:
    """One piece of work. Used by one thread."""

    def __init__(self, settings: WorkerSettings, group: str, producer: Any, consumer: Any) -> None:
        self._settings, self._group = settings, group
        self._producer, self._consumer = producer, consumer
        self._place = TopicPartition(settings.input_topic, 0)

    def partitions(self) -> int:
        """How many partitions the input topic has.

        Raises:
            KafkaUnusable: there is no such topic, or this user may not see it.
        """
        topic = self._settings.input_topic
        try:
            found = self._consumer.partitions_for_topic(topic)
        except AuthorizationError as error:
            raise KafkaUnusable(
                f"topic {topic}: {reason_of(error)}; this user needs Write and Describe on it"
            ) from error
        if not found:
            raise KafkaUnusable(f"topic {topic} does not exist, or this user may not see it; create it first")
        return len(found)

    def saved(self) -> Saved | None:
        """The progress that the last committed transaction left; None if there was none.

        Raises:
            KafkaUnusable: this user may not read the group.
            GaveUp: Kafka does not say.
        """
        try:
            found = self._consumer.committed(
                self._place, metadata=True, timeout_ms=self._settings.request_timeout_seconds * 1000
            )
        except AuthorizationError as error:
            raise KafkaUnusable(self._needs_rights(error)) from error
        except KafkaError as error:
            raise GaveUp(f"cannot read how far the work is: {reason_of(error)}; run the command again") from error
        return None if found is None or found.offset < 0 else Saved(found.offset, found.metadata or "")

    def send(self, records: Sequence[Outgoing], progress: Saved) -> None:
        """Send `records` and save `progress`: both or neither.

        Raises:
            GaveUp: Kafka failed. What is saved says whether this was sent.
            KafkaUnusable: a right is missing; nothing of this was sent.
        """
        seconds = self._settings.delivery_timeout_seconds
        delivery = Delivery(seconds, lambda: None)
        deadline = time.monotonic() + seconds

        def waiting() -> None:
            if time.monotonic() > deadline:
                raise KafkaTimeoutError(f"progress was not saved within {seconds:g} s")

        try:
            self._producer.begin_transaction()
            for record in records:
                delivery.put(record, self._put)
            offsets = {self._place: OffsetAndMetadata(progress.position, progress.note, -1)}
            transactions.send_offsets(self._producer, offsets, self._group, waiting, SIGN_SECONDS)
            delivery.wait(self._producer)
            transactions.end_transaction(self._producer, self._settings.request_timeout_seconds, commit=True)
            if transactions.has_repeated(self._producer):
                transactions.bump_epoch(self._producer, self._settings.request_timeout_seconds)
        except (KafkaError, ValueError) as error:
            self.abort()
            raise self._failure(error, delivery) from error

    def abort(self) -> None:
        """Abort an open transaction, if possible: readers of committed records wait for it."""
        with suppress(KafkaError, RuntimeError):
            transactions.end_transaction(self._producer, SIGN_SECONDS, commit=False)

    def _put(self, record: Outgoing) -> Any:
        return self._producer.send(
            record.topic, record.value, record.key, record.headers, record.partition, record.timestamp_ms
        )

    def _failure(self, error: Exception, delivery: Delivery) -> ReviewsError:
        cause = delivery.cause(error) if isinstance(error, KafkaError) else reason_of(error)
        # The fence may reach the call, or only a record that was on its way.
        if any(fence.__name__ in cause or isinstance(error, fence) for fence in FENCES):
            return GaveUp("the same work was started again elsewhere, and continues there")
        if isinstance(error, AuthorizationError) or "Authorization" in cause:
            return KafkaUnusable(self._needs_rights(cause))
        return GaveUp(f"Kafka failed: {cause}")

    def _needs_rights(self, cause: Exception | str) -> str:
        reason = cause if isinstance(cause, str) else reason_of(cause)
        return (
            f"{reason}; this user needs Write and Describe on topic {self._settings.input_topic}, Read on the group "
            f"{self._group}, and Write and Describe on the transactional ids that begin with {self._settings.group_id}"
        )


@contextmanager
def sending(settings: WorkerSettings, kind: str, name: str, compression: str | None = None) -> Iterator[Sending]:
    """Open a piece of work.

    Args:
        settings: addresses, credentials, topic, limits.
        kind: of work, such as "produce"; its group and transactional id begin with the worker's group and this.
        name: the same for the same work, such as a digest.
        compression: see `new_producer`.

    Raises:
        KafkaUnusable: see `opened`.
        GaveUp: Kafka failed.
    """
    group = f"{settings.group_id}.{kind}.{name}"
    own = settings.model_copy(
        update={"group_id": f"{settings.group_id}.{kind}", "instance_id": name, "delivery": Mode.EXACTLY_ONCE}
    )

    def build_producer(_: WorkerSettings, clients: Clients) -> Any:
        return new_producer(own, clients, compression)

    def build_consumer(_: WorkerSettings, clients: Clients) -> Any:
        return KafkaConsumer(
            **connection(settings, CONNECT_SECONDS, settings.request_timeout_seconds),
            kafka_client=clients,
            group_id=group,
            isolation_level="read_committed",
            enable_auto_commit=False,
        )

    # The producer first: it ends what a predecessor left open, so that the progress is decided.
    with opened(settings, build_producer, "producer") as producer, opened(settings, build_consumer) as consumer:
        yield Sending(settings, group, producer, consumer)
