"""Sends dead letters to the input topic: records and progress in one transaction, by the publisher of the worker.

A worker reads reviews and commits results with its offsets. A replay is the same the other way round: it reads dead
letters and commits records of the input topic with offsets of the dead-letter topic, in a group of its own. Fences,
retries and the order of a commit are those of `consumer.kafka.publisher`, and so are the tests behind them.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Self

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import AuthorizationError, KafkaError, ProducerFencedError
from kafka.structs import ConsumerGroupMetadata

from consumer.errors import GaveUp, KafkaUnusable
from consumer.kafka.client import Clients, connection, new_producer, reason_of
from consumer.kafka.publisher import Publisher
from consumer.kafka.tools.opening import opened
from consumer.records.events import IGNORED
from consumer.records.outgoing import Outgoing
from consumer.records.poll import NotPublished, Poll, Span
from consumer.settings import Delivery, WorkerSettings
from consumer.settings.times import CONNECT_SECONDS

#: Attempts to commit the same records, with 0.1 s, 0.2 s, 0.4 s and so on between them.
ATTEMPTS = 6


@dataclass(frozen=True, slots=True)
class Progress:
    """What a replay has committed for a partition of the dead-letter topic.

    Attributes:
        offset: after the last dead letter that was looked at.
        metadata: what was sent of those before it.
    """

    offset: int = 0
    metadata: str = ""


class Replay:
    """Commits records of the input topic together with the progress. Used by one thread.

    Only the newest of two replays of a topic goes on: its transactional id fences the other.

    Args:
        settings: topics, group, timeouts.
        alive: called while results are on their way; see `consumer.service.watchdog`.
    """

    def __init__(self, settings: WorkerSettings, alive: Callable[[], None]) -> None:
        # No instance id of a worker contains a colon, so none has this transactional id. Kafka's rights for the
        # transactional ids of a group cover it.
        self._settings = settings.model_copy(
            update={
                "instance_id": f"replay:{settings.dead_letter_topic}",
                "input_topic": settings.dead_letter_topic,
                "output_topic": settings.input_topic,
                "delivery": Delivery.EXACTLY_ONCE,
            }
        )
        self._group = progress_group(settings)
        self._marks = _Marks()
        self._alive = alive
        self._closing = ExitStack()

    def open(self, input_partitions: int) -> Self:
        """Take over the transactional id: this ends an open transaction of an earlier replay.

        Raises:
            KafkaUnusable: no broker answers, or a right is missing.
        """
        producer = self._closing.enter_context(opened(self._settings, new_producer, "producer"))
        outlet = _Outlet(producer, self._marks, {self._settings.output_topic: input_partitions})
        self._publisher = Publisher(self._settings, outlet, lambda _: None, self._alive, IGNORED)
        return self

    def commit(self, partition: int, progress: Progress, records: Sequence[Outgoing]) -> None:
        """Send `records` and commit `progress` for this partition of the dead-letter topic: both or neither.

        Raises:
            GaveUp: nothing of it is visible, or it is not known; the next replay resumes correctly either way.
        """
        self._marks.text = progress.metadata
        group = ConsumerGroupMetadata(self._group, -1, "", None)
        poll = Poll(records=(), spans=(Span(partition, 0, progress.offset),), in_group=True, group=group)
        for attempt in range(1, ATTEMPTS + 1):
            self._alive()
            try:
                self._publisher.publish(poll, records)
            except NotPublished as error:
                if attempt == ATTEMPTS:
                    raise GaveUp(f"not sent ({error}); correct that, and run the command again") from error
                time.sleep(0.05 * 2**attempt)
            except GaveUp as error:
                if isinstance(error.__cause__, ProducerFencedError):
                    raise GaveUp(
                        "another replay of this topic has started, and this one has ended; what it had sent is kept"
                    ) from error
                raise
            else:
                return

    def close(self) -> None:
        """Close the producer."""
        self._closing.close()


@contextmanager
def progress_reader(settings: WorkerSettings) -> Iterator[Callable[[int], Progress]]:
    """A function that returns the progress that is committed for a partition of the dead-letter topic.

    Raises:
        KafkaUnusable: no broker answers, or the user may not read the group; the function raises it as well.
    """
    group, topic = progress_group(settings), settings.dead_letter_topic
    timeout_ms = int((settings.transaction_timeout_seconds + settings.request_timeout_seconds) * 1000)

    def build(settings: WorkerSettings, clients: Clients) -> Any:
        return KafkaConsumer(
            **connection(settings, CONNECT_SECONDS, settings.request_timeout_seconds),
            kafka_client=clients,
            group_id=group,
            isolation_level="read_committed",  # an open transaction of an earlier replay is waited for
            enable_auto_commit=False,
        )

    with opened(settings, build) as consumer:

        def progress(partition: int) -> Progress:
            try:
                commit = consumer.committed(TopicPartition(topic, partition), metadata=True, timeout_ms=timeout_ms)
            except AuthorizationError as error:
                raise KafkaUnusable(
                    f"{reason_of(error)}; this user needs the right Read for the group {group}"
                ) from error
            except KafkaError as error:
                raise GaveUp(f"the progress of group {group} is not known ({reason_of(error)}); try again") from error
            return Progress() if commit is None else Progress(commit.offset, commit.metadata or "")

        yield progress


def progress_group(settings: WorkerSettings) -> str:
    """The group that holds the progress of replays."""
    return f"{settings.group_id}.replay"


class _Marks:
    """Marks the offsets with the progress, and the records with nothing: they look as they did at first."""

    def __init__(self) -> None:
        self.text = ""

    def headers(self, _partition: int, /) -> list[tuple[str, bytes]]:
        return []

    def metadata(self, _partition: int, _offset: int, /) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class _Outlet:
    producer: Any
    lineages: _Marks
    partitions: dict[str, int]
    consumer: None = None
