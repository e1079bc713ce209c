"""How long a model takes for a text, estimated from what it has computed."""

from collections.abc import Iterable
from dataclasses import dataclass

#: What an earlier call weighs against a later one of the same cost. A call weighs as much as it cost, so a few short
#: texts, which leave cores idle, do not count against a full load; after four calls at another speed, that one is
#: most of the estimate.
_KEPT = 0.6


@dataclass(slots=True)
class Rate:
    """Seconds for a padded token, over recent calls."""

    _seconds: float = 0.0
    _tokens: float = 0.0

    def note(self, tokens: int, seconds: float) -> None:
        """Learn from a call that computed `tokens` in `seconds`."""
        if tokens:
            self._seconds = _KEPT * self._seconds + seconds
            self._tokens = _KEPT * self._tokens + tokens

    def expected(self, tokens: int) -> float:
        """Seconds that `tokens` will take; 0 as long as nothing is known."""
        return tokens * self._seconds / self._tokens if self._tokens else 0.0


def fitting(costs: Iterable[float], room: float) -> int:
    """How many of the first `costs` are at most `room` in all; at least one, if there is one."""
    total = 0.0
    count = 0
    for cost in costs:
        total += cost
        if count and total > room:
            break
        count += 1
    return count
