"""Where the time of the loop goes: every moment belongs to one stage, so the stages add up to the wall time."""

import time
from collections.abc import Callable
from enum import StrEnum


class Activity(StrEnum):
    """What a worker does, for those who size it: it has nothing to do, it waits for Kafka, or it computes."""

    IDLE = "idle"
    WAITING = "waiting"
    COMPUTING = "computing"


class Stage(StrEnum):
    """What the loop is at."""

    IDLE = "idle"
    POLL = "poll"
    PARSE = "parse"
    CACHE = "cache"
    TOKENISE = "tokenise"
    INFER = "infer"
    SERIALISE = "serialise"
    PUBLISH = "publish"
    PROBE = "probe"
    RETRY = "retry"
    OTHER = "other"

    @property
    def activity(self) -> Activity:
        """What it counts as."""
        if self is Stage.IDLE:
            return Activity.IDLE
        return Activity.WAITING if self in _WAITING else Activity.COMPUTING


_WAITING = (Stage.POLL, Stage.PUBLISH, Stage.PROBE, Stage.RETRY)


class Stopwatch:
    """Divides the time of one thread among stages; each lasts until the next one begins.

    Args:
        clock: seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._stage = Stage.OTHER
        self._began = clock()
        self._lap: dict[Stage, float] = {}

    def begin(self, stage: Stage) -> float:
        """Begin `stage`; returns the seconds of the one that this ends."""
        now = self._clock()
        seconds = now - self._began
        self._add(self._stage, seconds)
        self._stage, self._began = stage, now
        return seconds

    def move(self, seconds: float, source: Stage, target: Stage) -> None:
        """Count `seconds` of the current lap that `source` has as those of `target`: known only afterwards."""
        seconds = min(seconds, self._lap.get(source, 0.0))
        self._add(source, -seconds)
        self._add(target, seconds)

    def lap(self) -> dict[Stage, float]:
        """Seconds of each stage that had any since the last call; the current stage goes on."""
        self.begin(self._stage)
        lap, self._lap = self._lap, {}
        return {stage: seconds for stage, seconds in lap.items() if seconds > 0}

    def _add(self, stage: Stage, seconds: float) -> None:
        self._lap[stage] = self._lap.get(stage, 0.0) + seconds
