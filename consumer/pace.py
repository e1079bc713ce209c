"""How much to take at once: never wait when idle, fill when busy, and stay within a target time."""

from dataclasses import dataclass, field


@dataclass(slots=True)
class Pace:
    """How many records the next poll may bring, so that its inference takes about `target_seconds`."""

    target_seconds: float
    most: int
    records: int = 32
    _rate: float = field(default=0.0)

    def __post_init__(self) -> None:
        self.records = min(self.records, self.most)

    def note(self, records: int, seconds: float) -> None:
        """Learn from a poll of `records` that took `seconds`; recent polls weigh more."""
        rate = records / max(seconds, 1e-6)
        self._rate = rate if not self._rate else 0.7 * self._rate + 0.3 * rate
        # At most doubled each time, so that one lucky poll of short reviews is not followed by a huge one of long ones.
        self.records = max(1, min(self.most, self.records * 2, int(self._rate * self.target_seconds)))
