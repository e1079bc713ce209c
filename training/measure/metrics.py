"""How good answers are, in the usual figures, each with a 95 % interval.

Figures are scikit-learn's. Shares of rows (accuracy, unsure, accuracy of the sure) have Wilson's interval, as in the
rest of this package. The other intervals come from resampled rows (Efron & Tibshirani 1993, "An Introduction to the
Bootstrap", section 13.3, percentile method). A resample is a vector of how often each row was drawn, so that one
matrix product gives a figure for many of them: 1,000 resamples of 20,000 rows take about two seconds.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from training.measure.answering.answers import (
    Answers,
    Flags,
    Floats,
    calibration_error_by_chance,
    expected_calibration_error,
    squared_calibration_error,
)
from training.measure.evaluate import LEAST_PROBABILITY, wilson_interval

RESAMPLES = 1_000
CONFIDENCE = 0.95

#: The figure whose root is `calibration_error`, which is debiased as a square.
SQUARED_ERROR = "squared_calibration_error"

#: Figures in the order of a report.
ORDER = ("accuracy", "f1_macro", "roc_auc", "log_loss", "brier", "calibration_error")

#: Resamples computed at once: few enough for the cache, many enough for numpy.
_AT_ONCE = 32


@dataclass(frozen=True)
class Metric:
    """A figure and the ends of its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class CalibrationError:
    """The expected calibration error, and that of a perfectly calibrated model on as many rows with these scores.

    `by_chance` is the mean of the latter; 95 % of it is at most `chance_limit`. A `value` up to that is no evidence of
    miscalibration.
    """

    value: float
    by_chance: float
    chance_limit: float


@dataclass(frozen=True)
class Metrics:
    """All figures; None if a figure has no meaning, for example the ROC-AUC of rows of one label.

    `overall` has accuracy, f1_macro, roc_auc, log_loss, brier and calibration_error (root mean square, without the bias
    of small files) and, if there is a threshold, unsure (share of the answers below it) and accuracy_of_sure. `f1` has
    one figure for each label that occurs. `ece` is the biased error in common use.
    """

    overall: dict[str, Metric | None]
    f1: dict[str, Metric]
    ece: CalibrationError | None


def measure(answers: Answers, names: Sequence[str], *, seed: int = 0, resamples: int = RESAMPLES) -> Metrics:
    """Every figure of `answers` with its interval; `names` are the labels. The same `seed`, the same intervals."""
    values, f1 = _figures(answers)
    draws = [_resampled(answers, weights) for weights in _weights(len(answers.truth), resamples, seed)]
    drawn_f1 = np.concatenate([drawn for _, drawn in draws])
    overall = _shares(answers)
    for name, value in values.items():
        drawn = np.concatenate([of_figure[name] for of_figure, _ in draws])
        if name == SQUARED_ERROR:
            overall["calibration_error"] = _calibration_error(answers, value, drawn)
        else:
            overall[name] = _metric(value, drawn)
    order = [*ORDER, *(name for name in overall if name not in ORDER)]
    return Metrics(
        {name: overall[name] for name in order if name in overall},
        {name: metric for i, name in enumerate(names) if (metric := _metric(float(f1[i]), drawn_f1[:, i]))},
        _ece(answers, seed, resamples) if answers.answered.any() else None,
    )


def _shares(answers: Answers) -> dict[str, Metric | None]:
    """The figures that are shares of rows, with Wilson's interval."""
    shares = {"accuracy": _share(int(answers.right.sum()), len(answers.truth))}
    if answers.sure is not None and (answered := int(answers.answered.sum())):
        sure = int(answers.sure.sum())
        shares["unsure"] = _share(answered - sure, answered)
        shares["accuracy_of_sure"] = _share(int((answers.sure & answers.right).sum()), sure)
    return shares


def _share(count: int, rows: int) -> Metric | None:
    return Metric(count / rows, *wilson_interval(count, rows)) if rows else None


