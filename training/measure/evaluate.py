"""The accuracy of a model, measured through the worker's own classifier: what is reported is what is served."""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import NormalDist
from typing import Any

from consumer.errors import UsageError
from consumer.model.cascade.bundle import load
from consumer.model.cascade.labeller import Cascade
from consumer.model.classifier import Classifier
from consumer.model.labeller import Scored
from consumer.model.opening import open_labeller
from training.data.reviews import Reviews
from training.io.progress import ProgressBar
from training.measure.answering.kept_answers import KeptAnswers

#: Reviews passed to the classifier at once; it sorts them by length and cuts them into batches itself.
CHUNK = 256

#: Probabilities below this count as this in the log loss, which a single 0 would make infinite.
LEAST_PROBABILITY = 1e-12

#: Probability of each label for one text; None if the classifier failed on it.
Answer = Mapping[str, float] | None


@dataclass(frozen=True)
class Evaluation:
    """Measured on `rows` reviews.

    `interval` is the 95 % Wilson interval of the accuracy; `majority` is the most frequent label of the rows, and
    `majority_accuracy` the accuracy of a model that always answers that; `log_loss` is in nats, over the rows with an
    answer; `confusion[true][predicted]` counts rows; `failed` rows got no answer and count as wrong.
    """

    rows: int
    accuracy: float
    interval: tuple[float, float]
    majority: str
    majority_accuracy: float
    log_loss: float
    confusion: dict[str, dict[str, int]]
    failed: int

    def as_json(self) -> dict[str, Any]:
        """The fields, ready for `json.dumps`."""
        return asdict(self)

    @property
    def warning(self) -> str | None:
        """What to say of a model that is not measurably better than its majority label; None if it is better."""
        if self.interval[0] > self.majority_accuracy:
            return None
        return f"WARNING: not measurably better than always answering {self.majority} ({self.majority_accuracy:.2%})"


@contextmanager
def open_classifier(bundle: Path, variant: str | None) -> Iterator[Classifier | Cascade]:
    """The worker's own classifier on one variant of `bundle`, which may be a cascade; None: the served one."""
    with closing(open_labeller(load(bundle), variant)) as classifier:
        yield classifier


def check_known_labels(reviews: Reviews, labels: Sequence[str]) -> None:
    """Check that a bundle that knows `labels` can be measured on `reviews`.

    Raises:
        UsageError: they have labels that the bundle does not know.
    """
    if unknown := sorted(set(reviews.labels) - set(labels)):
        raise UsageError(
            f"{reviews.path} has the labels {', '.join(unknown)}; the bundle knows {', '.join(labels)}: rename them"
        )


def score_all(
    classifier: Classifier | Cascade, texts: Sequence[str], title: str, keep: Path | None = None
) -> list[Scored | None]:
    """The answer of the classifier to each text, in order, with a progress bar; None if it failed.

    With `keep`, a directory, answers are kept there, and those that are there already are not computed again.
    """
    kept = KeptAnswers(keep, classifier.bundle, classifier.variant, texts) if keep else None
    answers = kept.read(CHUNK, len(texts)) if kept else []
    with ProgressBar(title, len(texts), len(answers)) as bar:
        for start in range(len(answers), len(texts), CHUNK):
            new = score(classifier, texts[start : start + CHUNK])
            if kept:
                kept.append(new)
            answers += new
            bar.update(len(answers))
    return answers


def score(classifier: Classifier | Cascade, texts: Sequence[str]) -> list[Scored | None]:
    """The answer of the classifier to each of a few texts; None if it failed."""
    return [result if isinstance(result, Scored) else None for result in classifier.classify(texts).results]


def classify_all(
    classifier: Classifier | Cascade, texts: Sequence[str], title: str, keep: Path | None = None
) -> list[Answer]:
    """Probabilities of each label for every text, as `score_all`."""
    return probabilities_of(score_all(classifier, texts, title, keep))


def probabilities_of(scored: Sequence[Scored | None]) -> list[Answer]:
    """The probabilities alone."""
    return [each.probabilities if each else None for each in scored]


def evaluate(answers: Sequence[Answer], truth: Sequence[str], labels: Sequence[str]) -> Evaluation:
    """Compare `answers` with `truth`; `labels` are those of the model."""
    confusion = {true: dict.fromkeys(labels, 0) for true in labels}
    losses: list[float] = []
    for answer, true in zip(answers, truth, strict=True):
        if answer is not None:
            confusion[true][max(answer, key=answer.__getitem__)] += 1
            losses.append(-math.log(max(answer[true], LEAST_PROBABILITY)))
    right = sum(confusion[label][label] for label in labels)
    majority = max(labels, key=list(truth).count)
    return Evaluation(
        rows=len(truth),
        accuracy=right / len(truth),
        interval=wilson_interval(right, len(truth)),
        majority=majority,
        majority_accuracy=list(truth).count(majority) / len(truth),
        log_loss=sum(losses) / max(len(losses), 1),
        confusion=confusion,
        failed=len(truth) - len(losses),
    )


def wilson_interval(right: int, rows: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson score interval of the share `right / rows`; unlike the normal one it is sound near 0 and 1."""
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share, spread = right / rows, z * z / rows
    half = z * math.sqrt(share * (1 - share) / rows + spread / (4 * rows))
    centre = share + spread / 2
    return max(0.0, (centre - half) / (1 + spread)), min(1.0, (centre + half) / (1 + spread))


def as_text(evaluation: Evaluation) -> str:
    """A few lines for people."""
    low, high = evaluation.interval
    lines = [
        f"accuracy {evaluation.accuracy:.2%} (95 % interval {low:.2%} to {high:.2%}) on {evaluation.rows} reviews",
        f"always answering {evaluation.majority}: {evaluation.majority_accuracy:.2%}",
        f"log loss {evaluation.log_loss:.4f}; {evaluation.failed} without an answer",
    ]
    lines += [evaluation.warning] if evaluation.warning else []
    return "\n".join(lines + confusion_lines(evaluation.confusion))


def confusion_lines(confusion: Mapping[str, Mapping[str, int]]) -> list[str]:
    """The confusion matrix as lines of text, one for each true label."""
    width = max(len(name) for name in confusion) + 2
    return ["truth".ljust(width) + "".join(f"-> {name}".rjust(width + 4) for name in confusion)] + [
        true.ljust(width) + "".join(str(count).rjust(width + 4) for count in row.values())
        for true, row in confusion.items()
    ]
