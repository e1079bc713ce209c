"""The evaluation of a bundle on a file: figures, calibration, slices and top losses, as JSON and as text."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from consumer.model.bundle.loading import Bundle
from consumer.model.bundle.manifest import Calibration
from consumer.model.cascade.bundle import load, models
from training.data.prepare import DEFAULTS, DataOptions, prepare_test
from training.data.reviews import draw
from training.io.progress import say
from training.io.terminal import printable
from training.measure.answering.answers import Answers, Bin, as_arrays, reliability
from training.measure.curves.points import ReadingCurve
from training.measure.curves.reading_curve import measure_readings, single_model
from training.measure.evaluate import (
    Evaluation,
    check_known_labels,
    confusion_lines,
    evaluate,
    open_classifier,
    probabilities_of,
    score_all,
)
from training.measure.metrics import Metric, Metrics, measure
from training.measure.slices import Loss, Slice, mostly_unknown, slices, top_losses

#: Characters of a top loss shown on the terminal; HTML and JSON have the whole text.
EXCERPT = 300

#: Draws the rows of --limit: the same ones for every bundle, so that two of them can be compared.
LIMIT_SEED = 42

#: Figure: its name, whether it is a share, and its meaning.
FIGURES = {
    "accuracy": ("Accuracy", True, "share of right labels"),
    "f1_macro": ("F1, macro", True, "mean over the labels of the harmonic mean of precision and recall"),
    "roc_auc": ("ROC-AUC", False, "how often a review of a label is ranked above one that is not; 0.5 is guessing"),
    "log_loss": ("Log loss", False, "mean of -ln of the probability given to the true label; lower is better"),
    "brier": ("Brier score", False, "mean squared error of the probabilities; lower is better"),
    "calibration_error": (
        *("Calibration error", True),
        "root mean square gap between probability and accuracy over 15 bins, without the bias of small files",
    ),
    "unsure": ("Unsure", True, "share of the predictions whose probability is below the threshold of the bundle"),
    "accuracy_of_sure": ("Accuracy of the sure", True, "share of right labels among the other predictions"),
}


@dataclass(frozen=True)
class Report:
    """What was measured, on what, and the results.

    `known`: the bundle was trained on the same file. `calibrated_on`: it was calibrated on it. `drawn`: the file has
    more rows than --limit. `dropped` rows were left out because their text is in the training file. A cascade has no
    `calibration` of its own; its members have. `curve`: accuracy over cost, if it was asked for.
    """

    name: str
    version: str
    digest: str
    variant: str
    file: str
    sha256: str
    known: bool
    calibrated_on: bool
    dropped: int
    drawn: bool
    created: datetime
    calibration: Calibration | None
    evaluation: Evaluation
    metrics: Metrics
    bins: list[Bin]
    slices: list[Slice]
    top_losses: list[Loss]
    curve: ReadingCurve | None = None

    def as_json(self) -> dict[str, Any]:
        """The fields of the evaluation, and beside them everything else, ready for `json.dumps`."""
        calibration = self.calibration and self.calibration.model_dump()
        return self.evaluation.as_json() | {
            "model": {name: getattr(self, name) for name in ("name", "version", "digest", "variant")},
            "data": {
                "file": self.file,
                "sha256": self.sha256,
                "trained_on": self.known,
                "calibrated_on": self.calibrated_on,
            },
            "dropped": self.dropped,
            "created": self.created.isoformat(timespec="seconds"),
            "calibration": calibration,
            "metrics": {name: metric and asdict(metric) for name, metric in self.metrics.overall.items()}
            | {"ece": self.metrics.ece and asdict(self.metrics.ece)},
            "f1": {label: asdict(metric) for label, metric in self.metrics.f1.items()},
            "reliability": [asdict(each) | {"accuracy": each.accuracy} for each in self.bins],
            "slices": [asdict(each) for each in self.slices],
            "top_losses": [asdict(each) for each in self.top_losses],
            **({"reading_curve": self.curve.as_json()} if self.curve else {}),
        }

    def rows(self) -> Iterator[tuple[str, str, str, str]]:
        """Name, value, 95 % interval and meaning of each figure, as text."""
        for key, metric in self.metrics.overall.items():
            name, share, meaning = FIGURES[key]
            yield name, *_shown(metric, share), meaning
            if key == "accuracy":
                seen = self.evaluation
                meaning = f"accuracy of a model that always answers {seen.majority}"
                yield f"Always {seen.majority}", f"{seen.majority_accuracy:.2%}", "", meaning
            if key == "calibration_error" and (ece := self.metrics.ece):
                chance = f"by chance {ece.by_chance:.2%}, up to {ece.chance_limit:.2%}"
                meaning = "mean gap over 15 bins; by chance: what a perfectly calibrated model would show on these rows"
                yield "ECE", f"{ece.value:.2%}", chance, meaning
            if key == "f1_macro":
                for label, of_label in self.metrics.f1.items():
                    yield f"F1, {label}", *_shown(of_label, share=True), f"the same for {label} alone"

    def as_text(self) -> str:
        """What fits a terminal."""
        lines = [f"{self.name} {self.version}, {self.variant}, on {self.evaluation.rows} reviews of {self.file}"]
        if self.dropped:
            lines.append(f"{self.dropped} reviews that occur in the training file were left out")
        if self.evaluation.warning:
            lines.append(self.evaluation.warning)
        lines.append("")
        width = max(len(name) for name, *_ in self.rows())
        lines += [f"{name:<{width}}  {value:>7}  {interval}" for name, value, interval, _ in self.rows()]
        lines += ["", *confusion_lines(self.evaluation.confusion), f"{self.evaluation.failed} without an answer", ""]
        width = max(len(f"{each.by} {each.name}") for each in self.slices) if self.slices else 0
        for each in self.slices:
            low, high = each.interval
            lines.append(
                f"{f'{each.by} {each.name}':<{width}}  {each.rows:>6} rows  {each.accuracy:>7.2%}  "
                f"({low:.2%} to {high:.2%})"
            )
        lines += ["", *self.curve.as_lines()] if self.curve else []
        for loss in self.top_losses:
            head = f"{loss.truth}, but predicted {loss.predicted}: probability of {loss.truth} {loss.probability:.4f}"
            lines += ["", head, printable(" ".join(loss.text.split())[:EXCERPT])]
        return "\n".join(lines)


def evaluate_file(
    bundle: Path,
    file: Path,
    *,
    variant: str | None,
    limit: int | None,
    losses: int,
    train_file: Path | None = None,
    options: DataOptions = DEFAULTS,
    keep: Path | None = None,
    curve_rows: int | None = None,
) -> Report:
    """Measure `variant` (None: the served one) of `bundle` on `limit` rows drawn of `file`, always the same.

    With `train_file`, what the bundle was trained on, the rows are checked for leaks as `options` say. `keep` is
    that of `score_all`. With `curve_rows`, ways of reading are compared on that many of the same rows.

    Raises:
        UsageError: the file cannot be used, has labels that the bundle does not know, or has leaked too much; or ways
            of reading are to be compared for a cascade.
        BundleError: the bundle is refused.
    """
    loaded = load(bundle)
    manifest = loaded.manifest
    single = None if curve_rows is None else single_model(loaded)
    reviews, dropped = prepare_test(file, train_file, options, say)
    check_known_labels(reviews, manifest.labels)
    manifests = [model.manifest for model in models(loaded)]
    known = reviews.sha256 in {part.sha256 for each in manifests for part in each.learnt_from}
    if known:
        say(f"{file} is what {manifest.name} was trained on: these figures say nothing about other texts")
    calibrations = [each.calibration for each in manifests if each.calibration]
    calibrated_on = reviews.sha256 in {each.data.sha256 for each in calibrations}
    if calibrated_on:
        say(f"{manifest.name} was calibrated on {file}: its calibration error and what is unsure were fitted on it")
    usable = len(reviews)
    reviews = draw(reviews, limit, LIMIT_SEED)
    with open_classifier(bundle, variant) as classifier:
        classifier.self_check()
        served = classifier.variant
        scored = score_all(classifier, reviews.texts, "measuring", keep)
    compared = draw(reviews, curve_rows, LIMIT_SEED)
    curve = measure_readings(single, variant, compared, keep) if single else None
    probabilities = probabilities_of(scored)
    threshold = calibrations[0].threshold if calibrations else None  # members of a cascade have the same one
    answers = Answers(*as_arrays(probabilities, reviews.labels, manifest.labels), threshold, mostly_unknown(scored))
    say("resampling for the intervals")
    return Report(
        name=manifest.name,
        version=manifest.version,
        digest=loaded.digest,
        variant=served,
        file=file.name,
        sha256=reviews.sha256,
        known=known,
        calibrated_on=calibrated_on,
        dropped=dropped,
        drawn=len(reviews) < usable,
        created=datetime.now(UTC),
        calibration=loaded.manifest.calibration if isinstance(loaded, Bundle) else None,
        evaluation=evaluate(probabilities, reviews.labels, manifest.labels),
        metrics=measure(answers, manifest.labels),
        bins=reliability(answers),
        slices=slices(scored, reviews, answers),
        top_losses=top_losses(scored, reviews, answers, manifest.labels, losses),
        curve=curve,
    )


def _shown(metric: Metric | None, share: bool) -> tuple[str, str]:
    if metric is None:
        return "-", "no meaning on these rows"
    form = ".2%" if share else ".4f"
    return f"{metric.value:{form}}", f"{metric.low:{form}} to {metric.high:{form}}"
