"""Notices a partition that is no longer read: kafka-python 3.0.7 stopped fetching some after a rebalance, silently."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a partition is read, and where it ends for a reader of committed records; both offsets."""

    position: int
    end: int

    @property
    def lag(self) -> int:
        """Records that wait behind the position, transaction markers included."""
        return max(0, self.end - self.position)


class StallDetector:
    """Finds the partition whose position stands still although records wait.

    Args:
        seconds: for how long.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._since: dict[int, tuple[int, float]] = {}

    def stalled(self, seen: Mapping[int, Progress], now: float) -> int | None:
        """A partition that has not moved since `seconds` before `now` (monotonic), or None."""
        since = {}
        for partition, progress in seen.items():
            position, start = self._since.get(partition, (None, now))
            if progress.lag:
                since[partition] = (progress.position, start if position == progress.position else now)
        self._since = since
        return next((partition for partition, (_, start) in since.items() if now - start >= self._seconds), None)
