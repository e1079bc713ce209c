"""The int8 gate: is the fast variant accurate enough to be served?"""

from collections.abc import Sequence
from dataclasses import dataclass
from operator import eq
from pathlib import Path
from typing import NamedTuple

from training.data.reviews import Reviews, drawn
from training.io.progress import say
from training.measure.evaluate import Answer, classify_all, evaluate, open_classifier, score_all
from training.settings import PackageSettings

REFERENCE = "fp32"
FAST = "int8"
FALLBACK = "bf16"


@dataclass(frozen=True)
class Measured:
    """The answers of a variant, and the right labels of the rows that it answered."""

    answers: list[Answer]
    truth: Sequence[str]


class Judged(NamedTuple):
    """The variant to serve, and what the measured variants answered."""

    served: str
    measured: dict[str, Measured]


def choose_served(
    bundle: Path,
    test: Reviews,
    labels: Sequence[str],
    settings: PackageSettings,
    *,
    seed: int,
    kept: Path | None,
    ask_both: bool = False,
) -> Judged:
    """Compare int8 with fp32 on the gate rows: int8 is served if it loses little enough, bf16 otherwise.

    Args:
        bundle: with all its variants.
        test: what it is measured on.
        labels: those of the model.
        settings: how many gate rows, and how much may be lost.
        seed: draws the gate rows.
        kept: directory where answers are kept, from which a killed run resumes; None: they are not.
        ask_both: ask bf16 even if int8 is served.

    Returns:
        The served variant, and what each measured variant answered: to all rows of `test` for int8 and, if it is asked,
        for bf16; to the gate rows for fp32 and, for comparison with it, for int8 again.
    """
    # Drawn, not the first ones: a file may be sorted by label.
    rows = drawn(len(test), settings.gate_rows, seed)
    gate_rows = test.only(rows)
    reference, fast = _measure(bundle, REFERENCE, gate_rows, kept), _measure(bundle, FAST, test, kept)
    fast_on_gate = Measured([fast.answers[row] for row in rows], gate_rows.labels)
    slow, quick = (evaluate(each.answers, each.truth, labels) for each in (reference, fast_on_gate))
    served = decide(f"{len(rows)} rows", slow.accuracy, quick.accuracy, settings, "is served")
    if slow.warning:
        say(f"{slow.warning}: the gate has compared two models that are guessing")
    measured = {REFERENCE: reference, FAST: fast, f"{FAST}, on the rows of {REFERENCE}": fast_on_gate}
    if ask_both or served == FALLBACK:
        measured[FALLBACK] = _measure(bundle, FALLBACK, test, kept)
    return Judged(served, measured)


def decide(rows: str, reference: float, fast: float, settings: PackageSettings, effect: str) -> str:
    """int8 if it loses at most as many points against fp32 as `settings` allow, else bf16; the decision is printed.

    Args:
        rows: what both were asked, in words.
        reference: accuracy of fp32, 0 to 1.
        fast: accuracy of int8 on the same rows.
        settings: how much may be lost.
        effect: what becomes of the variant, as a verb.
    """
    lost = round(100 * (reference - fast), 6)
    variant = FAST if lost <= settings.max_int8_drop else FALLBACK
    say(
        f"int8 gate on {rows}: fp32 {reference:.2%}, int8 {fast:.2%}: {lost:.2f} points lost, "
        f"{settings.max_int8_drop:.2f} allowed, so {variant} {effect}"
    )
    return variant


def choose_by_agreement(bundle: Path, texts: Sequence[str], least: float) -> tuple[str, dict[str, float]]:
    """Compare int8 with fp32 on texts without labels: int8 is served if its labels agree often enough.

    A label that changes is not always a mistake, so that fewer points of accuracy are lost than labels differ.

    Args:
        bundle: with all its variants.
        texts: what both are asked.
        least: share of the texts that need the label of fp32.

    Returns:
        The served variant (int8; bf16 if only that agrees; or fp32), and the share of each that was compared.
    """
    reference = _labels(bundle, REFERENCE, texts)
    shares: dict[str, float] = {}
    for variant in (FAST, FALLBACK):
        same = sum(map(eq, reference, _labels(bundle, variant, texts)))
        shares[variant] = same / len(texts)
        say(f"{variant} gives {same} of {len(texts)} texts the label of {REFERENCE} (at least {least:.1%} needed)")
        if shares[variant] >= least:
            return variant, shares
    return REFERENCE, shares


def _labels(bundle: Path, variant: str, texts: Sequence[str]) -> list[str | None]:
    """The label of each text; a text without an answer agrees with another one without."""
    with open_classifier(bundle, variant) as classifier:
        return [each.label if each else None for each in score_all(classifier, texts, f"asking {variant}")]


def _measure(bundle: Path, variant: str, reviews: Reviews, kept: Path | None) -> Measured:
    with open_classifier(bundle, variant) as classifier:
        return Measured(classify_all(classifier, reviews.texts, f"measuring {variant}", kept), reviews.labels)
