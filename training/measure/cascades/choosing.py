"""What a cascade of finished bundles would be: how its members are calibrated, where each stops, what that costs."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from consumer.errors import UsageError
from consumer.model.bundle.loading import Bundle
from consumer.model.bundle.manifest import Calibration, Source
from consumer.model.cascade.manifest import PassedOn
from consumer.model.inference.scaling import Scaling
from consumer.model.labeller import Scored
from training.data.reviews import Reviews
from training.io.progress import say
from training.measure.answering.answers import Answers, Floats, Indices, as_arrays, expected_calibration_error
from training.measure.calibrate import MIN_ROWS, find_threshold, fit_scaling, rescaled
from training.measure.cascades.routing import Loss, Routed, choose, lost, passed_on_range, route
from training.measure.evaluate import Answer, Evaluation, evaluate, open_classifier, score_all
from training.measure.metrics import Metrics
from training.measure.metrics import measure as figures_of

#: Points that may be lost at the thresholds of the table and the picture, beside what was asked for.
ALLOWED = (0.1, 0.2, 0.5, 1.0, 2.0)


@dataclass(frozen=True)
class Asked:
    """What a member answers by itself: probabilities of shape (rows, labels), NaN in the rows on which it fails.

    `tokens` is what it reads of each row of the test file, shape (rows,). The columns are the labels of the cascade.
    """

    bundle: Bundle
    choosing: Floats
    test: Floats
    tokens: Indices

    @property
    def name(self) -> str:
        """That of its bundle."""
        return self.bundle.manifest.name

    @property
    def scaling(self) -> Scaling:
        """What made the probabilities of logits."""
        return self.bundle.manifest.scaling


@dataclass(frozen=True)
class Decided:
    """What the choosing rows decided.

    `below` are the thresholds of all members but the last; `allowed` has those for other losses, in points.
    """

    calibrations: tuple[Calibration, ...]
    below: tuple[float, ...]
    max_loss: float
    allowed: dict[float, tuple[float, ...]]
    data: Source


@dataclass(frozen=True)
class AtThresholds:
    """The cascade with thresholds that were chosen for an `allowed` loss, on the rows that measure."""

    allowed: float
    below: tuple[float, ...]
    passed_on: tuple[float, ...]
    accuracy: float
    loss: Loss


@dataclass(frozen=True)
class Measurement:
    """The cascade on the rows of the test file that chose nothing, and each member `alone` on the same rows.

    `points` are ordered by the loss allowed; one of them is what was decided. `loss_on_all` is on all rows of the file,
    and `data` says how many measured.
    """

    data: Source
    evaluation: Evaluation
    alone: tuple[Evaluation, ...]
    answered: tuple[float, ...]
    passed_on: tuple[PassedOn, ...]
    loss: Loss
    loss_on_all: Loss
    points: tuple[AtThresholds, ...]
    figures: Metrics
    max_length: int


def ask(bundle: Bundle, labels: Sequence[str], choosing: Reviews, test: Reviews, keep: Path | None) -> Asked:
    """Ask the served variant of `bundle`; a text that is in both files is asked once. `keep` is that of `score_all`."""
    name = bundle.manifest.name
    with open_classifier(bundle.path, None) as classifier:
        classifier.self_check()
        on_test = score_all(classifier, test.texts, f"{name}: measuring", keep)
        known = dict(zip(test.texts, on_test, strict=True))
        new = [text for text in dict.fromkeys(choosing.texts) if text not in known]
        known |= dict(zip(new, score_all(classifier, new, f"{name}: choosing", keep), strict=True))
    return Asked(
        bundle,
        _probabilities([known[text] for text in choosing.texts], choosing.labels, labels),
        _probabilities(on_test, test.labels, labels),
        np.array([answer.tokens if answer else 0 for answer in on_test], dtype=np.int64),
    )


def decide(
    asked: Sequence[Asked], choosing: Reviews, labels: Sequence[str], max_loss: float, precision: float
) -> Decided:
    """Calibrate all members on the `choosing` rows, and choose the cheapest thresholds that lose little enough there.

    The last member is calibrated on the rows that it answers, the others on all rows, of which they are unsure or not.

    Raises:
        UsageError: no thresholds lose that little, or there are too few rows.
    """
    truth = _truth(choosing, labels)
    scalings = [_scaling(each, each.choosing, truth) for each in asked]
    members = [rescaled(each.choosing, each.scaling, scaling) for each, scaling in zip(asked, scalings, strict=True)]
    costs = [each.bundle.manifest.parameters * float(each.tokens.mean()) for each in asked]
    below = choose(members, truth, costs, max_loss)
    if below is None:
        raise UsageError(
            f"no thresholds lose at most {max_loss:g} points on the {len(truth)} rows of {choosing.path.name}: raise "
            "--max-loss, give more rows to --choose, or a better first member"
        )
    last = route(members, truth, below).member == len(asked) - 1
    if not last.any():
        raise UsageError(
            f"without {asked[-1].name}, at most {max_loss:g} points are lost: leave it out, or lower --max-loss"
        )
    if last.sum() >= MIN_ROWS:
        scalings[-1] = _scaling(asked[-1], asked[-1].choosing[last], truth[last])
        members[-1] = rescaled(asked[-1].choosing, asked[-1].scaling, scalings[-1])
    routed = route(members, truth, below)
    top = np.nan_to_num(routed.probabilities).max(axis=1)
    threshold = find_threshold(top, routed.right, precision)
    data = Source(file=choosing.path.name, sha256=choosing.sha256, rows=len(truth))
    answered = [routed.member >= place for place in range(len(asked))]
    calibrations = tuple(
        Calibration(
            temperature=scaling.temperature,
            sharpening=scaling.sharpening,
            threshold=threshold,
            target_precision=precision,
            unsure=None if threshold is None else float((top < threshold).mean()),
            ece_before=expected_calibration_error(Answers(each.choosing[rows], truth[rows])),
            ece_after=expected_calibration_error(Answers(probabilities[rows], truth[rows])),
            variant=each.bundle.manifest.served,
            data=data,
        )
        for each, scaling, probabilities, rows in zip(asked, scalings, members, answered, strict=True)
    )
    allowed = {each: choose(members, truth, costs, each) for each in sorted({*ALLOWED, max_loss})}
    say(f"thresholds chosen on {len(truth)} rows: {', '.join(f'{each:.4f}' for each in below)}")
    return Decided(calibrations, below, max_loss, {loss: each for loss, each in allowed.items() if each}, data)


def measure(
    asked: Sequence[Asked], decided: Decided, test: Reviews, measuring: Sequence[int], labels: Sequence[str]
) -> Measurement:
    """Measure what was `decided` on the rows `measuring` of `test`."""
    every = _truth(test, labels)
    members_on_all = [
        rescaled(each.test, each.scaling, calibration.scaling)
        for each, calibration in zip(asked, decided.calibrations, strict=True)
    ]
    rows = np.array(measuring)
    truth = every[rows]
    members = [each[rows] for each in members_on_all]
    routed, alone = route(members, truth, decided.below), [route([each], truth, ()) for each in members]
    on_all = route(members_on_all, every, decided.below)
    say("resampling for the intervals")
    return Measurement(
        data=Source(file=test.path.name, sha256=test.sha256, rows=len(rows)),
        evaluation=_evaluated(routed, truth, labels),
        alone=tuple(_evaluated(each, truth, labels) for each in alone),
        answered=tuple(float((routed.member == place).mean()) for place in range(len(asked))),
        passed_on=tuple(
            passed_on_range(each.tokens[rows][routed.member >= place], (routed.member > place)[routed.member >= place])
            for place, each in enumerate(asked[:-1])
            if (routed.member >= place).any()
        ),
        loss=lost(alone[-1].right, routed.right),
        loss_on_all=lost(route(members_on_all[-1:], every, ()).right, on_all.right),
        points=tuple(_at(loss, below, members, truth) for loss, below in decided.allowed.items()),
        figures=figures_of(Answers(routed.probabilities, truth, decided.calibrations[0].threshold), labels),
        max_length=max(each.bundle.manifest.max_length for each in asked),
    )


def _at(allowed: float, below: tuple[float, ...], members: Sequence[Floats], truth: Indices) -> AtThresholds:
    routed = route(members, truth, below)
    passed_on = tuple(routed.share(place + 1) for place in range(len(members) - 1))
    loss = lost(route(members[-1:], truth, ()).right, routed.right)
    return AtThresholds(allowed, below, passed_on, float(routed.right.mean()), loss)


def _probabilities(scored: Sequence[Scored | None], truth: Sequence[str], labels: Sequence[str]) -> Floats:
    return as_arrays([each.probabilities if each else None for each in scored], truth, labels)[0]


def _truth(reviews: Reviews, labels: Sequence[str]) -> Indices:
    places = {label: place for place, label in enumerate(labels)}
    return np.array([places[label] for label in reviews.labels], dtype=np.int64)


def _scaling(asked: Asked, probabilities: Floats, truth: Indices) -> Scaling:
    """That of the member on some of its answers."""
    some = np.isfinite(probabilities).all(axis=1)
    return fit_scaling(probabilities[some], truth[some], asked.scaling)


def _evaluated(routed: Routed, truth: Indices, labels: Sequence[str]) -> Evaluation:
    answers: list[Answer] = [
        dict(zip(labels, row, strict=True)) if np.isfinite(row).all() else None for row in routed.probabilities.tolist()
    ]
    return evaluate(answers, [labels[each] for each in truth], labels)
