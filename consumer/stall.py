"""Notices a partition that is no longer read: kafka-python 3.0.7 stopped fetching some after a rebalance, silently."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a partition is read, None if that is not known yet, and where it ends for a reader of committed records."""

    position: int | None
    end: int

    @property
    def lag(self) -> int | None:
        """Records that wait behind the position, transaction markers included."""
        return None if self.position is None else max(0, self.end - self.position)


class StallDetector:
    """Finds the partition whose position stands still although records wait.

    Args:
        seconds: for how long.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._since: dict[int, tuple[int | None, float]] = {}

    def stalled(self, seen: Mapping[int, Progress], now: float) -> int | None:
        """A partition that has not moved since `seconds` before `now` (monotonic), or None."""
        since: dict[int, tuple[int | None, float]] = {}
        for partition, progress in seen.items():
            position, start = self._since.get(partition, (None, now))
            if progress.lag != 0:
                has_stood = partition in self._since and position == progress.position
                since[partition] = (progress.position, start if has_stood else now)
        self._since = since
        return next((partition for partition, (_, start) in since.items() if now - start >= self._seconds), None)
