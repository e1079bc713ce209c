"""Scaling and threshold: probabilities that mean what they say, fitted on reviews the model was not trained on."""

import math
from collections.abc import Sequence

import numpy as np

from consumer.model.bundle.manifest import Calibration, Source
from consumer.model.inference.scaling import PLAIN, Scaling
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

#: Fewest reviews that a scaling is fitted on.
MIN_ROWS = 100

#: Times that the calibration error of a perfect model is drawn; its mean is then known to three digits.
DRAWS = 200

#: A temperature outside these bounds means that something else is wrong than confidence.
TEMPERATURES = (0.1, 10.0)

#: The most that logits are sharpened. A hundredth is much already: it doubles a margin of 10.
MOST_SHARPENING = 10.0

#: By how much a sharpening has to raise the log likelihood of all rows, twice: chi-squared with one degree of freedom,
#: 1% (Wilks 1938). What fits by chance is left out.
SHARPENS_FROM = 6.635

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
    before: Scaling = PLAIN,
) -> Calibration:
    """Fit scaling and threshold on the `answers` to `reviews`.

    Args:
        answers: of the classifier.
        reviews: what it was asked; not among what it was trained on.
        labels: those of the model.
        variant: the precision variant that answered.
        precision: share of right answers wanted among those that are not unsure.
        before: the scaling that the answers were computed with.
    """
    probabilities, truth = as_arrays(answers, reviews.labels, labels)
    some = ~np.isnan(probabilities).any(axis=1)
    probabilities, truth = probabilities[some], truth[some]
    scaling = fit_scaling(probabilities, truth, before)
    calibrated = Answers(rescaled(probabilities, before, scaling), truth)
    by_chance = calibration_error_by_chance(calibrated, DRAWS).mean()
    say(f"a perfectly calibrated model would have a calibration error of {by_chance:.2%} on {len(truth)} reviews")
    threshold = find_threshold(calibrated.top, calibrated.right, precision)
    return Calibration(
        temperature=scaling.temperature,
        sharpening=scaling.sharpening,
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
    sharpening = f", sharpening {found.sharpening:.4f}" if found.sharpening else ""
    return (
        f"calibrated on {found.data.rows} reviews: temperature {found.temperature:.3f}{sharpening}, "
        f"calibration error {found.ece_before:.2%} before, {found.ece_after:.2%} after; {unsure}"
    )


def fit_scaling(probabilities: Floats, truth: Indices, before: Scaling = PLAIN) -> Scaling:
    """The scaling that makes `truth` most likely: a temperature, and a sharpening if that alone leaves much to gain.

    Logarithms of probabilities are logits up to a constant, which a softmax ignores. Without a wrong answer the
    likelihood has no maximum (a lower temperature is always better), so the scaling stays as it is.

    Args:
        probabilities: of each label, shape (rows, labels).
        truth: which label is right, shape (rows,).
        before: the scaling that the probabilities were computed with.
    """
    from scipy.optimize import minimize  # type: ignore[import-untyped]

    if _none_is_wrong(probabilities, truth):
        return before
    logits = before.unscale(_logits(probabilities))
    plain = Scaling(fit_temperature(logits, truth))
    found = minimize(
        lambda given: _loss(logits, truth, Scaling(math.exp(given[0]), given[1])),
        (math.log(plain.temperature), 0.01),
        bounds=([math.log(bound) for bound in TEMPERATURES], (0, MOST_SHARPENING)),
        method="Nelder-Mead",
        options={"xatol": 1e-5, "fatol": 1e-3},
    )
    if 2 * (_loss(logits, truth, plain) - found.fun) < SHARPENS_FROM:
        return plain
    return Scaling(math.exp(found.x[0]), float(found.x[1]))


def fit_temperature(logits: Floats, truth: Indices) -> float:
    """The temperature, within `TEMPERATURES`, that makes `truth` most likely (Guo et al. 2017, section 4.2).

    It is 1 if no answer is wrong.

    Args:
        logits: of each label, shape (rows, labels), up to a constant for each row.
        truth: which label is right, shape (rows,).
    """
    from scipy.optimize import minimize_scalar

    if _none_is_wrong(logits, truth):
        return 1.0
    found = minimize_scalar(
        lambda exponent: _loss(logits, truth, Scaling(math.exp(exponent))),
        bounds=[math.log(bound) for bound in TEMPERATURES],
        method="bounded",
        options={"xatol": 1e-5},
    )
    return math.exp(found.x)


def _none_is_wrong(answers: Floats, truth: Indices) -> bool:
    found = bool((answers.argmax(axis=1) == truth).all())
    if found:
        say(f"no wrong answer among {len(truth)}: the scaling stays as it is")
    return found


def _loss(logits: Floats, truth: Indices, scaling: Scaling) -> float:
    """The log likelihood of `truth`, negative."""
    likelihood = scaling.probabilities(logits)[np.arange(len(truth)), truth]
    return float(-np.log(np.maximum(likelihood, _TINY)).sum())


def rescaled(probabilities: Floats, before: Scaling, after: Scaling) -> Floats:
    """`probabilities`, shape (rows, labels), as `after` gives them instead of `before`; NaN rows stay NaN."""
    return after.probabilities(before.unscale(_logits(probabilities)))


def rescaled_answers(answers: Sequence[Answer], before: Scaling, after: Scaling) -> list[Answer]:
    """`answers` as the classifier would have given them with `after` instead of `before`."""
    return [
        answer
        and dict(zip(answer, rescaled(np.array([list(answer.values())]), before, after)[0].tolist(), strict=True))
        for answer in answers
    ]


def _logits(probabilities: Floats) -> Floats:
    return np.log(np.maximum(probabilities, _TINY))


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
