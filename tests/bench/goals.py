"""What the bench has to show, and what was measured."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tests.bench.thresholds import RecordedLoss

Speeds = Mapping[str, Sequence[float]]


@dataclass(frozen=True)
class Goal:
    """One goal; `reached` is None if it was not measured."""

    text: str
    measured: str
    reached: bool | None

    @property
    def verdict(self) -> str:
        """For the table."""
        return {True: "reached", False: "**not reached**", None: "not measured"}[self.reached]


@dataclass(frozen=True)
class Rows:
    """Names under which the speeds are: of the large model, the cascades, and what they are compared with.

    `classifiers` has the classifier of each worker through Kafka. `loose` is the cascade for another loss.
    """

    large: str
    yardstick: str
    classifiers: Mapping[str, str]
    cascade: str | None = None
    loose: str | None = None


def goals(
    speeds: Speeds,
    rows: Rows,
    losses: Mapping[str, RecordedLoss | None],
    ready: Mapping[int, Sequence[float]],
) -> list[Goal]:
    """All goals.

    Args:
        speeds: reviews/s of each round by the name of the row.
        rows: which rows to look at.
        losses: of a cascade, by the name of its row, as recorded when it was measured.
        ready: seconds from start to ready by the number of models.
    """
    found: list[Goal] = []
    if rows.cascade:
        found += [
            _times("cascade: at least 6 x the large model alone", speeds, rows.cascade, rows.large, 6),
            _lost("at a loss of at most 0.2 points", losses.get(rows.cascade), 0.2),
            _times("cascade: at least 45 x `pipeline(batch_size=32)`", speeds, rows.cascade, rows.yardstick, 45),
        ]
    if rows.loose:
        found += [
            _times("threshold for 0.5 points: at least 8 x the large model alone", speeds, rows.loose, rows.large, 8),
            _lost("at a loss of at most 0.5 points", losses.get(rows.loose), 0.5),
        ]
    for end_to_end, classifier in rows.classifiers.items():
        found.append(_share(f"{end_to_end}: at least 95 % of its classifier", speeds, end_to_end, classifier, 0.95))
    for models, most in ((1, 3), (2, 5)):
        found.append(
            _ready(f"ready in under {most} s with {models} model{'s' * (models > 1)}", ready.get(models), most)
        )
    return found


def table(found: Sequence[Goal]) -> str:
    """In Markdown."""
    lines = [f"| {goal.text} | {goal.measured} | {goal.verdict} |" for goal in found]
    return "\n".join(["| goal | measured | |", "|---|---|---|", *lines])


def ratio(speeds: Speeds, name: str, other: str) -> tuple[float, float, float]:
    """How many times as fast `name` is as `other`: by their medians, and the least and the most of a round."""
    rounds = [mine / yours for mine, yours in zip(speeds[name], speeds[other], strict=True)]
    return statistics.median(speeds[name]) / statistics.median(speeds[other]), min(rounds), max(rounds)


def _times(text: str, speeds: Speeds, name: str, other: str, least: float) -> Goal:
    value, low, high = ratio(speeds, name, other)
    return Goal(text, f"{value:.1f} x ({low:.1f}-{high:.1f})", value >= least)


def _share(text: str, speeds: Speeds, name: str, other: str, least: float) -> Goal:
    value, low, high = ratio(speeds, name, other)
    return Goal(text, f"{value:.1%} ({low:.1%}-{high:.1%})", value >= least)


def _lost(text: str, loss: RecordedLoss | None, most: float) -> Goal:
    # The threshold was chosen on other rows, for the loss in two decimals that people ask for.
    return Goal(text, str(loss or "no record"), round(loss.points, 2) <= most if loss else None)


def _ready(text: str, seconds: Sequence[float] | None, most: float) -> Goal:
    if not seconds:
        return Goal(text, "", None)
    value = statistics.median(seconds)
    return Goal(text, f"{value:.1f} s ({min(seconds):.1f}-{max(seconds):.1f})", value < most)
