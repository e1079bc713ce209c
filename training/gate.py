"""The int8 gate: is the fast variant accurate enough to be served?"""

from pathlib import Path

from training.data import Reviews, drawn
from training.evaluate import Answer, Evaluation, classify_all, evaluate, open_classifier
from training.progress import say
from training.settings import PackageSettings

REFERENCE = "fp32"
FAST = "int8"
FALLBACK = "bf16"


def choose_served(
    bundle: Path, test: Reviews, settings: PackageSettings, seed: int, kept: Path
) -> tuple[str, dict[str, Evaluation], list[Answer]]:
    """Compare int8 with fp32 on the gate rows: int8 is served if it loses little enough, bf16 otherwise.

    Args:
        bundle: with all its variants.
        test: what it is measured on.
        settings: how many gate rows, and how much may be lost.
        seed: draws the gate rows.
        kept: directory where answers are kept, from which a killed run goes on.

    Returns:
        The served variant; an evaluation per measured variant: on all rows of `test` for int8 and for the served
        variant, on the gate rows for fp32 and, to be compared with it, for int8 once more; and the answers of the
        served variant to all rows.
    """
    # Drawn, not the first ones: a file may be sorted by label.
    rows = drawn(len(test), settings.gate_rows, seed)
    gate_rows = test.only(rows)
    _, reference = _measure(bundle, REFERENCE, gate_rows, kept)
    answers, fast = _measure(bundle, FAST, test, kept)
    fast_on_gate = evaluate([answers[row] for row in rows], gate_rows.labels, tuple(fast.confusion))
    lost = points_lost(reference, fast_on_gate)
    served = FAST if lost <= settings.max_int8_drop else FALLBACK
    say(
        f"int8 gate on {len(rows)} rows: fp32 {reference.accuracy:.2%}, int8 {fast_on_gate.accuracy:.2%}: "
        f"{lost:.2f} points lost, {settings.max_int8_drop:.2f} allowed, so {served} is served"
    )
    evaluations = {REFERENCE: reference, FAST: fast, f"{FAST}, on the rows of {REFERENCE}": fast_on_gate}
    if served == FALLBACK:
        answers, evaluations[FALLBACK] = _measure(bundle, FALLBACK, test, kept)
    return served, evaluations, answers


def points_lost(reference: Evaluation, other: Evaluation) -> float:
    """Percentage points of accuracy that `other` is below `reference`; negative where it is above."""
    return round(100 * (reference.accuracy - other.accuracy), 6)


def _measure(bundle: Path, variant: str, reviews: Reviews, kept: Path) -> tuple[list[Answer], Evaluation]:
    with open_classifier(bundle, variant) as classifier:
        answers = classify_all(classifier, reviews.texts, f"measuring {variant}", kept)
    return answers, evaluate(answers, reviews.labels, classifier.bundle.manifest.labels)
