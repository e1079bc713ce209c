"""When a drain is over: the group has committed what every partition held at its start."""

import logging
import time
from typing import Any

from kafka import TopicPartition
from kafka.errors import KafkaError, RetriableError, UnstableOffsetCommitError
from kafka.structs import OffsetAndMetadata

from consumer.errors import KafkaUnusable
from consumer.kafka import fixes
from consumer.kafka.client import reason_of
from consumer.settings import WorkerSettings

log = logging.getLogger(__name__)

#: Between two looks at committed offsets while their coordinator is away.
RETRY_SECONDS = 0.1


class Drain:
    """The ends of the partitions of the input topic that hold records now, less those that are done meanwhile.

    Args:
        settings: topic, group, timeouts.
        consumer: the input consumer.
        partitions: of the input topic.

    Attributes:
        undone: the end of each partition whose records are not all committed.

    Raises:
        KafkaUnusable: the ends, or the offsets of the group, are not known.
    """

    def __init__(self, settings: WorkerSettings, consumer: Any, partitions: int) -> None:
        self._settings = settings
        self._consumer = consumer
        topic = settings.input_topic
        every = [TopicPartition(topic, number) for number in range(partitions)]
        # Before the ends, which others may reach and commit meanwhile.
        commits = {partition: self._committed(partition) for partition in every}
        try:
            ends = consumer.end_offsets(every, timeout_ms=self._request_ms)
            starts = consumer.beginning_offsets(every, timeout_ms=self._request_ms)
        except KafkaError as error:
            raise KafkaUnusable(f"the end of {topic} is not known: {reason_of(error)}") from error
        if unknown := [each.partition for each in every if each not in ends or each not in starts]:
            raise KafkaUnusable(f"the end of partition {unknown[0]} of {topic} is not known: it has no leader now")
        self.undone = {partition: end for partition, end in ends.items() if end > starts[partition]}
        # Of these the records that were committed are lost, and what is there is none of them.
        self._beyond = {
            partition: commit for partition, commit in commits.items() if commit and commit.offset > ends[partition]
        }

    def is_over(self) -> bool:
        """Whether all is committed; asks for it."""
        try:
            self.undone = {
                partition: end for partition, end in self.undone.items() if not self._is_done(partition, end)
            }
        except KafkaError as error:
            log.warning("whether all is drained is not known now: %s", reason_of(error))
            return False
        return not self.undone

    @property
    def _request_ms(self) -> int:
        return int(self._settings.request_timeout_seconds * 1000)

    def _is_done(self, partition: TopicPartition, end: int) -> bool:
        commit = self._consumer.committed(partition, metadata=True, timeout_ms=self._request_ms)
        return commit is not None and commit.offset >= end and commit != self._beyond.get(partition)

    def _committed(self, partition: TopicPartition) -> OffsetAndMetadata | None:
        """The committed offset; None: there is none, or a transaction still decides it."""
        deadline = time.monotonic() + self._settings.request_timeout_seconds
        while True:
            try:
                return fixes.committed_now(self._consumer, partition, self._settings.request_timeout_seconds)
            except UnstableOffsetCommitError:
                return None
            except KafkaError as error:
                if not isinstance(error, RetriableError) or time.monotonic() > deadline:
                    raise KafkaUnusable(
                        f"the offsets of the group {self._settings.group_id} are not known: {reason_of(error)}"
                    ) from error
                time.sleep(RETRY_SECONDS)
