"""Who takes part in the bench, and what each is asked."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from consumer.model.bundle.loading import Bundle
from consumer.model.classifier import Classifier
from consumer.model.engines import open_engine
from consumer.model.labeller import Labeller, Scored
from consumer.model.opening import AnyBundle, open_labeller

#: Labels of texts, in order; None for a text on which it failed.
Run = Callable[[Sequence[str]], list[str | None]]


@dataclass(frozen=True)
class Contestant:
    """An engine in this process.

    Attributes:
        name: for the table.
        run: what is timed.
        answers: which of several ways to compute gives its labels; those that share one are not asked twice.
        is_peer: reads texts that were cleaned for it before.
        reads_all: gains from many texts at once, to sort them; the others get fewer, which takes less time.
        precision: of the limit that it is compared with; None: it computes less than the model does.
    """

    name: str
    run: Run
    answers: str
    is_peer: bool = False
    reads_all: bool = False
    precision: str | None = None


def through(name: str) -> str:
    """A row of the table: the worker that serves a bundle, end to end."""
    return f"this worker, {name}, through Kafka"


def alone(name: str, variant: str) -> str:
    """A row of the table: the classifier of the worker, without Kafka."""
    return f"this worker's classifier, {name}, {variant}"


def own(bundle: Bundle) -> list[Contestant]:
    """The worker's classifier on each variant for OpenVINO, and the served one on one review at a time."""
    found = []
    for variant, facts in bundle.manifest.variants.items():
        if facts.engine != "openvino":
            continue
        classifier = Classifier(bundle, open_engine(bundle, variant))
        classifier.self_check()
        name, run = alone(bundle.manifest.name, variant), labels_of(classifier)
        found.append(Contestant(name, run, name, reads_all=True, precision=facts.compute))
        if variant == bundle.manifest.served:
            found.append(Contestant(f"{name}, one review at a time", _one_by_one(run), name, precision=facts.compute))
    return found


def other(bundle: AnyBundle) -> Contestant:
    """The worker's classifier on what a further bundle serves; a cascade as well."""
    labeller = open_labeller(bundle)
    labeller.self_check()
    name = alone(bundle.manifest.name, labeller.variant)
    return Contestant(name, labels_of(labeller), name, reads_all=True)


def labels_of(labeller: Labeller) -> Run:
    """What `labeller` answers, the labels alone."""

    def run(texts: Sequence[str]) -> list[str | None]:
        return [each.label if isinstance(each, Scored) else None for each in labeller.classify(texts).results]

    return run


def _one_by_one(run: Run) -> Run:
    return lambda texts: [run([text])[0] for text in texts]


def numbered(texts: Sequence[str], first: int = 0) -> list[str]:
    """Texts that differ from all others that this has made: what is equal is computed once, and kept.

    The numbers have the same length, so that all that take part read as many tokens.
    """
    return [f"{text} ({100_000 + first + place})" for place, text in enumerate(texts)]
