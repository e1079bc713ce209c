"""How much to take at once: never wait when idle, fill when busy, and stay within a target time."""

from dataclasses import dataclass, field


@dataclass(slots=True)
class Pace:
    """How many records the next poll may bring, so that its inference takes about `target_seconds`."""

    target_seconds: float
    most: int
    records: int = 32
    _seconds: float = field(default=0.0)  # per text

    def __post_init__(self) -> None:
        self.records = min(self.records, self.most)

    def note(self, texts: int, seconds: float) -> None:
        """Learn from a poll whose `texts` different ones the model read in `seconds`; recent polls weigh more.

        Nothing is learnt from records that it did not read: the next ones may all be reviews.
        """
        if not texts:
            return
        # The mean of times, not of rates: fast polls would hide a slow one in it for many polls to come.
        taken = max(seconds, 1e-6) / texts
        self._seconds = 0.7 * self._seconds + 0.3 * taken if self._seconds else taken
        # At most doubled each time, so that one lucky poll of short reviews is not followed by a huge one of long ones.
        self.records = max(1, min(self.most, self.records * 2, int(self.target_seconds / self._seconds)))
