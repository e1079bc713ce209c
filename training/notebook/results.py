"""What `fit` and `evaluate` return: figures as attributes, tables as data frames, and a display for notebooks."""

from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd

from consumer.errors import UsageError
from consumer.model.bundle.manifest import Manifest
from training.cross_validation.results import results_directory
from training.measure.evaluate import Evaluation, as_text
from training.measure.reports.report import Report
from training.notebook.display import confusion_frame, frame, heading, note, picture
from training.notebook.validation import FoldsResult
from training.packaging.curve_plot import PICTURE
from training.packaging.record import BUNDLE_RECORD, RunRecord
from training.plan import Made
from training.predictor import Predictor


class _Measured:
    """The figures of an evaluation as attributes."""

    evaluation: Evaluation

    @property
    def accuracy(self) -> float:
        """Share of right labels, 0 to 1."""
        return self.evaluation.accuracy

    @property
    def interval(self) -> tuple[float, float]:
        """95 % Wilson interval of the accuracy."""
        return self.evaluation.interval

    @property
    def rows(self) -> int:
        """Reviews that were measured."""
        return self.evaluation.rows

    @property
    def confusion(self) -> pd.DataFrame:
        """Rows by true label (index) and predicted label (columns)."""
        return confusion_frame(self.evaluation.confusion)


@dataclass(frozen=True, repr=False)
class FitResult(_Measured):
    """A bundle that was made, and how good its served variant is."""

    bundle: Path
    manifest: Manifest
    evaluation: Evaluation

    @classmethod
    def of(cls, bundle: Path, made: Made | None) -> "FitResult":
        """Of what was `made` in the directory `bundle`.

        Raises:
            UsageError: this is a process of torchrun after the first, which has no result.
        """
        if made is None:
            raise UsageError("a process of torchrun after the first has no result: use review-training fit there")
        return cls(bundle, made.manifest, made.evaluation)

    @cached_property
    def record(self) -> RunRecord:
        """What the bundle was made from and how: its run.json."""
        return RunRecord.model_validate_json((self.bundle / BUNDLE_RECORD).read_bytes())

    @property
    def held_out_share(self) -> float | None:
        """Share of the training file that measured; None if another file did."""
        share: float | None = self.record.data_options.get("test_share")
        return share

    @property
    def folds(self) -> FoldsResult | None:
        """The cross-validation before the final model; None without `folds`."""
        found = self.record.folds
        return FoldsResult(found, results_directory(self.bundle)) if found else None

    @property
    def curve(self) -> pd.DataFrame:
        """Training loss (nats) and learning rate by step; a point may be the mean of several steps."""
        points = [asdict(point) for point in self.record.curve]
        return pd.DataFrame(points, columns=["step", "loss", "learning_rate"]).set_index("step")

    @property
    def epochs(self) -> pd.DataFrame:
        """One row an epoch: training loss, and what was measured on the validation rows, if there are any."""
        rows = [
            {"epoch": each.epoch, "step": each.step, "training_loss": each.train_loss, "seconds": each.seconds}
            | (
                {f"validation_{name}": value for name, value in asdict(each.validation).items()}
                if each.validation
                else {}
            )
            for each in self.record.epochs
        ]
        return pd.DataFrame(rows).set_index("epoch")

    @property
    def variants(self) -> pd.DataFrame:
        """Accuracy of each precision variant that was measured, and on how many rows."""
        measured = {name: each.accuracy for name, each in self.manifest.variants.items()} | self.manifest.measured_only
        rows = [
            {"variant": name, "accuracy": each.accuracy, "rows": each.rows, "served": name == self.manifest.served}
            for name, each in measured.items()
            if each
        ]
        return pd.DataFrame(rows).set_index("variant")

    def predictor(self, variant: str | None = None) -> Predictor:
        """The model, loaded from the bundle; close it, or use it as a context manager."""
        return Predictor.load(self.bundle, variant)

    @property
    def measured_on(self) -> str:
        """What measured the accuracy, in words."""
        file = self.record.data["test"].file
        if self.record.measured_by_folds:
            return f"{self.rows} reviews of {file} in folds, each by a model that has not seen it, not this one"
        if self.held_out_share is None:
            return f"{self.rows} reviews of {file}"
        return f"{self.rows} reviews held out of {file}: a share of the training file, not an independent file"

    def __repr__(self) -> str:
        name = f"{self.bundle}: {self.manifest.name} {self.manifest.version}, serves {self.manifest.served}"
        return f"{name}\nmeasured on {self.measured_on}\n{as_text(self.evaluation)}"

    def _repr_html_(self) -> str:
        image = self.bundle / PICTURE
        return "".join(
            (
                heading(f"{self.manifest.name} {self.manifest.version}", self.accuracy, self.interval),
                note(f"measured on {self.measured_on}; bundle {self.bundle}"),
                note(self.evaluation.warning or ""),
                frame(self.variants.style.format({"accuracy": "{:.2%}"})),
                note("rows: true label, columns: predicted label"),
                frame(self.confusion),
                self.folds._repr_html_() if self.folds else "",
                picture(image.read_bytes(), "training loss and learning rate by step") if image.is_file() else "",
            )
        )


@dataclass(frozen=True, repr=False)
class EvaluationResult(_Measured):
    """How good a bundle is on a file; `report` has everything."""

    report: Report

    @property
    def evaluation(self) -> Evaluation:  # type: ignore[override]
        """Accuracy, log loss and confusion matrix."""
        return self.report.evaluation

    @property
    def measures(self) -> pd.DataFrame:
        """Each figure with its 95 % interval and its meaning, as text."""
        return pd.DataFrame(self.report.rows(), columns=["measure", "value", "interval", "meaning"]).set_index(
            "measure"
        )

    @property
    def top_losses(self) -> pd.DataFrame:
        """The most confident mistakes, with their texts."""
        return pd.DataFrame([asdict(each) for each in self.report.top_losses])

    def __repr__(self) -> str:
        return self.report.as_text()

    def _repr_html_(self) -> str:
        report = self.report
        known = f"{report.name} was trained on {report.file}: these figures say nothing about other texts"
        return "".join(
            (
                heading(f"{report.name} {report.version}, {report.variant}", self.accuracy, self.interval),
                note(f"measured on {self.rows} reviews of {report.file}"),
                note(known if report.known else ""),
                note(self.evaluation.warning or ""),
                frame(self.measures),
                note("rows: true label, columns: predicted label"),
                frame(self.confusion),
            )
        )
