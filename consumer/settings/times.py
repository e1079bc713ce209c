"""Every time that a worker keeps. Times that contradict each other are refused here, or derived from each other."""

from collections.abc import Iterator
from typing import Self

from pydantic import Field, model_validator

from consumer.settings.topics import TopicSettings

#: One attempt to reach the cluster; several fit into the start timeout, so that a wrong password is reported at once.
CONNECT_SECONDS = 5.0
#: A busy or idle worker asks the broker for the ends of its partitions this often, and waits that long for the answer.
PROBE_SECONDS = 5.0
#: A worker sends a heartbeat at least this often.
HEARTBEAT_SECONDS = 1.0
#: The producer collects records for this long before it sends a batch.
LINGER_SECONDS = 0.005


class TimeSettings(TopicSettings):
    """Times, in seconds."""

    poll_target_seconds: float = Field(
        2.0,
        gt=0,
        le=60,
        description="how long the model may take for the records of one poll; the worker adapts the number of records "
        "to it, and if they cost more, publishes what fits and reads the others again",
    )
    start_timeout_seconds: float = Field(
        60, gt=0, le=3600, description="exit with code 4 if Kafka or a topic is not there after this time"
    )
    session_timeout_seconds: float = Field(
        10,
        ge=1,
        le=1800,
        description="the group gives a worker's partitions to others if it sends no heartbeat for this long",
    )
    max_poll_interval_seconds: float = Field(
        300,
        ge=1,
        le=86_400,
        description="longest time between two polls; a worker that takes longer leaves the group, and its results "
        "are rejected. Half of it is for the delivery of results",
    )
    request_timeout_seconds: float = Field(
        30, ge=1, le=500, description="how long to wait for the response to one request before it is retried"
    )
    transaction_timeout_seconds: float = Field(
        40,
        ge=1,
        le=900,
        description="the broker aborts a transaction that is open for this long; after a crash, partitions wait for it",
    )
    broker_timeout_seconds: float = Field(
        300, ge=2 * PROBE_SECONDS, le=86_400, description="exit with code 5 if no broker answers for this long"
    )
    watchdog_seconds: float = Field(
        180,
        ge=1,
        le=86_400,
        description="dump the stacks of all threads and exit with code 5 if the loop makes no progress for this long; "
        "/live fails after the same time",
    )
    stall_timeout_seconds: float = Field(
        300,
        ge=1,
        le=86_400,
        description="exit with code 5 if records wait in a partition and its position has not moved for this long",
    )
    metadata_max_age_seconds: float = Field(
        60, ge=1, le=86_400, description="new partitions and new leaders are noticed within this time"
    )
    stop_timeout_seconds: float = Field(
        15,
        ge=1,
        le=600,
        description="how long leaving the group may take on SIGTERM, after the current poll is committed",
    )

    @property
    def heartbeat_seconds(self) -> float:
        """How often the worker sends a heartbeat. Derived: often enough for the session, and each `HEARTBEAT_SECONDS`.

        Workers learn of a rebalance by the answer to their next heartbeat, so partitions are idle for that long.
        """
        return min(self.session_timeout_seconds / 3, HEARTBEAT_SECONDS)

    @property
    def delivery_timeout_seconds(self) -> float:
        """How long the brokers may take to acknowledge the results of a poll, in seconds.

        Derived: half of the poll interval, which the worker keeps then; but a worker gives up on silent brokers after
        `broker_timeout_seconds`, or after one request if that takes longer. The watchdog is no limit, because waiting
        for acknowledgements shows signs of life; waiting for a single response does not.
        """
        patience = max(self.broker_timeout_seconds, self.request_timeout_seconds + 1)
        return min(self.max_poll_interval_seconds / 2, patience)

    @model_validator(mode="after")
    def _times_fit(self) -> Self:
        if contradictions := list(self._contradictions()):
            raise ValueError("; ".join(contradictions))
        return self

    def _contradictions(self) -> Iterator[str]:
        """One line, with the fix, for each pair of times that cannot work together."""
        interval, watchdog = self.max_poll_interval_seconds, self.watchdog_seconds
        if (
            self.poll_target_seconds > interval / 5
        ):  # one long review on a slow processor may take several times as long
            yield (
                f"poll_target_seconds ({self.poll_target_seconds:g}) must be at most a fifth of "
                f"max_poll_interval_seconds ({interval:g})"
            )
        if self.session_timeout_seconds > interval:
            yield (
                f"session_timeout_seconds ({self.session_timeout_seconds:g}) must be at most "
                f"max_poll_interval_seconds ({interval:g})"
            )
        if self.request_timeout_seconds > interval / 2 - LINGER_SECONDS:
            # The client refuses this too, without saying which settings it comes from.
            yield (
                f"request_timeout_seconds ({self.request_timeout_seconds:g}) must be below half of "
                f"max_poll_interval_seconds ({interval:g}), in which results must be delivered"
            )
        if watchdog < 2 * self.poll_target_seconds:
            yield (
                f"watchdog_seconds ({watchdog:g}) must be at least twice poll_target_seconds "
                f"({self.poll_target_seconds:g})"
            )
        if watchdog < self.request_timeout_seconds + CONNECT_SECONDS:
            yield (
                f"watchdog_seconds ({watchdog:g}) must be at least request_timeout_seconds "
                f"({self.request_timeout_seconds:g}) + {CONNECT_SECONDS:g}, the longest wait for one response"
            )
        if watchdog <= self.stop_timeout_seconds:
            yield (
                f"watchdog_seconds ({watchdog:g}) must be above stop_timeout_seconds ({self.stop_timeout_seconds:g})"
            )
        if not self.is_exactly_once:
            return
        if self.transaction_timeout_seconds >= interval:
            yield (
                f"transaction_timeout_seconds ({self.transaction_timeout_seconds:g}) must be below "
                f"max_poll_interval_seconds ({interval:g})"
            )
        if self.stall_timeout_seconds <= self.transaction_timeout_seconds:
            # A partition waits that long for the open transaction of a worker that was killed.
            yield (
                f"stall_timeout_seconds ({self.stall_timeout_seconds:g}) must be above transaction_timeout_seconds "
                f"({self.transaction_timeout_seconds:g})"
            )
