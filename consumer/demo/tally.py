"""Counts what came out, and checks it against what went in."""

import time
from collections import Counter, deque
from collections.abc import Mapping

import numpy as np

from consumer.demo.traffic import Coordinates, Outcome, Sent

#: The rate shown while running is that of the last seconds.
RATE_WINDOW_SECONDS = 3.0


class Tally:
    """Every outcome so far, by source coordinates, label and reason."""

    def __init__(self) -> None:
        self.labels: Counter[str] = Counter()
        self.reasons: Counter[str] = Counter()
        self._ages: list[float] = []
        self._outcomes: dict[Coordinates, list[Outcome]] = {}
        self._arrivals: deque[float] = deque()
        self._first_sent = self._last_seen = 0.0
        self.agree = self.clear = 0

    def add(self, outcome: Outcome) -> None:
        """Count `outcome`."""
        now = time.time()
        self._outcomes.setdefault(outcome.source, []).append(outcome)
        self._arrivals.append(now)
        self._last_seen = now
        if outcome.reason:
            self.reasons[outcome.reason] += 1
        else:
            self.labels[outcome.label] += 1
        if outcome.sent is not None:
            self._ages.append(outcome.age)
            self._first_sent = min(self._first_sent or now, outcome.sent.time)
            self._compare(outcome, outcome.sent)

    @property
    def count(self) -> int:
        """Outcomes so far."""
        return self.labels.total() + self.reasons.total()

    @property
    def settled(self) -> int:
        """Input records that have an outcome."""
        return len(self._outcomes)

    @property
    def rate_now(self) -> float:
        """Outcomes a second, over the last seconds."""
        since = time.time() - RATE_WINDOW_SECONDS
        while self._arrivals and self._arrivals[0] < since:
            self._arrivals.popleft()
        return len(self._arrivals) / RATE_WINDOW_SECONDS

    @property
    def seconds(self) -> float:
        """From the first record sent to the last outcome read."""
        return self._last_seen - self._first_sent

    def age(self, percentile: float) -> float:
        """Time from producing a record to reading its outcome, seconds."""
        return float(np.percentile(self._ages, percentile)) if self._ages else 0.0

    def problems(self, sent: Mapping[Coordinates, Sent]) -> list[str]:
        """What is not as promised: each input has one outcome, the right one, and dead letters keep their bytes."""
        found = Counter({"without an outcome": len(sent.keys() - self._outcomes.keys())})
        for source, outcomes in self._outcomes.items():
            found["with more than one outcome"] += len(outcomes) > 1
            found["that nobody sent"] += source not in sent
            if source in sent:
                record, outcome = sent[source].record, outcomes[0]
                found["with the wrong kind of outcome"] += (record.reason or "") != outcome.reason
                found["with changed bytes in the dead letter"] += bool(outcome.reason) and outcome.value != record.value
        return [f"{count} records {what}" for what, count in found.items() if count]

    def _compare(self, outcome: Outcome, sent: Sent) -> None:
        """Count where the label says the same as the stars, which the model never sees; 3 stars say nothing."""
        stars = (sent.record.review or {}).get("stars", 3)
        if outcome.label and stars != 3:
            self.clear += 1
            self.agree += outcome.label == ("pos" if stars > 3 else "neg")
