"""Counts the outcomes, and checks them against what was sent."""

import time
from collections import Counter, deque
from collections.abc import Mapping

import numpy as np

from consumer.demo.traffic import Outcome, Sent
from consumer.kafka.traffic import Coordinates

#: Period of the rate that is shown meanwhile, seconds.
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
        """Outcomes per second, over the last `RATE_WINDOW_SECONDS`."""
        since = time.time() - RATE_WINDOW_SECONDS
        while self._arrivals and self._arrivals[0] < since:
            self._arrivals.popleft()
        return len(self._arrivals) / RATE_WINDOW_SECONDS

    @property
    def seconds(self) -> float:
        """Time from sending the first record to reading the last outcome, seconds."""
        return self._last_seen - self._first_sent

    def age(self, percentile: float) -> float:
        """This percentile of the time from sending a record to reading its outcome, seconds."""
        return float(np.percentile(self._ages, percentile)) if self._ages else 0.0

    def problems(self, sent: Mapping[Coordinates, Sent]) -> list[str]:
        """Broken promises: each record has exactly one outcome, the right one, and dead letters keep their bytes."""
        found = Counter({"without an outcome": len(sent.keys() - self._outcomes.keys())})
        for source, outcomes in self._outcomes.items():
            found["with more than one outcome"] += len(outcomes) > 1
            found["that were never sent"] += source not in sent
            if source in sent:
                record, outcome = sent[source].record, outcomes[0]
                found["with the wrong kind of outcome"] += (record.reason or "") != outcome.reason
                found["with other bytes in the dead letter"] += bool(outcome.reason) and outcome.value != record.value
        return [f"{count} records {what}" for what, count in found.items() if count]

    def _compare(self, outcome: Outcome, sent: Sent) -> None:
        """Count the labels that agree with the stars, which the model never sees; 3 stars are neither pos nor neg."""
        stars = (sent.record.review or {}).get("stars", 3)
        if outcome.label and stars != 3:
            self.clear += 1
            self.agree += outcome.label == ("pos" if stars > 3 else "neg")
