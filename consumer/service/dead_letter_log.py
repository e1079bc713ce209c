"""One log line a minute for dead letters: how many, why, and where the last one is. Never content."""

import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence

from consumer.records.fault import Detail, Fault, Reason
from consumer.records.outcomes import Outcome
from consumer.records.record import Record

log = logging.getLogger(__name__)

#: Between two lines, at least.
SUMMARY_SECONDS = 60.0


class DeadLetterLog:
    """Counts committed dead letters until a line is due. The first one is logged at once. Used by one thread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._due = clock()
        self._counts: Counter[tuple[Reason, Detail | None]] = Counter()
        self._last: Record | None = None

    def note(self, outcomes: Sequence[Outcome]) -> None:
        """Count the dead letters among the outcomes of a committed poll."""
        for outcome in outcomes:
            if isinstance(outcome.result, Fault):
                self._counts[outcome.result.reason, outcome.result.detail] += 1
                self._last = outcome.source

    def write_if_due(self) -> None:
        """Log what was counted, unless the last line is too recent."""
        if self._counts and self._clock() >= self._due:
            self.write()

    def write(self) -> None:
        """Log what was counted since the last line; nothing if there is nothing."""
        if self._last is None:
            return
        total = self._counts.total()
        causes = ", ".join(
            f"{count} {reason}{f' ({detail})' if detail else ''}"
            for (reason, detail), count in self._counts.most_common()
        )
        log.warning(
            "%s dead letter%s: %s; the last one is partition %s, offset %s",
            total,
            "" if total == 1 else "s",
            causes,
            self._last.partition,
            self._last.offset,
        )
        self._counts.clear()
        self._last = None
        self._due = self._clock() + SUMMARY_SECONDS
