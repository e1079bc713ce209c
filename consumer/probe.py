"""Asks brokers how far there is to go; notices if none answers, or if a partition is no longer read."""

import logging
import time
from collections.abc import Mapping

from consumer.errors import GaveUp
from consumer.records.poll import Channel
from consumer.records.progress import Progress
from consumer.service.health import Health
from consumer.service.metrics import Metrics
from consumer.settings import WorkerSettings
from consumer.settings.times import PROBE_SECONDS
from consumer.stall import StallDetector

log = logging.getLogger(__name__)


class Probe:
    """Asks every `PROBE_SECONDS`, between two polls.

    Args:
        settings: timeouts.
        broker: is asked.
        metrics: get the lag.
        health: learns whether brokers answer.
    """

    def __init__(self, settings: WorkerSettings, broker: Channel, metrics: Metrics, health: Health) -> None:
        self._settings = settings
        self._broker = broker
        self._metrics = metrics
        self._health = health
        self._stall = StallDetector(settings.stall_timeout_seconds)
        self._answered = self._asked = time.monotonic()

    @property
    def is_due(self) -> bool:
        """Whether the last one is long enough ago."""
        return time.monotonic() - self._asked >= PROBE_SECONDS

    def answered(self) -> None:
        """A broker has answered: something was committed."""
        self._answered = time.monotonic()
        self._health.answered(None)

    def ask(self, moves: bool = True) -> None:
        """Ask how far there is to go. Look for a stall only if it `moves`: the last poll was published.

        Raises:
            GaveUp: no broker has answered for too long, or a partition is no longer read.
        """
        now = time.monotonic()
        progress = self._broker.progress(min(PROBE_SECONDS, self._settings.watchdog_seconds / 2))
        if progress is not None:
            self._answered = now
            self._health.answered(self._broker.obstacle)
            self._metrics.note_lag(progress)
            if moves:
                self._look_for_stall(progress, now)
        elif (silent := time.monotonic() - self._answered) >= self._settings.broker_timeout_seconds:
            raise GaveUp(f"no broker has answered for {silent:.0f} s; restart the worker when Kafka is back")
        elif self._health.unanswered(self._settings.bootstrap_servers):
            log.warning("%s; waiting for it", self._health.readiness.reason)
        self._asked = time.monotonic()

    def _look_for_stall(self, progress: Mapping[int, Progress], now: float) -> None:
        if (stalled := self._stall.stalled(progress, now, self._broker.turns)) is not None:
            seconds = f"{self._settings.stall_timeout_seconds:g} s"
            if progress[stalled].position is None:
                raise GaveUp(
                    f"the committed offset of partition {stalled} has not been known for {seconds}; perhaps a "
                    "transaction does not end, see docs/runbook.md"
                )
            raise GaveUp(
                f"partition {stalled} has not moved for {seconds} although it has records to read; restart the worker"
            )
