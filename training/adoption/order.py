"""Are the labels in the right order? Labelled rows tell: a model whose labels are exchanged is worse than a guess."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from consumer.errors import UsageError
from training.data.reviews import Reviews, draw
from training.measure.evaluate import classify_all, evaluate, open_classifier, wilson_interval
from training.measure.gate import REFERENCE

#: Rows that are asked: a model with exchanged labels is noticed on far fewer.
ASKED = 200

#: Confidence of the intervals that must not touch: a model that guesses is refused once in thousands of times.
SURE = 0.999


def check_order(bundle: Path, reviews: Reviews, labels: Sequence[str]) -> None:
    """Check that no other order of the labels fits `reviews` measurably better.

    Raises:
        UsageError: one does; names it.
    """
    from scipy.optimize import linear_sum_assignment  # type: ignore[import-untyped]

    asked = draw(reviews, ASKED, seed=0)
    with open_classifier(bundle, REFERENCE) as classifier:
        answers = classify_all(classifier, asked.texts, "checking the order of the labels")
    found = evaluate(answers, asked.labels, labels)
    counts = np.array([[found.confusion[true][said] for said in labels] for true in labels])
    meant, outputs = linear_sum_assignment(-counts)
    best = int(counts[meant, outputs].sum())
    if wilson_interval(best, found.rows, SURE)[0] <= wilson_interval(counts.trace(), found.rows, SURE)[1]:
        return
    names = ",".join(
        f"{output}={labels[true]}" for true, output in sorted(zip(meant, outputs, strict=True), key=_output)
    )
    raise UsageError(
        f"the labels do not fit {reviews.path.name}: {found.accuracy:.0%} of {found.rows} rows are right, and "
        f"{best / found.rows:.0%} would be in another order. If that is what the outputs mean, pass --labels {names}"
    )


def _output(pair: tuple[int, int]) -> int:
    return pair[1]
