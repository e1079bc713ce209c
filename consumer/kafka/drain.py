"""When a drain is over: the group has committed what every partition held at the start."""

import logging
import time
from collections.abc import Callable
from typing import Any

from kafka import TopicPartition
from kafka.errors import KafkaError, RetriableError, UnstableOffsetCommitError
from kafka.structs import OffsetAndMetadata

from consumer.errors import KafkaUnusable
from consumer.kafka.client import reason_of
from consumer.kafka.fixes import positions
from consumer.settings import WorkerSettings

log = logging.getLogger(__name__)

#: Wait between two requests for committed offsets while their coordinator is away.
RETRY_SECONDS = 0.1


class Drain:
    """The partitions of the input topic that held records at the start and are not done yet.

    Args:
        settings: topic, group, timeouts.
        consumer: the input consumer.
        partitions: number of partitions of the input topic.
        alive: called before each request.

    Attributes:
        undone: the end at the start of each partition whose records are not all committed.

    Raises:
        KafkaUnusable: the ends, or the offsets of the group, cannot be found out.
    """

    def __init__(
        self, settings: WorkerSettings, consumer: Any, partitions: int, alive: Callable[[], None] = lambda: None
    ) -> None:
        self._settings = settings
        self._consumer = consumer
        self._alive = alive
        topic = settings.input_topic
        every = [TopicPartition(topic, number) for number in range(partitions)]
        # Before the ends: other workers may reach and commit those in the meantime.
        commits = {partition: self._committed(partition) for partition in every}
        try:
            alive()
            ends = consumer.end_offsets(every, timeout_ms=self._request_ms)
            alive()
            starts = consumer.beginning_offsets(every, timeout_ms=self._request_ms)
        except KafkaError as error:
            raise KafkaUnusable(f"cannot find out where {topic} ends: {reason_of(error)}") from error
        if unknown := [each.partition for each in every if each not in ends or each not in starts]:
            raise KafkaUnusable(f"cannot find out where partition {unknown[0]} of {topic} ends: it has no leader now")
        self.undone = {partition: end for partition, end in ends.items() if end > starts[partition]}
        # These commits are beyond the end: their records are lost, and the ones there now are not done.
        self._beyond = {
            partition: commit for partition, commit in commits.items() if commit and commit.offset > ends[partition]
        }

    def is_over(self) -> bool:
        """Whether everything is committed; asks the broker."""
        try:
            self.undone = {
                partition: end for partition, end in self.undone.items() if not self._is_done(partition, end)
            }
        except KafkaError as error:
            log.warning("cannot find out whether the drain is over: %s", reason_of(error))
            return False
        return not self.undone

    @property
    def _request_ms(self) -> int:
        return int(self._settings.request_timeout_seconds * 1000)

    def _is_done(self, partition: TopicPartition, end: int) -> bool:
        self._alive()
        commit = self._consumer.committed(partition, metadata=True, timeout_ms=self._request_ms)
        return commit is not None and commit.offset >= end and commit != self._beyond.get(partition)

    def _committed(self, partition: TopicPartition) -> OffsetAndMetadata | None:
        """The committed offset; None if there is none, or if a transaction still decides it."""
        deadline = time.monotonic() + self._settings.request_timeout_seconds
        while True:
            self._alive()
            try:
                return positions.committed_now(self._consumer, partition, self._settings.request_timeout_seconds)
            except UnstableOffsetCommitError:
                return None
            except KafkaError as error:
                if not isinstance(error, RetriableError) or time.monotonic() > deadline:
                    raise KafkaUnusable(
                        f"cannot get the committed offsets of the group {self._settings.group_id}: {reason_of(error)}"
                    ) from error
                time.sleep(RETRY_SECONDS)
