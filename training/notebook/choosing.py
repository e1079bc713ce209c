"""What `lr_find` and `compare` return, which help to choose a rate and a model; with a display for notebooks."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from training.comparison.report import PICTURE, table
from training.comparison.results import Comparison
from training.loop.lr_find import RateTest
from training.loop.lr_plot import check_plot, plot_rate_test
from training.notebook.display import frame, note, picture, picture_of


@dataclass(frozen=True, repr=False)
class RateResult:
    """A learning-rate range test."""

    test: RateTest

    @property
    def learning_rate(self) -> float | None:
        """The recommended peak learning rate; None if the test shows none: `test.why_none` says why."""
        return self.test.recommended

    @property
    def curve(self) -> pd.DataFrame:
        """Loss of each step (nats) and its running mean, by learning rate."""
        columns = {"learning_rate": self.test.rates, "loss": self.test.losses, "smoothed": self.test.smoothed}
        return pd.DataFrame(columns).set_index("learning_rate")

    def save(self, path: str | Path) -> None:
        """Write the plot to `path`: .png, .svg or .pdf.

        Raises:
            UsageError: `path` cannot be written.
        """
        check_plot(Path(path))
        plot_rate_test(self.test, Path(path))

    def __repr__(self) -> str:
        return self.test.as_text()

    def _repr_html_(self) -> str:
        lines = "".join(note(line) for line in self.test.as_text().splitlines())
        return lines + picture(picture_of(lambda path: plot_rate_test(self.test, path)), "loss by learning rate")


@dataclass(frozen=True, repr=False)
class ComparisonResult:
    """Several models on the same rows; `out` holds the table, the picture and the models."""

    comparison: Comparison
    out: Path

    @property
    def results(self) -> pd.DataFrame:
        """One row a model, the most accurate first."""
        rows = [
            {
                "model": each.name,
                "accuracy": each.accuracy,
                "low": each.interval[0],
                "high": each.interval[1],
                "parameters": each.parameters,
                "training_seconds": each.training_seconds,
                "reviews_per_second": each.reviews_per_second,
                "bytes": each.bytes,
            }
            for each in sorted(self.comparison.results, key=lambda each: -each.accuracy)
        ]
        return pd.DataFrame(rows).set_index("model")

    def __repr__(self) -> str:
        return table(self.comparison)

    def _repr_html_(self) -> str:
        image = self.out / PICTURE
        trained = f"trained on {self.comparison.train.rows} rows of {self.comparison.train.file}"
        shares = dict.fromkeys(("accuracy", "low", "high"), "{:.2%}")
        shown = self.results.style.format({**shares, "parameters": "{:,}", "bytes": "{:,}"}, precision=1, na_rep="-")
        return "".join(
            (
                note(f"{trained}, measured on {self.comparison.measured_on.replace('`', '')}"),
                note("low, high: 95 % interval of the accuracy"),
                frame(shown),
                picture(image.read_bytes(), "accuracy, size and speed of each model") if image.is_file() else "",
            )
        )
