"""Records that the input topic no longer has: deleted by retention, cut off with the end of a log, gone with the topic.

The client goes on reading somewhere, without a word (`consumer.kafka.fixes`). Here it is told and counted, and where
offsets stand for other records now, a new lineage begins: the results of the old ones say nothing about them.
"""

import logging
from collections.abc import Iterable
from typing import Any

from kafka import TopicPartition
from kafka.errors import KafkaError

from consumer.kafka import fixes
from consumer.kafka.client import reason_of
from consumer.kafka.lineage import Lineages
from consumer.settings import WorkerSettings

log = logging.getLogger(__name__)


class Losses:
    """What was lost of the partitions that are ours. Used by one thread, after each of its polls.

    Args:
        settings: topic, timeouts.
        consumer: the input consumer.
        lineages: told where offsets stand for other records from now on.
    """

    def __init__(self, settings: WorkerSettings, consumer: Any, lineages: Lineages) -> None:
        self._topic = settings.input_topic
        self._request_ms = int(settings.request_timeout_seconds * 1000)
        self._consumer = consumer
        self._lineages = lineages
        self._topic_id: Any = None

    def forget(self) -> None:
        """What the client noted of an assignment that is over is not ours, and perhaps not where we begin."""
        fixes.out_of_range(self._consumer)
        fixes.cut_off(self._consumer)

    def outdated(self, readable: Iterable[TopicPartition]) -> set[TopicPartition]:
        """Those `readable` partitions of which nothing that was polled may be used; reading goes on where it must."""
        if self._is_made_anew():
            log.error("%s was deleted and made anew: all that it has is labelled", self._topic)
            self.forget()
            for partition in readable:
                self._consumer.seek_to_beginning(partition)
                self._lineages.begin(partition.partition)
            return set(readable)
        ends = fixes.cut_off(self._consumer)
        for partition, end in ends.items():
            # Records that came before the client knew may have moved the position again.
            self._consumer.seek(partition, end)
            self._lineages.begin(partition.partition)
            log.error(
                "partition %s has lost the records from %s on, which were read already; what takes their place is "
                "labelled as well",
                partition.partition,
                end,
            )
        return set(ends)

    def deleted(self) -> dict[int, int]:
        """Records of each partition that retention deleted before they were read, as the last poll came upon them."""
        positions = fixes.out_of_range(self._consumer)
        for partition in positions:  # before anything that may fail: results of what was there may be ahead
            self._lineages.begin(partition.partition)
        try:
            starts = self._consumer.beginning_offsets(list(positions), timeout_ms=self._request_ms) if positions else {}
        except KafkaError as error:
            log.error("where %s begins is not known now: %s", self._topic, reason_of(error))
            starts = {}
        deleted = {}
        for partition, position in positions.items():
            if (start := starts.get(partition)) is None:
                log.error(
                    "partition %s has no records at %s; how many are gone is not known", partition.partition, position
                )
            elif start > position:
                deleted[partition.partition] = start - position
            else:
                log.error(
                    "partition %s ends before %s, which was read already: its end was lost, or the topic was made "
                    "anew; all of it is labelled, again if need be",
                    partition.partition,
                    position,
                )
        return deleted

    def _is_made_anew(self) -> bool:
        before, now = self._topic_id, fixes.topic_id(self._consumer, self._topic)
        self._topic_id = now or before
        return None not in (before, now) and before != now
