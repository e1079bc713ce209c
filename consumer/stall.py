"""Notices a partition that is no longer read: kafka-python 3.0.7 stopped fetching some after a rebalance, silently.

Not one that waits for its turn. What the client has fetched of one partition it hands out before it comes to the next,
and it fetches again when all of it is handed out: with many partitions full of reviews one round may take minutes.
"""

from collections.abc import Mapping
from dataclasses import dataclass

#: A partition that is not in any of so many rounds is not read: one may have been asked for before its records came.
ROUNDS = 3


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
        self._since: dict[int, _Stand] = {}

    def stalled(self, seen: Mapping[int, Progress], now: float, rounds: int) -> int | None:
        """A partition that has not moved since `seconds` before `now` (monotonic) and for `ROUNDS`, or None.

        `rounds` counts how often the client has fetched so far.
        """
        since: dict[int, _Stand] = {}
        for partition, progress in seen.items():
            before = self._since.get(partition)
            if progress.lag != 0:
                has_stood = before is not None and before.position == progress.position
                since[partition] = before if before and has_stood else _Stand(progress.position, now, rounds)
        self._since = since
        stalled = (
            partition
            for partition, stand in since.items()
            if now - stand.start >= self._seconds and rounds - stand.rounds >= ROUNDS
        )
        return next(stalled, None)


@dataclass(frozen=True, slots=True)
class _Stand:
    """Where a partition stands, since when (monotonic), and how often the client had fetched by then."""

    position: int | None
    start: float
    rounds: int
