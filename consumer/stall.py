"""Detects a partition that is no longer read: after a rebalance, kafka-python 3.0.7 silently stopped fetching some.

A partition that waits its turn is not stalled. The client hands out everything it fetched of one partition before the
next, and fetches again when nothing is left. With many full partitions one round may take minutes, so both time and the
number of turns count.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from consumer.records.progress import Progress

#: A partition that had no turn in so many rounds is not being read. One round is not enough: the request may have been
#: sent before the records came.
ROUNDS = 3


class StallDetector:
    """Finds a partition whose position does not move although it has records to read.

    Args:
        seconds: how long that may last.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._since: dict[int, _Standstill] = {}

    def stalled(self, seen: Mapping[int, Progress], now: float, turns: int) -> int | None:
        """Return a partition that has not moved for `seconds` and for `ROUNDS`, or None.

        A partition whose position is not known needs no turn; for it, time alone counts.

        Args:
            seen: progress of each partition of ours.
            now: monotonic time.
            turns: how many partitions could have been read so far, counting repeats.
        """
        since: dict[int, _Standstill] = {}
        for partition, progress in seen.items():
            before = self._since.get(partition)
            if progress.lag != 0:
                is_same = before is not None and before.position == progress.position
                since[partition] = before if before and is_same else _Standstill(progress.position, now, turns)
        self._since = since
        stalled = (
            partition
            for partition, stand in since.items()
            if now - stand.start >= self._seconds
            and (stand.position is None or turns - stand.turns >= ROUNDS * len(seen))
        )
        return next(stalled, None)


@dataclass(frozen=True, slots=True)
class _Standstill:
    """A position, since when a partition has had it (monotonic), and the number of turns by then."""

    position: int | None
    start: float
    turns: int
