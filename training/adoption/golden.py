"""Golden texts of a model that others trained: about films, and such texts of the user as show its labels."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from consumer.model.bundle.manifest import Golden
from training.io.progress import say
from training.measure.evaluate import open_classifier
from training.packaging.golden import CANDIDATES, TEXTS, TOLERANCE, answers_to, ask, unpinned_labels


def record_golden(bundle: Path, variants: Sequence[str], samples: Sequence[str]) -> Golden:
    """The answers of every variant to the golden texts.

    If the usual ones, which are about films, are clearly of fewer than two labels, the clearest of the short `samples`
    are added: answers that are all unsure would not show that labels were exchanged.
    """
    texts = TEXTS
    with open_classifier(bundle, variants[0]) as classifier:
        unpinned = unpinned_labels(answers_to(classifier, texts))
        candidates = sorted(dict.fromkeys(samples), key=len)[: CANDIDATES * len(unpinned)]
        if candidates:
            texts += tuple(dict.fromkeys(_clearest(candidates, answers_to(classifier, candidates), unpinned)))
    if unpinned:
        added = f"{len(texts) - len(TEXTS)} short texts of yours are added to golden.json"
        say(f"no golden text is clearly {' or '.join(unpinned)}: {added}")
    return ask(bundle, texts, {variant: TOLERANCE[variant] for variant in variants})


def _clearest(texts: Sequence[str], answers: Sequence[Mapping[str, float]], labels: Sequence[str]) -> list[str]:
    """For each label, the text that the model is surest of."""
    return [max(zip(texts, answers, strict=True), key=lambda pair: pair[1][label])[0] for label in labels]
