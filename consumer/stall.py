"""Notices a partition that is no longer read: kafka-python 3.0.7 stopped fetching some after a rebalance, silently.

Not one that waits for its turn. What the client has fetched of one partition it hands out before it comes to the next,
and it fetches again when all of it is handed out: with many partitions full of reviews one round may take minutes. So
what counts is how many turns partitions have had, as well as time.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from consumer.records.progress import Progress

#: A partition that has had none of so many turns for each partition is not read: one may have been asked for before its
#: records came.
ROUNDS = 3


class StallDetector:
    """Finds the partition whose position stands still although records wait.

    Args:
        seconds: for how long.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._since: dict[int, _Stand] = {}

    def stalled(self, seen: Mapping[int, Progress], now: float, turns: int) -> int | None:
        """A partition that has not moved since `seconds` before `now` (monotonic) and for `ROUNDS`, or None.

        `turns` counts how often partitions could have been read so far. One without a position waits for no turn.
        """
        since: dict[int, _Stand] = {}
        for partition, progress in seen.items():
            before = self._since.get(partition)
            if progress.lag != 0:
                has_stood = before is not None and before.position == progress.position
                since[partition] = before if before and has_stood else _Stand(progress.position, now, turns)
        self._since = since
        stalled = (
            partition
            for partition, stand in since.items()
            if now - stand.start >= self._seconds
            and (stand.position is None or turns - stand.turns >= ROUNDS * len(seen))
        )
        return next(stalled, None)


@dataclass(frozen=True, slots=True)
class _Stand:
    """Where a partition stands, since when (monotonic), and how many turns there had been by then."""

    position: int | None
    start: float
    turns: int
