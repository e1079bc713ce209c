"""How good answers are, in the usual figures, each with a 95 % bootstrap interval.

Figures are scikit-learn's. Their intervals come from resampled rows (Efron & Tibshirani 1993, "An Introduction to the
Bootstrap", section 13.3, percentile method). A resample is a vector of how often each row was drawn, so that one
matrix product gives a figure for many of them: 1,000 resamples of 20,000 rows take about two seconds.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from training.measure.answers import Answers, Flags, Floats, expected_calibration_error
from training.measure.evaluate import LEAST_PROBABILITY

RESAMPLES = 1_000
CONFIDENCE = 0.95

#: Resamples computed at once: few enough for the cache, many enough for numpy.
_AT_ONCE = 32


@dataclass(frozen=True)
class Metric:
    """A figure and the ends of its 95 % bootstrap interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Metrics:
    """All figures; None where a figure has no meaning, for example a ROC-AUC of rows of one label.

    `overall` has accuracy, f1_macro, roc_auc, log_loss, brier and ece and, where there is a threshold, unsure (share of
    the answers below it) and accuracy_of_sure. `f1` has one figure for each label that occurs.
    """

    overall: dict[str, Metric | None]
    f1: dict[str, Metric]


def measure(answers: Answers, names: Sequence[str], *, seed: int = 0, resamples: int = RESAMPLES) -> Metrics:
    """Every figure of `answers` with its interval; `names` are the labels. The same `seed`, the same intervals."""
    overall, f1 = _figures(answers)
    draws = [_resampled(answers, weights) for weights in _weights(len(answers.truth), resamples, seed)]
    drawn_f1 = np.concatenate([drawn for _, drawn in draws])
    return Metrics(
        {name: _metric(value, np.concatenate([drawn[name] for drawn, _ in draws])) for name, value in overall.items()},
        {name: metric for i, name in enumerate(names) if (metric := _metric(float(f1[i]), drawn_f1[:, i]))},
    )


def _metric(value: float, drawn: Floats) -> Metric | None:
    """`value` between the percentiles of its resamples; None where it is not a number, or none of them is one."""
    if not math.isfinite(value) or not np.isfinite(drawn).any():
        return None
    ends = 100 * (1 - CONFIDENCE) / 2
    low, high = np.nanpercentile(drawn, (ends, 100 - ends))
    return Metric(value, float(low), float(high))


def _figures(answers: Answers) -> tuple[dict[str, float], Floats]:
    """The figures themselves, and the F1 of each label, shape (labels,); NaN where one has no meaning."""
    from sklearn import metrics

    truth, some = answers.truth, answers.answered
    probabilities, known, every = answers.probabilities[some], truth[some], range(answers.labels)
    occurring = np.union1d(truth, answers.predicted[some])
    f1 = np.full(answers.labels, np.nan)
    f1[occurring] = metrics.f1_score(truth, answers.predicted, labels=occurring, average=None, zero_division=0.0)
    areas = [metrics.roc_auc_score(known == label, probabilities[:, label]) for label in answers.ranked]
    figures = {
        "accuracy": float(metrics.accuracy_score(truth, answers.predicted)),
        "f1_macro": float(np.nanmean(f1)),
        "roc_auc": float(np.mean(areas)) if areas else math.nan,
    }
    if some.any():
        figures |= {
            "log_loss": float(metrics.log_loss(known, np.clip(probabilities, LEAST_PROBABILITY, 1), labels=every)),
            "brier": float(answers.squared_errors[some].mean()),
            "ece": expected_calibration_error(answers),
        }
        if answers.sure is not None:
            figures["unsure"] = 1 - float(answers.sure.sum() / some.sum())
            figures["accuracy_of_sure"] = float(answers.right[answers.sure].mean()) if answers.sure.any() else math.nan
    return figures, f1


def _weights(rows: int, resamples: int, seed: int) -> Iterator[Floats]:
    """How often each row is in each resample, shape (some resamples, rows)."""
    generator = np.random.default_rng(seed)
    for start in range(0, resamples, _AT_ONCE):
        count = min(_AT_ONCE, resamples - start)
        drawn = generator.integers(0, rows, (count, rows)) + rows * np.arange(count)[:, None]
        yield np.bincount(drawn.ravel(), minlength=count * rows).reshape(count, rows).astype(float)


def _resampled(answers: Answers, weights: Floats) -> tuple[dict[str, Floats], Floats]:
    """The figures of each resample, shape (resamples,), and F1, (resamples, labels); NaN where one has no meaning."""
    some = answers.answered
    rows, answered = weights.sum(axis=1), weights @ some
    hits = weights @ (answers.is_truth * answers.right[:, None])
    occurrences = weights @ (answers.is_truth + answers.is_predicted)
    with np.errstate(divide="ignore", invalid="ignore"):
        f1 = np.where(occurrences > 0, 2 * hits / occurrences, np.nan)
        of_labels = [
            _areas(weights[:, some], answers.probabilities[some, label], answers.truth[some] == label)
            for label in answers.ranked
        ]
        areas = np.array(of_labels).reshape(-1, len(weights))
        figures = {
            "accuracy": weights @ answers.right / rows,
            "f1_macro": _mean_of_those_there(f1.T),
            "roc_auc": _mean_of_those_there(areas),
            "log_loss": weights @ np.where(some, -np.log(answers.of_truth), 0.0) / answered,
            "brier": weights @ np.where(some, answers.squared_errors, 0.0) / answered,
            "ece": np.abs(weights @ answers.gaps).sum(axis=1) / answered,
        }
        if answers.sure is not None:
            sure = weights @ answers.sure
            figures["unsure"] = 1 - sure / answered
            figures["accuracy_of_sure"] = weights @ (answers.sure & answers.right) / sure
    return figures, f1


def _mean_of_those_there(of_labels: Floats) -> Floats:
    """The mean over the labels that a resample has, for rare ones are often in none of its rows; NaN: it has none.

    `of_labels` has the shape (labels, resamples), the means have (resamples,).
    """
    has = np.isfinite(of_labels)
    return np.asarray(np.where(has, of_labels, 0.0).sum(axis=0) / has.sum(axis=0))


def _areas(weights: Floats, scores: Floats, positive: Flags) -> Floats:
    """Area under the ROC curve of each resample, shape (resamples,): how often a positive row outranks a negative one.

    Equal scores count half (Hanley & McNeil 1982).
    """
    order = np.argsort(scores, kind="stable")
    starts = np.flatnonzero(np.diff(scores[order], prepend=-1.0))
    weights, positive = weights[:, order], positive[order]
    positives = np.add.reduceat(weights * positive, starts, axis=1)
    negatives = np.add.reduceat(weights * ~positive, starts, axis=1)
    outranked = np.cumsum(negatives, axis=1) - negatives / 2
    return np.asarray((positives * outranked).sum(axis=1) / (positives.sum(axis=1) * negatives.sum(axis=1)))
