"""The values of the metrics at one moment, and what they change by in a second."""

import time
from collections import deque
from collections.abc import Callable, Mapping

from prometheus_client import CollectorRegistry

#: Changes are those of this long, at most; before the second look at the page there are none.
WINDOW_SECONDS = 60.0
#: Over less than this, a rate says nothing.
LEAST_SECONDS = 0.5


class Readings:
    """All values of a registry at one moment. A metric that does not exist reads as 0, or as no series."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._series: dict[str, list[tuple[Mapping[str, str], float]]] = {}
        for metric in registry.collect():
            for sample in metric.samples:
                if not sample.name.endswith(("_bucket", "_created")):
                    self._series.setdefault(sample.name, []).append((sample.labels, sample.value))

    def has(self, name: str) -> bool:
        """Whether there is such a sample."""
        return name in self._series

    def total(self, name: str) -> float:
        """The sum over all series of `name`."""
        return sum(value for _, value in self._series.get(name, ()))

    def by(self, name: str, label: str) -> dict[str, float]:
        """The values of `name` by the value of its `label`."""
        return {labels[label]: value for labels, value in self._series.get(name, ())}

    def labels(self, name: str) -> Mapping[str, str]:
        """The labels of the only series of `name`; none if it has no series."""
        return next((labels for labels, _ in self._series.get(name, ())), {})


class Changes:
    """What totals changed by since an earlier look, at most `WINDOW_SECONDS` ago."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._looks: deque[tuple[float, dict[str, float]]] = deque()
        self._now: tuple[float, dict[str, float]] = (clock(), {})

    def look(self, totals: dict[str, float]) -> None:
        """Note the `totals` of this moment."""
        self._now = (self._clock(), totals)
        self._looks.append(self._now)
        while self._now[0] - self._looks[0][0] > WINDOW_SECONDS:
            self._looks.popleft()

    @property
    def seconds(self) -> float:
        """Between the two looks that are compared; 0 if there is only one."""
        return self._now[0] - self._looks[0][0] if self._looks else 0.0

    def of(self, name: str) -> float | None:
        """By how much the total `name` grew; None if the time is too short to tell."""
        return self._now[1][name] - self._looks[0][1][name] if self.seconds >= LEAST_SECONDS else None

    def rate(self, name: str) -> float | None:
        """`of`, in a second."""
        change = self.of(name)
        return None if change is None else change / self.seconds
