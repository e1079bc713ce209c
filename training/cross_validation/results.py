"""What came of a cross-validation: a file for each finished fold, and at the end the figures and the answers of all."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from consumer.errors import UsageError
from training.data.duplicates import digests
from training.data.reviews import Reviews
from training.io.output import whole
from training.loop.checkpoint import differences
from training.measure.evaluate import Answer, Evaluation, evaluate
from training.packaging.record import FoldRecord, FoldsRecord, Spread

#: In OUT.folds.
FOLDS, PREDICTIONS = "folds.json", "predictions.csv"

#: Beside the finished folds, in the directory of the run.
END = "folds-end.json"


def results_directory(out: Path) -> Path:
    """Where the figures and the out-of-fold answers of a run with the bundle `out` go."""
    return out.with_name(f"{out.name}.folds")


class FoldAnswers(BaseModel):
    """A finished fold: which run it is of, and what its model answered to the rows of the fold.

    `answers` are the probabilities that each variant gave, by its name, in the order of the rows. Beside them the
    accuracy of `fp32` and `int8` on the same `gate_rows`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    identity: dict[str, Any]
    train_rows: int
    gate_rows: int
    fp32: float
    int8: float
    training_seconds: float
    answers: dict[str, list[dict[str, float] | None]]


def read_fold(path: Path, identity: dict[str, Any]) -> FoldAnswers | None:
    """The fold in the file `path`; None if it has not finished.

    Raises:
        UsageError: it is of another run, which may be hours of work and is kept, or damaged.
    """
    try:
        found = FoldAnswers.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        raise UsageError(f"{path} cannot be read: remove it to train this fold again") from error
    if found.identity != identity:
        raise UsageError(
            f"the fold in {path} is of a run with another {', '.join(differences(found.identity, identity))}: give the "
            "same files and settings again, remove that directory, or name another one with --checkpoints"
        )
    return found


def write_fold(path: Path, fold: FoldAnswers) -> None:
    """Write `fold` to the file `path`, whole or not at all."""
    with whole(path) as partial:
        partial.write_text(fold.model_dump_json() + "\n", encoding="utf-8")


def figures(number: int, fold: FoldAnswers, rows: Reviews, labels: Sequence[str], variant: str) -> FoldRecord:
    """The figures of fold `number`, whose `rows` `variant` answered; `labels` are those of the model."""
    seen = evaluate(fold.answers[variant], rows.labels, labels)
    return FoldRecord(
        fold=number,
        train_rows=fold.train_rows,
        rows=seen.rows,
        accuracy=seen.accuracy,
        log_loss=seen.log_loss,
        gate_rows=fold.gate_rows,
        fp32=fold.fp32,
        int8=fold.int8,
        training_seconds=fold.training_seconds,
    )


def summary(folds: Sequence[FoldRecord], seen: Evaluation, served: str) -> FoldsRecord:
    """The figures over all `folds`; `seen` are those of all their answers, by the variant `served`."""
    return FoldsRecord(
        folds=tuple(folds),
        served=served,
        accuracy=_spread([fold.accuracy for fold in folds]),
        log_loss=_spread([fold.log_loss for fold in folds]),
        rows=seen.rows,
        pooled_accuracy=seen.accuracy,
        interval=seen.interval,
        pooled_log_loss=seen.log_loss,
    )


def _spread(values: Sequence[float]) -> Spread:
    return Spread(mean=float(np.mean(values)), std=float(np.std(values, ddof=1)))


def table(record: FoldsRecord) -> str:
    """One line a fold, the mean over them, and the figures of all answers."""
    lines = [f"{'fold':>8}  {'trained on':>10}  {'measured on':>11}  {'accuracy':>8}  {'log loss':>8}"]
    lines += [
        f"{fold.fold:>8}  {fold.train_rows:>10}  {fold.rows:>11}  {fold.accuracy:>8.2%}  {fold.log_loss:>8.4f}"
        for fold in record.folds
    ]
    for name in ("mean", "std"):
        accuracy, loss = getattr(record.accuracy, name), getattr(record.log_loss, name)
        lines.append(f"{name:>8}  {'':>10}  {'':>11}  {accuracy:>8.2%}  {loss:>8.4f}")
    return "\n".join([*lines, pooled(record)])


def pooled(record: FoldsRecord) -> str:
    """The figures of all answers, as one line."""
    low, high = record.interval
    return (
        f"out of fold, {record.served}: accuracy {record.pooled_accuracy:.2%} (95 % interval {low:.2%} to {high:.2%}), "
        f"log loss {record.pooled_log_loss:.4f} on {record.rows} reviews, each answered by a model that has not seen it"
    )


class OutOfFold(NamedTuple):
    """What was measured: rows, and for each of them the number of its fold and the answer that it got there."""

    reviews: Reviews
    folds: list[int]
    answers: list[Answer]


def write_results(directory: Path, record: FoldsRecord, measured: OutOfFold) -> None:
    """Write the figures and the answers into `directory`; no text is in them.

    Raises:
        GaveUp: they cannot be written, for example because the disk is full.
    """
    reviews = measured.reviews
    labels = reviews.label_names
    with whole(directory / PREDICTIONS) as partial, partial.open("w", encoding="utf-8", newline="") as file:
        out = csv.writer(file)
        out.writerow(["row", "digest", "fold", "truth", "predicted", *(f"probability_{label}" for label in labels)])
        rows = zip(digests(reviews.texts).tolist(), measured.folds, reviews.labels, measured.answers, strict=True)
        for row, (digest, fold, truth, answer) in enumerate(rows):
            place = reviews.places[row] if reviews.places else row + 1
            predicted = max(answer, key=answer.__getitem__) if answer else ""
            probabilities = [answer[label] if answer else "" for label in labels]
            out.writerow([place, f"{digest:016x}", fold, truth, predicted, *probabilities])
    told = {"format": 1, "file": reviews.path.name, "sha256": reviews.sha256} | record.model_dump(mode="json")
    _write_json(directory / FOLDS, told)


def forget_end(directory: Path) -> None:
    """A fold is about to be trained in the `directory` of a run: it is not finished any more."""
    (directory / END).unlink(missing_ok=True)


def write_end(directory: Path, *, only: bool) -> None:
    """Note in the `directory` of a run that all its folds are finished; `only`: no final model follows."""
    _write_json(directory / END, {"only": only})


def ended_with_folds(directory: Path) -> bool:
    """Whether the run in `directory` is finished without a final model."""
    try:
        told = json.loads((directory / END).read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(told, dict) and told.get("only") is True


def has_unfinished_folds(directory: Path) -> bool:
    """Whether a cross-validation in the `directory` of a run has not come to its end."""
    return any(directory.glob("fold-*")) and not (directory / END).exists()


def _write_json(path: Path, told: dict[str, Any]) -> None:
    with whole(path) as partial:
        partial.write_text(json.dumps(told, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
