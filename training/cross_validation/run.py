"""`review-training fit --folds`: a model for each fold, measured on its rows, and then one of all rows."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from consumer.errors import UsageError
from training.cross_validation.dealing import deal, without
from training.cross_validation.results import (
    FoldAnswers,
    OutOfFold,
    pooled,
    read_fold,
    results_directory,
    summary,
    write_end,
    write_fold,
    write_results,
)
from training.data.prepare import Prepared, prepare, read_and_report, unrepeated
from training.data.reviews import Reviews
from training.encoders.base import Base, find_base, local_directory, quiet_transformers
from training.encoders.parallel import LOCK, started_by_torchrun, the_only_run
from training.fine_tuning import fit_prepared
from training.io.output import storing
from training.io.progress import say
from training.measure.evaluate import Answer, evaluate
from training.measure.gate import FALLBACK, FAST, REFERENCE, Judged, Measured
from training.measure.kept_answers import rows_sha256
from training.packaging.record import BUNDLE_RECORD, FoldRecord, FoldsRecord, RunRecord
from training.plan import Job, Made, Validated
from training.settings import FitSettings

#: Bytes that a fold needs while it runs, in weights of its base: checkpoint, and the bundle while it is measured.
SPACE = 6


@dataclass(frozen=True)
class Folds:
    """How many folds, and whether the run ends with the report, without a final model."""

    count: int
    only: bool = False


class Outcome(NamedTuple):
    """The figures of the folds and the directory that holds them, and the final model, if it was asked for."""

    record: FoldsRecord
    directory: Path
    made: Made | None


def fit_in_folds(
    train_file: Path, test_file: Path | None, base_name: str, settings: FitSettings, job: Job, *, folds: Folds
) -> Outcome:
    """Cross-validate `fit` on all rows of `train_file`, then fit on all of them.

    With `test_file`, this measures the final model, and texts that it shares with `train_file` are in no fold. Without
    it, the out-of-fold answers do: they are those of models made in the same way.

    Args:
        train_file: see `training.fine_tuning.fit`.
        test_file: see `training.fine_tuning.fit`.
        base_name: see `training.fine_tuning.fit`.
        settings: see `training.fine_tuning.fit`.
        job: see `training.fine_tuning.fit`.
        folds: how many.

    Raises:
        UsageError: as `fit`; or there cannot be so many folds, or finished ones are of another run.
        GaveUp: the state of the run cannot be written any more.
        training.loop.run.Interrupted: SIGINT came, or SIGTERM while training; finished folds are kept.
    """
    _check(folds, job, test_file)
    quiet_transformers()
    directory = results_directory(job.out)
    read = [("--train", train_file), ("--test", test_file), ("--base", local_directory(base_name))]
    job.check([("--out", directory)], read)
    if test_file:
        prepared = prepare(train_file, test_file, job.data_options, say)
    else:
        everything = unrepeated(read_and_report(train_file, say, job.data_options), say)
        prepared = Prepared(everything, everything)
    base = find_base(base_name)
    with the_only_run("--checkpoints", job.directory):
        record, measured = _validate(prepared.train, base, settings, job, folds.count)
        write_results(directory, record, measured)
        write_end(job.directory, only=folds.only)
    say(pooled(record))
    say(f"{directory}: figures and out-of-fold answers, without texts")
    if folds.only:
        return Outcome(record, directory, None)
    say(f"final model: trained on the rows of all {folds.count} folds")
    judged = None if test_file else _judged(record, measured, job)
    made = fit_prepared(prepared, base, settings, job, Validated(record, judged))
    return Outcome(record, directory, made)


def _check(folds: Folds, job: Job, test_file: Path | None) -> None:
    if folds.count < 2:
        raise UsageError(f"--folds {folds.count}: at least 2 are needed, one to measure on and one to train on")
    if started_by_torchrun():
        raise UsageError("--folds runs in one process: start it without torchrun")
    if job.packaging.test_rows is not None and test_file is None:
        raise UsageError("--test-rows needs --test: with --folds alone, all rows of --train measure the model")


def _validate(
    reviews: Reviews, base: Base, settings: FitSettings, job: Job, count: int
) -> tuple[FoldsRecord, OutOfFold]:
    """The figures of all folds, and the answers in them."""
    dealt = deal(reviews, count, settings.seed, job.data_options.near)
    places = [job.directory / f"fold-{fold}" for fold in range(1, count + 1)]
    for place in places:
        if place.exists() and not (place / LOCK).exists():
            raise UsageError(f"{place} is not of this run: name another directory with --checkpoints")
    space = SPACE * (base.directory / "model.safetensors").stat().st_size / 1e6
    say(f"{count} folds; each needs up to {space:,.0f} MB in {job.directory} while it runs, and is then removed")
    done: list[FoldAnswers] = []
    for fold, (rows, place) in enumerate(zip(dealt, places, strict=True), 1):
        part = Prepared(without(reviews, rows), reviews.only(rows))
        kept, identity = place.with_suffix(".json"), _identity(part, base, settings, job, count)
        found = read_fold(kept, identity)
        if found is None:
            say(f"fold {fold} of {count}: {len(part.train)} rows to train on, {len(rows)} to measure on")
            record, answers = _fold(fold, part, base, settings, replace(job, out=place / "bundle", checkpoints=place))
            found = FoldAnswers(identity=identity, record=record, answers=[each and dict(each) for each in answers])
            write_fold(kept, found)
        with storing(place):  # what a fold needs no more; maybe left by a kill
            shutil.rmtree(place, ignore_errors=True)
        done.append(found)
        say(f"fold {fold} of {count}: {_progress(done, count)}")
    of_row = {
        row: (found.record.fold, answer)
        for rows, found in zip(dealt, done, strict=True)
        for row, answer in zip(rows, found.answers, strict=True)
    }
    in_order = [of_row[row] for row in range(len(reviews))]
    measured = OutOfFold(reviews, [fold for fold, _ in in_order], [answer for _, answer in in_order])
    seen = evaluate(measured.answers, reviews.labels, reviews.label_names)
    return summary([found.record for found in done], seen), measured


def _identity(part: Prepared, base: Base, settings: FitSettings, job: Job, count: int) -> dict[str, object]:
    """What the answers of a fold depend on."""
    packaging = job.packaging.model_dump(mode="json", include={"max_int8_drop", "gate_rows", "calibration_texts"})
    return {
        "folds": count,
        "base_sha256": base.sha256,
        "train_rows_sha256": rows_sha256(part.train.texts, part.train.labels),
        "test_rows_sha256": rows_sha256(part.test.texts, part.test.labels),
        "settings": settings.identity() | {"max_length": settings.max_length} | packaging,
    }


def _fold(
    fold: int, part: Prepared, base: Base, settings: FitSettings, job: Job
) -> tuple[FoldRecord, Sequence[Answer]]:
    """Fit on the training rows of `part` and measure on the others, as the worker would answer."""
    packaging = job.packaging.model_copy(update={"name": f"fold-{fold}", "keep": (FAST,), "test_rows": None})
    made = fit_prepared(part, base, settings, replace(job, packaging=packaging, report_to="none"))
    if made is None:
        raise UsageError("--folds runs in one process: start it without torchrun")
    told = RunRecord.model_validate_json((job.out / BUNDLE_RECORD).read_bytes())
    reference, fast = (told.metrics[name] for name in (REFERENCE, f"{FAST}, on the rows of {REFERENCE}"))
    return FoldRecord(
        fold=fold,
        train_rows=told.data["train"].rows,
        rows=made.evaluation.rows,
        accuracy=made.evaluation.accuracy,
        log_loss=made.evaluation.log_loss,
        served=made.manifest.served,
        gate_rows=reference["rows"],
        fp32=reference["accuracy"],
        int8=fast["accuracy"],
        training_seconds=told.training_seconds,
    ), made.measured.answers


def _progress(done: Sequence[FoldAnswers], count: int) -> str:
    """How the last fold did, and how long training will take from here."""
    last = done[-1].record
    line = f"accuracy {last.accuracy:.2%}, log loss {last.log_loss:.4f}"
    if left := count - len(done):
        minutes = left * sum(each.record.training_seconds for each in done) / len(done) / 60
        line += f"; about {minutes:.0f} min of training left for {left} more"
    return line


def _judged(record: FoldsRecord, measured: OutOfFold, job: Job) -> Judged:
    """The variant that the final model serves, by the gate rows of all folds, and the answers that measure it."""
    rows = sum(fold.gate_rows for fold in record.folds)
    reference, fast = (
        sum(getattr(fold, name) * fold.gate_rows for fold in record.folds) / rows for name in (REFERENCE, FAST)
    )
    lost = round(100 * (reference - fast), 6)
    served = FAST if lost <= job.packaging.max_int8_drop else FALLBACK
    say(
        f"int8 gate on {rows} rows of all folds: fp32 {reference:.2%}, int8 {fast:.2%}: {lost:.2f} points lost, "
        f"{job.packaging.max_int8_drop:.2f} allowed, so {served} is served"
    )
    return Judged(served, {served: Measured(measured.answers, measured.reviews.labels)})
