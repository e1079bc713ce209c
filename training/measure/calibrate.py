"""Temperature and threshold: probabilities that mean what they say, fitted on reviews the model was not trained on."""

import math
from collections.abc import Sequence

import numpy as np

from consumer.model.bundle.manifest import Calibration, Source
from training.data.holdout import held_out_rows
from training.data.reviews import Reviews
from training.io.progress import say
from training.measure.answering.answers import (
    Answers,
    Flags,
    Floats,
    Indices,
    as_arrays,
    calibration_error_by_chance,
    expected_calibration_error,
)
from training.measure.evaluate import Answer

#: Fewest reviews that a temperature is fitted on.
MIN_ROWS = 100

#: Times that the calibration error of a perfect model is drawn; its mean is then known to three digits.
DRAWS = 200

#: A temperature outside these bounds means that something else is wrong than confidence.
TEMPERATURES = (0.1, 10.0)

#: Keeps logarithms of probabilities that were rounded to 0 finite.
_TINY = 1e-300


def hold_out(train: Reviews, share: float, seed: int) -> tuple[Reviews, Reviews | None]:
    """Take `share` of the rows of each label out of `train`, drawn with `seed`, to calibrate on.

    Returns:
        The rows left to train on, and those held out; None if they would be fewer than `MIN_ROWS`.
    """
    held = held_out_rows(train.labels, share, seed, "calibration")
    if share and len(held) < MIN_ROWS:
        say(f"{share:.0%} of the training rows are {len(held)}, too few to calibrate on (minimum: {MIN_ROWS})")
    if len(held) < MIN_ROWS:
        say("the probabilities will not be calibrated")
        return train, None
    say(f"{len(held)} of the {len(train)} training rows are held out to calibrate on")
    others = sorted(set(range(len(train))) - set(held))
    return train.only(others), train.only(held)


def calibrate(
    answers: Sequence[Answer],
    reviews: Reviews,
    labels: Sequence[str],
    *,
    variant: str,
    precision: float,
    before: float = 1.0,
) -> Calibration:
    """Fit temperature and threshold on the `answers` to `reviews`.

    Args:
        answers: of the classifier.
        reviews: what it was asked; not among what it was trained on.
        labels: those of the model.
        variant: the precision variant that answered.
        precision: share of right answers wanted among those that are not unsure.
        before: the temperature that the answers were computed with.
    """
    probabilities, truth = as_arrays(answers, reviews.labels, labels)
    some = ~np.isnan(probabilities).any(axis=1)
    probabilities, truth = probabilities[some], truth[some]
    factor = fit_temperature(probabilities, truth, before)
    calibrated = Answers(tempered(probabilities, factor), truth)
    by_chance = calibration_error_by_chance(calibrated, DRAWS).mean()
    say(f"a perfectly calibrated model would have a calibration error of {by_chance:.2%} on {len(truth)} reviews")
    threshold = find_threshold(calibrated.top, calibrated.right, precision)
    return Calibration(
        temperature=before * factor,
        threshold=threshold,
        target_precision=precision,
        unsure=None if threshold is None else float(np.mean(calibrated.top < threshold)),
        ece_before=expected_calibration_error(Answers(probabilities, truth)),
        ece_after=expected_calibration_error(calibrated),
        variant=variant,
        data=Source(file=reviews.path.name, sha256=reviews.sha256, rows=len(truth)),
    )


def as_line(found: Calibration) -> str:
    """What was fitted, as one line."""
    unsure = (
        f"no threshold reaches {found.target_precision:.1%} accuracy, so no prediction will be unsure"
        if found.threshold is None or found.unsure is None
        else f"unsure below {found.threshold:.4f}: {found.unsure:.1%} of the reviews, of the others at least "
        f"{found.target_precision:.1%} right"
    )
    return (
        f"calibrated on {found.data.rows} reviews: temperature {found.temperature:.3f}, "
        f"calibration error {found.ece_before:.2%} before, {found.ece_after:.2%} after; {unsure}"
    )


def fit_temperature(probabilities: Floats, truth: Indices, before: float = 1.0) -> float:
    """The temperature that makes `truth` most likely (Guo et al. 2017, section 4.2).

    It is a factor on the one that the probabilities have `before`; their product is within `TEMPERATURES`.

    Logarithms of probabilities are logits up to a constant, which a softmax ignores. Without a wrong answer the
    likelihood has no maximum (lower is always better), so the temperature stays as it is.
    """
    from scipy.optimize import minimize_scalar  # type: ignore[import-untyped]

    if (probabilities.argmax(axis=1) == truth).all():
        say(f"no wrong answer among {len(truth)}: the temperature stays as it is")
        return 1.0

    def loss(exponent: float) -> float:
        likelihood = tempered(probabilities, math.exp(exponent))[np.arange(len(truth)), truth]
        return float(-np.log(np.maximum(likelihood, _TINY)).mean())

    bounds = tuple(math.log(bound / before) for bound in TEMPERATURES)
    return math.exp(minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-5}).x)


def tempered(probabilities: Floats, temperature: float) -> Floats:
    """The probabilities, shape (rows, labels), that logits divided by `temperature` give; NaN rows stay NaN."""
    logits = np.log(np.maximum(probabilities, _TINY)) / temperature
    exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(exponents / exponents.sum(axis=1, keepdims=True))


def tempered_answers(answers: Sequence[Answer], temperature: float) -> list[Answer]:
    """`answers` as the classifier would have given them with `temperature`."""
    return [
        answer and dict(zip(answer, tempered(np.array([list(answer.values())]), temperature)[0].tolist(), strict=True))
        for answer in answers
    ]


def find_threshold(top: Floats, right: Flags, precision: float) -> float | None:
    """The smallest top probability such that, of the answers at or above it, at least the share `precision` is right.

    At least 1 / (1 - precision) answers have to be that sure (50 for 0.98): fewer reach it only without any mistake.

    Args:
        top: top probability of each answer, shape (rows,).
        right: whether the answer is right, shape (rows,).
        precision: above 0 and below 1.

    Returns:
        The threshold, or None if there is none.
    """
    order = np.argsort(-top, kind="stable")
    top, right = top[order], right[order]
    count = np.arange(1, len(top) + 1)
    last_of_equals = np.diff(top, append=-1.0) != 0
    enough = count >= round(1 / (1 - precision), 6)
    good = np.flatnonzero(last_of_equals & enough & (np.cumsum(right) / count >= precision))
    return float(top[good[-1]]) if len(good) else None
