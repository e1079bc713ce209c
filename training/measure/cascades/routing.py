"""Which member of a cascade answers which text, for any thresholds, from what each member answers alone."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from statistics import NormalDist

import numpy as np

from consumer.model.cascade.manifest import PassedOn
from training.measure.answering.answers import Flags, Floats, Indices
from training.measure.evaluate import wilson_interval

#: Thresholds of a member that are compared at most, and combinations of those of all members.
MOST_CANDIDATES, MOST_COMBINATIONS = 200, 4096

#: Of the texts that a member computes, the largest share that is worth being passed on.
MOST_PASSED_ON = 0.6

#: Parts of the rows, from the shortest texts to the longest, between which the share passed on may differ.
PARTS = 5
#: Fewest rows of a part.
PART_ROWS = 100


@dataclass(frozen=True)
class Routed:
    """The answers of a cascade to some rows.

    `member` is the place of the member that answers each row, `probabilities` what it answers, shape (rows, labels),
    and `right` whether that is the right label.
    """

    member: Indices
    probabilities: Floats
    right: Flags

    @property
    def accuracy(self) -> float:
        """Share of right answers."""
        return float(self.right.mean())

    def share(self, member: int) -> float:
        """Share of the rows that reach the member at a place."""
        return float((self.member >= member).mean())


@dataclass(frozen=True)
class Loss:
    """Points of accuracy lost against the last member alone, on the same `rows`.

    `worse` rows only the last member has right, `better` rows only the cascade. `p_value` is that of McNemar's exact
    test that both are equally good.
    """

    rows: int
    worse: int
    better: int
    p_value: float

    @property
    def points(self) -> float:
        """Negative if the cascade is better."""
        return round(100 * (self.worse - self.better) / self.rows, 6)

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of the points, of paired shares (Agresti & Min 2005, with half a row added to each cell)."""
        worse, better, rows = self.worse + 0.5, self.better + 0.5, self.rows + 2
        difference = (worse - better) / rows
        spread = math.sqrt(max(worse + better - (worse - better) ** 2 / rows, 0.0)) / rows
        half = NormalDist().inv_cdf(0.975) * spread
        return round(100 * (difference - half), 6), round(100 * (difference + half), 6)


def route(members: Sequence[Floats], truth: Indices, below: Sequence[float]) -> Routed:
    """Answer each row by the first member that is sure enough of it.

    Args:
        members: probabilities of each member, shape (rows, labels); NaN in a row on which it fails.
        truth: index of the right label of each row, shape (rows,).
        below: for each member but the last, the score below which it passes a row on.
    """
    by = np.full(len(truth), len(members) - 1)
    left = np.ones(len(truth), dtype=bool)
    for place, threshold in enumerate(below):
        sure = left & (_top(members[place]) >= threshold)
        by[sure] = place
        left &= ~sure
    probabilities = np.stack(members)[by, np.arange(len(truth))]
    answered = np.isfinite(probabilities).all(axis=1)
    right = answered & (np.nan_to_num(probabilities).argmax(axis=1) == truth)
    return Routed(by, probabilities, right)


def lost(reference: Flags, cascade: Flags) -> Loss:
    """What is lost by `cascade` against `reference`: whether each has a row right, shape (rows,)."""
    from scipy.stats import binomtest  # type: ignore[import-untyped]

    worse, better = int((reference & ~cascade).sum()), int((cascade & ~reference).sum())
    p_value = float(binomtest(worse, worse + better).pvalue) if worse + better else 1.0
    return Loss(len(reference), worse, better, p_value)


def choose(
    members: Sequence[Floats], truth: Indices, seconds: Sequence[float], most_lost: float
) -> tuple[float, ...] | None:
    """The cheapest thresholds at which at most so many points are lost against the last member alone.

    A threshold counts only if all more cautious ones lose no more than that either: what is lost falls with a
    threshold, so a cheap one that looks good between two bad ones is luck.

    Args:
        members: probabilities of each member, shape (rows, labels).
        truth: index of the right label of each row, shape (rows,).
        seconds: what a text costs each member.
        most_lost: points of accuracy.

    Returns:
        A threshold for each member but the last; None if none is good enough.
    """
    alone = route(members[-1:], truth, ()).accuracy
    count = min(MOST_CANDIDATES, int(MOST_COMBINATIONS ** (1 / (len(members) - 1))))
    points = list(product(*(_candidates(each, count) for each in members[:-1])))
    routed = [route(members, truth, point) for point in points]
    good = np.array([round(100 * (alone - each.accuracy), 6) <= most_lost for each in routed])
    thresholds = np.array(points)
    safe = [place for place in np.flatnonzero(good) if good[(thresholds >= thresholds[place]).all(axis=1)].all()]
    if not safe:
        return None
    costs = [sum(cost * routed[place].share(k) for k, cost in enumerate(seconds)) for place in safe]
    return points[safe[int(np.argmin(costs))]]


def _candidates(probabilities: Floats, count: int) -> list[float]:
    """Thresholds at which a member passes on equally spaced shares of its rows, four digits each."""
    shares = np.linspace(0, MOST_PASSED_ON, count + 1)[1:]
    return sorted({round(float(each), 4) for each in np.quantile(_top(probabilities), shares)})


def passed_on_range(tokens: Indices, passed_on: Flags) -> PassedOn:
    """The share of rows that a member passes on, and its range over parts of them by the length of their texts.

    The range is widened by the 95 % intervals of the shares of the parts: traffic differs from the rows by chance.

    Args:
        tokens: what the member reads of each row that it computes, shape (rows,).
        passed_on: whether it passes it on, shape (rows,).
    """
    parts = max(1, min(PARTS, len(tokens) // PART_ROWS))
    ordered = passed_on[np.argsort(tokens, kind="stable")]
    ends = [round(len(ordered) * part / parts) for part in range(parts + 1)]
    intervals = [wilson_interval(int(ordered[a:b].sum()), b - a) for a, b in pairwise(ends) if b > a]
    return PassedOn(
        share=float(passed_on.mean()),
        low=min(low for low, _ in intervals),
        high=max(high for _, high in intervals),
    )


def _top(probabilities: Floats) -> Floats:
    """The score of each row, 0 where there is no answer; shape (rows,)."""
    return np.asarray(np.nan_to_num(probabilities).max(axis=1))
