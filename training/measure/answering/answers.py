"""Answers of a model beside the truth, as arrays: what each row adds to the figures, and how calibrated they are."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from training.measure.evaluate import LEAST_PROBABILITY, Answer

#: Equal-width bins of the top probability (Guo et al. 2017, "On Calibration of Modern Neural Networks", section 2).
BINS = 15

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Bin:
    """Answers whose top probability is above `low` and at most `high`: their mean probability, and how many are right.

    A calibrated model has `accuracy` near `confidence` in every bin.
    """

    low: float
    high: float
    rows: int
    confidence: float
    right: int

    @property
    def accuracy(self) -> float:
        """Share of right answers."""
        return self.right / self.rows


class Answers:
    """Probabilities beside the truth, and what each row adds to the figures.

    Args:
        probabilities: shape (rows, labels); NaN in the rows that got no answer, which count as wrong.
        truth: shape (rows,), index of the right label.
        threshold: answers with a lower top probability are unsure; None: nothing is.
        unknown: shape (rows,), answers that are unsure in any case, if there is a threshold.
    """

    def __init__(
        self, probabilities: Floats, truth: Indices, threshold: float | None = None, unknown: Flags | None = None
    ) -> None:
        self.truth = truth
        self.answered: Flags = np.asarray(np.isfinite(probabilities).all(axis=1))
        self.probabilities = np.where(self.answered[:, None], probabilities, 0.0)
        self.top: Floats = self.probabilities.max(axis=1)
        self.predicted: Indices = np.where(self.answered, self.probabilities.argmax(axis=1), -1)
        self.right: Flags = self.predicted == truth
        self.of_truth: Floats = np.clip(self.probabilities[np.arange(len(truth)), truth], LEAST_PROBABILITY, 1)
        self.is_truth: Floats = np.equal.outer(truth, np.arange(self.labels)).astype(float)
        self.is_predicted: Floats = np.equal.outer(self.predicted, np.arange(self.labels)).astype(float)
        self.bins: Indices = np.clip(np.ceil(self.top * BINS).astype(np.int64) - 1, 0, BINS - 1)
        self.sure: Flags | None = None if threshold is None else self.answered & (self.top >= threshold)
        if self.sure is not None and unknown is not None:
            self.sure = self.sure & ~unknown

    @property
    def labels(self) -> int:
        """How many labels the model knows."""
        return int(self.probabilities.shape[1])

    @cached_property
    def squared_errors(self) -> Floats:
        """Brier score of each row, shape (rows,): 0 to 1 for two labels, 0 to 2 for several (Brier 1950)."""
        squares = (self.probabilities - self.is_truth) ** 2
        return np.asarray(squares[:, 1] if self.labels == 2 else squares.sum(axis=1))

    @cached_property
    def gaps(self) -> Floats:
        """Shape (rows, bins): in the bin of each answer, whether it is right minus its top probability."""
        gaps = np.zeros((len(self.truth), BINS))
        gaps[np.arange(len(self.truth)), self.bins] = np.where(self.answered, self.right - self.top, 0.0)
        return gaps

    @cached_property
    def in_bins(self) -> Floats:
        """Shape (rows, bins): 1 in the bin of each answer; a row without one is in none."""
        return np.asarray(np.equal.outer(self.bins, np.arange(BINS)) * self.answered[:, None], dtype=np.float64)

    @cached_property
    def ranked(self) -> list[int]:
        """Labels whose ROC curve counts: one of two, or each of several that has rows for and against it."""
        counts = np.bincount(self.truth[self.answered], minlength=self.labels)
        ranked = np.flatnonzero((counts > 0) & (counts < self.answered.sum())).tolist()
        return ranked[-1:] if self.labels == 2 else ranked


def as_arrays(answers: Sequence[Answer], truth: Sequence[str], labels: Sequence[str]) -> tuple[Floats, Indices]:
    """Probabilities, shape (rows, labels), NaN without an answer, and the index of the right label, shape (rows,)."""
    nothing = dict.fromkeys(labels, np.nan)
    rows = [[(answer or nothing)[label] for label in labels] for answer in answers]
    places = {label: place for place, label in enumerate(labels)}
    return np.array(rows, dtype=np.float64), np.array([places[label] for label in truth], dtype=np.int64)


def expected_calibration_error(answers: Answers) -> float:
    """Mean distance between top probability and accuracy over `BINS` bins (Guo et al. 2017, equation 5); 0 to 1.

    It is biased: chance alone keeps it above 0, the more so the fewer answers there are.
    """
    return float(np.abs(answers.gaps.sum(axis=0)).sum() / max(answers.answered.sum(), 1))


def squared_calibration_error(answers: Answers, weights: Floats) -> Floats:
    """Mean squared gap between top probability and accuracy over `BINS` bins, without the part that is chance.

    The gap of a bin is measured on few rows, and the square of its noise would add to the mean. The mean of products of
    two different rows is free of that, so that the estimate is unbiased within the bins, and negative about as often as
    positive for a perfectly calibrated model (after Kumar, Liang, Ma 2019, "Verified Uncertainty Calibration", section
    4, which debiases the same figure).

    Args:
        answers: at least one.
        weights: how often each row counts, shape (resamples, rows).

    Returns:
        Shape (resamples,). A bin with a single answer counts as 0.
    """
    rows, sums, squares = (weights @ each for each in (answers.in_bins, answers.gaps, answers.gaps**2))
    pairs = np.where(rows > 1, (sums**2 - squares) / np.maximum(rows - 1, 1), 0.0)
    return np.asarray(pairs.sum(axis=1) / np.maximum(rows.sum(axis=1), 1))


def calibration_error_by_chance(answers: Answers, draws: int, seed: int = 0) -> Floats:
    """Expected calibration errors of a perfectly calibrated model with the same probabilities, ascending; (draws,).

    Each draw makes an answer right with its top probability.
    """
    generator = np.random.default_rng(seed)
    top, bins = answers.top[answers.answered], answers.in_bins[answers.answered]
    errors = [np.abs(((generator.random(len(top)) < top) - top) @ bins).sum() / len(top) for _ in range(draws)]
    return np.sort(np.array(errors))


def reliability(answers: Answers) -> list[Bin]:
    """The bins that hold an answer, lowest first."""
    bins: list[Bin] = []
    for index in range(BINS):
        inside = answers.answered & (answers.bins == index)
        if rows := int(inside.sum()):
            confidence = float(answers.top[inside].mean())
            bins.append(Bin(index / BINS, (index + 1) / BINS, rows, confidence, int(answers.right[inside].sum())))
    return bins
