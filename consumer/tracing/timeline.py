"""A stopwatch that also notes when each stage began and ended."""

import time
from collections.abc import Callable
from typing import NamedTuple

from consumer.service.stopwatch import Stage, Stopwatch


class Interval(NamedTuple):
    """A stage from `began` to `ended`, in nanoseconds since 1970."""

    stage: Stage
    began: int
    ended: int


class Timeline(Stopwatch):
    """Notes the stages of a poll from `start` to `take`; at other times it is a stopwatch and nothing more.

    Args:
        clock: seconds.
        epoch: nanoseconds since 1970; asked once for each poll, so that no stage ends before it began.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter, epoch: Callable[[], int] = time.time_ns) -> None:
        super().__init__(clock)
        self._epoch = epoch
        self._noted: list[tuple[Stage, float, float]] | None = None
        self._zero = 0

    def begin(self, stage: Stage) -> float:
        """See `Stopwatch`."""
        ended, began = self._stage, self._began
        seconds = super().begin(stage)
        if self._noted is not None:
            self._noted.append((ended, began, self._began))
        return seconds

    def move(self, seconds: float, source: Stage, target: Stage) -> None:
        """See `Stopwatch`. What is moved becomes the beginning of the latest interval of `source`."""
        super().move(seconds, source, target)
        noted = self._noted or []
        for place in reversed(range(len(noted))):
            stage, began, ended = noted[place]
            if stage is source:
                between = min(ended, began + max(0.0, seconds))
                noted[place : place + 1] = [(target, began, between), (source, between, ended)]
                return

    def start(self) -> int:
        """Note stages from now on; returns the current time in nanoseconds since 1970."""
        self._noted = None
        self.begin(self._stage)
        self._noted = []
        now = self._epoch()
        self._zero = now - round(self._began * 1e9)
        return now

    def take(self) -> tuple[list[Interval], int]:
        """The stages since `start`, without those that took no time, and the current time; stops noting them."""
        self.begin(self._stage)
        noted, self._noted = self._noted or [], None
        return [
            Interval(stage, self._time(began), self._time(ended)) for stage, began, ended in noted if began < ended
        ], self._time(self._began)

    def _time(self, seconds: float) -> int:
        return self._zero + round(seconds * 1e9)