def _calibration_error(answers: Answers, value: float, drawn: Floats) -> Metric:
    """The root of the mean squared gap; chance can make that mean negative, which counts as 0.

    The gaps of a resample vary around those of the rows, whose squares contain noise. It is taken out of the squares a
    second time, for otherwise the interval of a calibrated model would not reach 0.
    """
    biased = float((answers.gaps.sum(axis=0) ** 2 / np.maximum(answers.in_bins.sum(axis=0), 1)).sum())
    noise = biased / answers.answered.sum() - value
    ends = 100 * (1 - CONFIDENCE) / 2
    low, high = np.percentile(drawn - noise, (ends, 100 - ends))
    value, low, high = (math.sqrt(max(square, 0.0)) for square in (value, low, high))
    return Metric(value, min(low, value), max(high, value))


def _ece(answers: Answers, seed: int, draws: int) -> CalibrationError:
    by_chance = calibration_error_by_chance(answers, draws, seed)
    value, limit = expected_calibration_error(answers), np.percentile(by_chance, 100 * CONFIDENCE)
    return CalibrationError(value, float(by_chance.mean()), float(limit))


def _metric(value: float, drawn: Floats) -> Metric | None:
    """`value` between the percentiles of its resamples; None if it is not a number, or none of them is one."""
    if not math.isfinite(value) or not np.isfinite(drawn).any():
        return None
    ends = 100 * (1 - CONFIDENCE) / 2
    low, high = np.nanpercentile(drawn, (ends, 100 - ends))
    return Metric(value, float(low), float(high))


def _figures(answers: Answers) -> tuple[dict[str, float], Floats]:
    """The figures that are resampled, and the F1 of each label, shape (labels,); NaN if one has no meaning."""
    from sklearn import metrics

    truth, some = answers.truth, answers.answered
    probabilities, known, every = answers.probabilities[some], truth[some], range(answers.labels)
    occurring = np.union1d(truth, answers.predicted[some])
    f1 = np.full(answers.labels, np.nan)
    f1[occurring] = metrics.f1_score(truth, answers.predicted, labels=occurring, average=None, zero_division=0.0)
    areas = [metrics.roc_auc_score(known == label, probabilities[:, label]) for label in answers.ranked]
    figures = {
        "f1_macro": float(np.nanmean(f1)),
        "roc_auc": float(np.mean(areas)) if areas else math.nan,
    }
    if some.any():
        figures |= {
            "log_loss": float(metrics.log_loss(known, np.clip(probabilities, LEAST_PROBABILITY, 1), labels=every)),
            "brier": float(answers.squared_errors[some].mean()),
            SQUARED_ERROR: float(squared_calibration_error(answers, np.ones((1, len(truth))))[0]),
        }
    return figures, f1


def _weights(rows: int, resamples: int, seed: int) -> Iterator[Floats]:
    """How often each row is in each resample, shape (some resamples, rows)."""
    generator = np.random.default_rng(seed)
    for start in range(0, resamples, _AT_ONCE):
        count = min(_AT_ONCE, resamples - start)
        drawn = generator.integers(0, rows, (count, rows)) + rows * np.arange(count)[:, None]
        yield np.bincount(drawn.ravel(), minlength=count * rows).reshape(count, rows).astype(float)


def _resampled(answers: Answers, weights: Floats) -> tuple[dict[str, Floats], Floats]:
    """The figures of each resample, shape (resamples,), and F1, (resamples, labels); NaN if one has no meaning."""
    some = answers.answered
    answered = weights @ some
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
            "f1_macro": _mean_of_those_there(f1.T),
            "roc_auc": _mean_of_those_there(areas),
            "log_loss": weights @ np.where(some, -np.log(answers.of_truth), 0.0) / answered,
            "brier": weights @ np.where(some, answers.squared_errors, 0.0) / answered,
            SQUARED_ERROR: squared_calibration_error(answers, weights),
        }
    return figures, f1


def _mean_of_those_there(of_labels: Floats) -> Floats:
    """The mean over the labels that a resample has: rare ones are often in none of its rows. NaN: it has none.

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
