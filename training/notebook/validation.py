"""What a cross-validation returns: figures as attributes, tables as data frames, and a display for notebooks."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from training.cross_validation.results import PREDICTIONS, table
from training.notebook.display import frame, note
from training.packaging.record import FoldsRecord


@dataclass(frozen=True, repr=False)
class FoldsResult:
    """A cross-validation; `record` has everything, and `directory` the files."""

    record: FoldsRecord
    directory: Path

    @property
    def accuracy(self) -> float:
        """Share of the out-of-fold answers that are right, 0 to 1."""
        return self.record.pooled_accuracy

    @property
    def interval(self) -> tuple[float, float]:
        """95 % Wilson interval of the accuracy."""
        return self.record.interval

    @property
    def rows(self) -> int:
        """Reviews that were measured, each once."""
        return self.record.rows

    @property
    def log_loss(self) -> float:
        """Of the out-of-fold answers, in nats."""
        return self.record.pooled_log_loss

    @property
    def table(self) -> pd.DataFrame:
        """One row a fold; `table.accuracy.mean()` and `.std()` are the figures over the folds."""
        columns = ["fold", "train_rows", "rows", "accuracy", "log_loss"]
        rows = [each.model_dump(include=set(columns)) for each in self.record.folds]
        return pd.DataFrame(rows, columns=columns).set_index("fold")

    @property
    def predictions(self) -> pd.DataFrame:
        """One row a review, without its text: its row in the file, digest, fold, truth and probabilities."""
        return pd.read_csv(self.directory / PREDICTIONS, dtype={"digest": str, "truth": str, "predicted": str})

    def __repr__(self) -> str:
        return table(self.record)

    def _repr_html_(self) -> str:
        over, (low, high) = self.record, self.interval
        shown = self.table.style.format({"accuracy": "{:.2%}", "log_loss": "{:.4f}"}, escape="html")
        return "".join(
            (
                note(
                    f"{len(over.folds)} folds: accuracy {over.accuracy.mean:.2%} +- {over.accuracy.std:.2%}, log loss "
                    f"{over.log_loss.mean:.4f} +- {over.log_loss.std:.4f} (mean and standard deviation)"
                ),
                frame(shown),
                note(
                    f"out-of-fold answers to {self.rows} reviews: accuracy {self.accuracy:.2%} (95 % interval "
                    f"{low:.2%} to {high:.2%}), log loss {self.log_loss:.4f}"
                ),
            )
        )
