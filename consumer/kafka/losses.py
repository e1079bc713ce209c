"""Records that the input topic no longer has: deleted by retention, cut off with the end of a log, gone with the topic.

The client reads on somewhere else without reporting it (`consumer.kafka.fixes.losses`). Here it is logged and counted.
If offsets now mean other records, a new lineage begins: the results of the old records say nothing about the new ones.
"""

import logging
from collections.abc import Callable, Iterable
from typing import Any

from kafka import TopicPartition
from kafka.errors import KafkaError

from consumer.kafka.client import reason_of
from consumer.kafka.fixes import losses
from consumer.kafka.lineage import Lineages
from consumer.settings import WorkerSettings

log = logging.getLogger(__name__)


class Losses:
    """What our partitions have lost. Used by one thread, after each of its polls.

    Args:
        settings: topic, timeouts.
        consumer: the input consumer.
        lineages: begins a new lineage for partitions whose offsets now mean other records.
        alive: called before each request.
    """

    def __init__(self, settings: WorkerSettings, consumer: Any, lineages: Lineages, alive: Callable[[], None]) -> None:
        self._topic = settings.input_topic
        self._request_ms = int(settings.request_timeout_seconds * 1000)
        self._consumer = consumer
        self._lineages = lineages
        self._alive = alive
        self._topic_id: Any = None

    def forget(self) -> None:
        """Discard the client's notes about an assignment that is over."""
        losses.out_of_range(self._consumer)
        losses.cut_off(self._consumer)

    def outdated(self, readable: Iterable[TopicPartition]) -> set[TopicPartition]:
        """Those `readable` partitions whose polled records may not be used; their positions are set right."""
        if self._was_created_again():
            log.error("%s was deleted and created again: labelling it from its beginning", self._topic)
            self.forget()
            for partition in readable:
                self._consumer.seek_to_beginning(partition)
                self._lineages.begin(partition.partition)
            return set(readable)
        ends = losses.cut_off(self._consumer)
        for partition, end in ends.items():
            # Records that came before the client noticed may have moved the position again.
            self._consumer.seek(partition, end)
            self._lineages.begin(partition.partition)
            log.error(
                "partition %s has lost the records from %s on, which were already read; the records that replace them "
                "are labelled as well",
                partition.partition,
                end,
            )
        return set(ends)

    def deleted(self) -> dict[int, int]:
        """How many records of each partition retention deleted before they were read, as found by the last poll."""
        positions = losses.out_of_range(self._consumer)
        for partition in positions:  # before anything that may fail: results of the old records may be ahead
            self._lineages.begin(partition.partition)
        if positions:
            self._alive()
        try:
            starts = self._consumer.beginning_offsets(list(positions), timeout_ms=self._request_ms) if positions else {}
        except KafkaError as error:
            log.error("cannot find out where %s begins: %s", self._topic, reason_of(error))
            starts = {}
        deleted = {}
        for partition, position in positions.items():
            if (start := starts.get(partition)) is None:
                log.error(
                    "partition %s has no record at %s; cannot find out how many are gone", partition.partition, position
                )
            elif start > position:
                deleted[partition.partition] = start - position
            else:
                log.error(
                    "partition %s ends before %s, which was already read: its end was lost, or the topic was created "
                    "again; labelling all of it, some perhaps again",
                    partition.partition,
                    position,
                )
        return deleted

    def _was_created_again(self) -> bool:
        before, now = self._topic_id, losses.topic_id(self._consumer, self._topic)
        self._topic_id = now or before
        return None not in (before, now) and before != now
