"""One poll of the client: what it returns, what its errors mean, and how long there was nothing to read."""

import logging
import time
from collections.abc import Sequence
from typing import Any

from kafka import TopicPartition
from kafka.errors import (
    AuthorizationError,
    FencedInstanceIdError,
    GroupMaxSizeReachedError,
    InconsistentGroupProtocolError,
    InvalidGroupIdError,
    InvalidSessionTimeoutError,
    RetriableError,
)
from kafka.structs import MemberState

from consumer.errors import GaveUp, KafkaUnusable
from consumer.kafka.client import reason_of
from consumer.kafka.fixes import positions
from consumer.records.poll import Span
from consumer.settings import WorkerSettings

log = logging.getLogger(__name__)

#: Errors of the group, or about the topic, that another attempt does not change.
REFUSALS = (
    AuthorizationError,
    FencedInstanceIdError,
    GroupMaxSizeReachedError,
    InconsistentGroupProtocolError,
    InvalidGroupIdError,
    InvalidSessionTimeoutError,
)


class Reading:
    """Polls the input consumer. Used by one thread.

    Args:
        settings: topic, group.
        consumer: the input consumer.

    Attributes:
        idle_turns: partitions that could have been read in polls that returned nothing, counting repeats.
        idle_seconds: how long the last poll waited although there was nothing to read.
    """

    def __init__(self, settings: WorkerSettings, consumer: Any) -> None:
        self.idle_turns = 0
        self.idle_seconds = 0.0
        self._settings = settings
        self._consumer = consumer
        self._epochs: dict[TopicPartition, int] = {}

    def poll(
        self, max_records: int, timeout_seconds: float, readable: set[TopicPartition]
    ) -> dict[TopicPartition, list[Any]]:
        """Return what is there, or comes in time.

        Raises:
            KafkaUnusable, GaveUp: as `Broker.poll`.
        """
        ours = self._consumer.assignment() & readable
        before = {place: positions.position(self._consumer, place) for place in ours}
        self._epochs = {place: where.leader_epoch for place, where in before.items() if where is not None}
        is_idle = self._has_nothing_to_read()
        started = time.monotonic()
        polled = self._polled(max_records, timeout_seconds)
        self.idle_seconds = time.monotonic() - started if is_idle else 0.0
        if not polled:  # everything fetched was handed out, and there was time to fetch more of any partition
            self.idle_turns += max(1, len(self._consumer.assignment()))
        return polled

    def span(self, partition: TopicPartition, messages: Sequence[Any]) -> Span:
        """The span of what the last poll returned of `partition`."""
        last = messages[-1]
        return Span(
            partition.partition,
            messages[0].offset,
            last.offset + 1,
            last.leader_epoch,
            self._epochs.get(partition, -1),
        )

    def _has_nothing_to_read(self) -> bool:
        """Whether brokers have nothing for us: no partition is ours, or all of ours are read to their end."""
        in_group = self._consumer.group_metadata().state == MemberState.STABLE
        return in_group and positions.are_at_their_ends(self._consumer)

    def _polled(self, max_records: int, timeout_seconds: float) -> dict[TopicPartition, list[Any]]:
        try:
            polled: dict[TopicPartition, list[Any]] = self._consumer.poll(
                timeout_ms=int(timeout_seconds * 1000), max_records=max_records
            )
        except RetriableError as error:
            # No broker could be reached while joining the group. The loop probes for one, and gives up in time.
            log.warning("poll failed: %s", reason_of(error))
            time.sleep(timeout_seconds)
            return {}
        except REFUSALS as error:
            what = f"the group {self._settings.group_id} or the topic {self._settings.input_topic} is refused"
            kind = GaveUp if positions.times_assigned(self._consumer) else KafkaUnusable
            raise kind(f"{what}: {reason_of(error)}; see docs/runbook.md") from error
        except Exception as error:  # the client raises what its decoders raise
            raise GaveUp(
                f"cannot read {self._settings.input_topic}: {reason_of(error)}; "
                "nothing was skipped, see docs/runbook.md"
            ) from error
        return polled
