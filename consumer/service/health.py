"""Whether the worker is alive and ready, as a type; `consumer.service.server` publishes it."""

import time
from dataclasses import dataclass
from enum import Enum, auto

from consumer.records.poll import Obstacle

#: What /live and /ready return when the watchdog is about to end the process.
STALLED = "the worker loop has stalled"


class State(Enum):
    """Whether reviews are being consumed, and if not, whose turn it is."""

    STARTING = auto()  # the start is not over: bundle, model, Kafka, topics
    BLOCKED = auto()  # brokers answer, and an `Obstacle` keeps the worker from reading
    UNANSWERED = auto()  # no broker answers
    READY = auto()


@dataclass(frozen=True, slots=True)
class Readiness:
    """A state, and one line for people that says why the worker is not ready; empty if it is."""

    state: State
    reason: str


class Health:
    """What the probes return.

        STARTING ──▶ BLOCKED ◀──▶ READY
                        ▲           ▲
                        ▼           ▼
                      UNANSWERED ◀──┘

    Written by the thread of the loop, read by those of the probes.

    Args:
        live_seconds: the loop counts as stalled after so long without `turned`.
    """

    def __init__(self, live_seconds: float) -> None:
        self._live_seconds = live_seconds
        self._last_turn = time.monotonic()
        self.readiness = Readiness(State.STARTING, "starting")

    def turned(self) -> None:
        """Note a sign of life of the loop."""
        self._last_turn = time.monotonic()

    def starting(self, step: str) -> bool:
        """The start has come to `step`, or waits for it; whether that is news."""
        return self._become(Readiness(State.STARTING, step))

    def answered(self, obstacle: Obstacle | None) -> None:
        """A broker answers; the worker reads unless `obstacle` keeps it from reading."""
        self._become(Readiness(State.BLOCKED, obstacle.value) if obstacle else Readiness(State.READY, ""))

    def unanswered(self, servers: str) -> bool:
        """No broker answers; whether that is news."""
        return self._become(Readiness(State.UNANSWERED, f"no answer from {servers}"))

    @property
    def live(self) -> bool:
        """Whether the loop still turns."""
        return time.monotonic() - self._last_turn < self._live_seconds

    @property
    def ready(self) -> bool:
        """Whether reviews are being consumed."""
        return self.live and self.readiness.state is State.READY

    def _become(self, readiness: Readiness) -> bool:
        before, self.readiness = self.readiness, readiness
        return before != readiness
