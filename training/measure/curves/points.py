"""What was measured of each way of reading, and what follows from it: for JSON, the terminal and the report."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from consumer.model.texts.reading import Windows
from training.measure.cascades.routing import Loss

#: Points of accuracy; a way of reading that may lose more is not recommended, however fast it is.
MOST_LOST = 1.0


@dataclass(frozen=True)
class Point:
    """One way of reading, measured.

    `own`: it is that of the bundle. `against_own` compares its answers with those, row by row; None for the own one.
    `tokens` is the mean that is read of a review, special tokens included. `best`: no other way is at least as accurate
    and at least as fast.
    """

    name: str
    truncation: str
    max_length: int
    windows: Windows | None
    own: bool
    accuracy: float
    interval: tuple[float, float]
    failed: int
    tokens: float
    reviews_per_second: float
    against_own: Loss | None
    best: bool = False

    @property
    def difference(self) -> tuple[float, float, float] | None:
        """Points of accuracy more than the own way, and the ends of the 95 % interval of that; None for the own one."""
        if self.against_own is None:
            return None
        low, high = self.against_own.interval
        return 0.0 - self.against_own.points, -high, -low

    @property
    def as_good(self) -> bool:
        """Whether the interval of the difference excludes a loss of `MOST_LOST` points or more."""
        return self.difference is None or self.difference[1] > -MOST_LOST

    def as_json(self) -> dict[str, Any]:
        """The fields, ready for `json.dumps`; the difference is in points."""
        fields = asdict(self) | {"windows": self.windows and self.windows.model_dump(), "difference": None}
        if self.against_own and self.difference:
            points, low, high = self.difference
            fields["difference"] = {"points": points, "interval": (low, high), "p_value": self.against_own.p_value}
        del fields["against_own"]
        return fields


@dataclass(frozen=True)
class ReadingCurve:
    """Every way of reading, on the same `rows`; timed on `timed_rows` in `rounds` rounds, with `threads`.

    `load` is how many cores other processes kept busy meanwhile, if that is known. `too_long` are lengths that the
    model has no positions for.
    """

    rows: int
    timed_rows: int
    rounds: int
    threads: int
    processor: str
    date: str
    load: float | None
    loaded: bool
    too_long: tuple[int, ...]
    points: tuple[Point, ...]

    @property
    def own(self) -> Point:
        """The bundle's own way."""
        return next(point for point in self.points if point.own)

    @property
    def remarks(self) -> list[str]:
        """What a reader has to know, and what follows from the figures."""
        found = []
        if self.loaded:
            found.append(
                f"WARNING: other processes kept {self.load:.1f} cores busy while this was timed; the reviews/s are too "
                "low, and their ratios are rough. Repeat it on a quiet machine"
            )
        if self.too_long:
            found.append(f"not measured: {', '.join(map(str, self.too_long))} tokens; the model has fewer positions")
        cheaper = [each for each in self.points if each.as_good and each.best and not each.own]
        fastest = max(cheaper, key=lambda each: each.reviews_per_second, default=None)
        if fastest and (times := fastest.reviews_per_second / self.own.reviews_per_second) >= 1.1:
            found.append(
                f"{fastest.name} has {times:.1f} times the throughput of the bundle's own reading and loses less than "
                f"{MOST_LOST:.0f} point of accuracy on these {self.rows} rows. They chose it: measure it on others"
            )
        return found

    def as_json(self) -> dict[str, Any]:
        """The fields, ready for `json.dumps`."""
        return asdict(self) | {"points": [point.as_json() for point in self.points], "remarks": self.remarks}

    def as_lines(self) -> list[str]:
        """A table for the terminal."""
        width = max(len(point.name) for point in self.points)
        lines = [
            f"{'reading':<{width}}  accuracy  95 % interval       difference, points      reviews/s  tokens",
        ]
        for point in self.points:
            low, high = point.interval
            gap = point.difference
            difference = f"{gap[0]:+.2f} ({gap[1]:+.2f} to {gap[2]:+.2f})" if gap else "the bundle's own"
            lines.append(
                f"{point.name:<{width}}  {point.accuracy:>8.2%}  {f'{low:.2%} to {high:.2%}':<18}  {difference:<22}  "
                f"{point.reviews_per_second:>9.1f}  {point.tokens:>6.0f}{'  best' if point.best else ''}"
            )
        lines.append("best: no other way is at least as accurate and at least as fast")
        lines.append(
            f"{self.rows} rows; timed on {self.timed_rows} of them in turns, median of {self.rounds} rounds, "
            f"{self.threads} threads of {self.processor}"
        )
        return lines + self.remarks


def with_front(points: Sequence[Point]) -> list[Point]:
    """`points`, with those marked `best` that no other one beats in accuracy or speed without losing in the other."""

    def beaten(one: Point, other: Point) -> bool:
        there, here = ((each.accuracy, each.reviews_per_second) for each in (other, one))
        return there != here and there[0] >= here[0] and there[1] >= here[1]

    return [replace(point, best=not any(beaten(point, other) for other in points)) for point in points]
