"""Where a model is right and where it is not: accuracy by length and by stars, and the reviews it erred on most."""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from consumer.model.classifier import MOST_UNKNOWN
from consumer.model.labeller import Scored
from consumer.model.texts.cleaning import clean
from training.data.reviews import Reviews
from training.io.progress import say
from training.measure.answering.answers import Answers, Flags
from training.measure.evaluate import wilson_interval

#: More different values than this in the star column are no stars.
MAX_STARS = 11


@dataclass(frozen=True)
class Slice:
    """Some of the rows: all that have `name` when split `by` something.

    `interval` is the 95 % Wilson interval of the accuracy, `confidence` the mean top probability of the answers, and
    `unsure` the share of the answers below the threshold of the bundle, None if it has none.
    """

    by: str
    name: str
    rows: int
    accuracy: float
    interval: tuple[float, float]
    confidence: float
    unsure: float | None


@dataclass(frozen=True)
class Loss:
    """A review, and how little probability its label was given; `loss` is the negative logarithm of that, in nats."""

    text: str
    truth: str
    predicted: str
    probability: float
    loss: float
    tokens: int
    truncated: bool


def slices(scored: Sequence[Scored | None], reviews: Reviews, answers: Answers) -> list[Slice]:
    """Rows by length, by whether the model read all of them and knows their words, and by stars if the file has them.

    Those of a cascade also by the member that answered. Rows without an answer have no length; by stars they count as
    wrong.
    """
    return [
        _slice(by, name, rows, answers)
        for by, parts in (
            ("member", _members(scored)),
            ("tokens read", _lengths(scored)),
            ("read", _truncated(scored)),
            ("words", _known(scored)),
            ("stars", _stars(reviews)),
        )
        for name, rows in parts
        if rows.any()
    ]


def top_losses(
    scored: Sequence[Scored | None], reviews: Reviews, answers: Answers, labels: Sequence[str], count: int
) -> list[Loss]:
    """The `count` wrong answers that gave the least probability to the label of their review, worst first."""
    wrong = answers.answered & ~answers.right
    losses = np.where(wrong, -np.log(answers.of_truth), -1.0)
    worst = np.argsort(-losses, kind="stable")[: min(count, int(wrong.sum()))].tolist()
    return [
        Loss(
            clean(reviews.texts[row]),
            reviews.labels[row],
            labels[answers.predicted[row]],
            float(answers.of_truth[row]),
            float(losses[row]),
            answer.tokens,
            answer.truncated,
        )
        for row in worst
        if (answer := scored[row])
    ]


def _slice(by: str, name: str, rows: Flags, answers: Answers) -> Slice:
    right, count = int(answers.right[rows].sum()), int(rows.sum())
    answered = rows & answers.answered
    return Slice(
        by=by,
        name=name,
        rows=count,
        accuracy=right / count,
        interval=wilson_interval(right, count),
        confidence=float(answers.top[answered].mean()) if answered.any() else 0.0,
        unsure=float((~answers.sure[answered]).mean()) if answers.sure is not None and answered.any() else None,
    )


def _members(scored: Sequence[Scored | None]) -> Iterator[tuple[str, Flags]]:
    """One part for each member of a cascade that answers, the one that answers most first; nothing for one model."""
    answered = [answer.member if answer else None for answer in scored]
    for name, _ in Counter(filter(None, answered)).most_common():
        yield name, np.array([each == name for each in answered])


def _lengths(scored: Sequence[Scored | None]) -> Iterator[tuple[str, Flags]]:
    """Quartiles of the tokens read; fewer parts where many reviews are of one length."""
    tokens = np.array([answer.tokens if answer else 0 for answer in scored])
    answered = tokens > 0
    quarters = np.searchsorted(np.quantile(tokens[answered], (0.25, 0.5, 0.75)), tokens) if answered.any() else tokens
    for quarter in range(4):
        rows = answered & (quarters == quarter)
        if rows.any():
            yield f"{tokens[rows].min()} to {tokens[rows].max()}", rows


def _truncated(scored: Sequence[Scored | None]) -> Iterator[tuple[str, Flags]]:
    for name, truncated in (("whole", False), ("in part", True)):
        yield name, np.array([answer is not None and answer.truncated is truncated for answer in scored])


def mostly_unknown(scored: Sequence[Scored | None]) -> Flags:
    """Which answers are unsure because the model knows too few of the words, shape (rows,)."""
    return np.array([answer is not None and answer.unknown > MOST_UNKNOWN for answer in scored])


def _known(scored: Sequence[Scored | None]) -> Iterator[tuple[str, Flags]]:
    """Nothing if the model knows most words of every text."""
    if (unknown := mostly_unknown(scored)).any():
        yield "mostly known", ~unknown & np.array([answer is not None for answer in scored])
        yield "mostly unknown", unknown


def _stars(reviews: Reviews) -> Iterator[tuple[str, Flags]]:
    """One part for each value of the star column, in their order; rows without a number come last."""
    if not reviews.stars:
        return
    given = [_number(value) for value in reviews.stars]
    if (different := len(set(given))) > MAX_STARS + 1:
        say(f"{reviews.path.name}: the star column has {different} different values: no slices by stars")
        return
    for value in sorted(set(given)):
        name = "not a number" if value == math.inf else f"{value:g}"
        yield name, np.array([each == value for each in given])


def _number(value: str) -> float:
    """The stars given; infinity for what is no number, so that it is one value and sorted last."""
    try:
        stars = float(value)
    except ValueError:
        return math.inf
    return stars if math.isfinite(stars) else math.inf
