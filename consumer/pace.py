"""How many records to poll at once: small polls when idle, full ones when busy, within a target time."""

from dataclasses import dataclass, field


@dataclass(slots=True)
class Pace:
    """Guesses how many records take about `target_seconds`. A poll that costs more is cut when its cost is known.

    Args:
        target_seconds: that time.
        most: records of one poll at most.

    Attributes:
        records: for the next poll.
    """

    target_seconds: float
    most: int
    records: int = 32
    _seconds: float = field(default=0.0)  # for each review

    def __post_init__(self) -> None:
        self.records = min(self.records, self.most)

    def note(self, reviews: int, seconds: float) -> None:
        """Adjust to a poll whose `reviews` took `seconds`; recent polls weigh more.

        A poll without any says nothing: the records of the next one may all be reviews.
        """
        if not reviews:
            return
        # The mean of times, not of rates: in a mean of rates, fast polls would hide a slow one for many polls.
        taken = max(seconds, 1e-6) / reviews
        self._seconds = 0.7 * self._seconds + 0.3 * taken if self._seconds else taken
        # At most doubled each time, so that a poll of short reviews is not followed by a huge one of long reviews.
        self.records = max(1, min(self.most, self.records * 2, int(self.target_seconds / self._seconds)))

    def note_cut(self, records: int) -> None:
        """Adjust to a poll of which only so many `records` fitted: what is read twice is fetched twice."""
        self.records = max(1, min(self.records, records))
