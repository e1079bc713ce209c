"""bert and distilbert: the very run of `review-training fit`, on the rows that the other models see."""

import csv
from pathlib import Path

from consumer.errors import UsageError
from training import checkpoint
from training.data import Reviews
from training.evaluate import Evaluation
from training.fit import fit
from training.prepare import DataOptions, Prepared
from training.settings import FitSettings, PackageSettings

ENCODERS = ("bert", "distilbert")


def fit_encoder(
    base: str, data: Prepared, settings: FitSettings, *, near: float, out: Path, checkpoints: Path
) -> tuple[Evaluation, float]:
    """Fine-tune `base` into the bundle `out`, only its served variant kept; goes on where a killed run stopped.

    Returns:
        How the served variant did on all test rows, and the seconds of training, exporting and measuring left out.

    Raises:
        UsageError: torchrun started several processes.
    """
    # `fit` reads files; these hold the rows that are left after cleaning and drawing, so it finds nothing to remove.
    folder = checkpoints.with_suffix(".data")
    folder.mkdir(parents=True, exist_ok=True)
    fitted = fit(
        train_file=write_rows(folder / "train.csv", data.train),
        test_file=write_rows(folder / "test.csv", data.test),
        base_name=base,
        out=out,
        settings=settings,
        packaging=PackageSettings(keep=("int8",)),
        checkpoints=checkpoints,
        # Leaks were looked for before, with the same `near`.
        data_options=DataOptions(near=near, max_overlap=1),
    )
    if fitted is None:
        raise UsageError("compare runs in one process: start it without torchrun")
    _, evaluation = fitted
    header = checkpoint.read_header(checkpoints)
    return evaluation, header[1].seconds if header else 0.0


def write_rows(path: Path, reviews: Reviews) -> Path:
    """A csv file of `reviews`; the same rows give the same bytes, by which a run knows its checkpoint again."""
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, quoting=csv.QUOTE_ALL, lineterminator="\n")
        table.writerow(["Reviews", "Sentiment"])
        table.writerows(zip(reviews.texts, reviews.labels, strict=True))
    return path
