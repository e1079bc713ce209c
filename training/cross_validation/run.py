"""`review-training fit --folds`: a model for each fold, measured on its rows, and then one of all rows."""

import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from consumer.errors import UsageError
from training.cross_validation.dealing import deal, without
from training.cross_validation.results import (
    FoldAnswers,
    OutOfFold,
    figures,
    forget_end,
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
from training.fine_tuning import carry_out, fit_prepared, planned
from training.io.output import storing
from training.io.progress import say
from training.loop.checkpoint import state_of
from training.measure.answering.kept_answers import rows_sha256
from training.measure.evaluate import evaluate
from training.measure.gate import FALLBACK, FAST, REFERENCE, Judged, Measured, decide
from training.packaging.record import BUNDLE_RECORD, FoldsRecord, RunRecord
from training.plan import Job, Made, Validated
from training.settings import FitSettings

#: Bytes that a fold needs while it runs, in weights of its base: two checkpoints with their optimiser, while one takes
#: the place of the other. With --select also the weights of the best epoch, two of them meanwhile.
SPACE, BEST = 6, 2


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
    # Planned before the folds, which take hours, so that whatever it refuses is refused now.
    final = None if folds.only else planned(prepared, base, settings, job)
    with the_only_run("--checkpoints", job.directory):
        if final:
            state_of(final.saving.directory, final.saving.identity)
        record, measured = _validate(prepared.train, base, settings, job, folds.count)
        write_results(directory, record, measured)
        write_end(job.directory, only=folds.only)
    say(pooled(record))
    say(f"{directory}: figures and out-of-fold answers, without texts")
    if final is None:
        return Outcome(record, directory, None)
    say(f"final model: trained on the rows of all {folds.count} folds")
    answered = {record.served: Measured(measured.answers, measured.reviews.labels)}
    judged = None if test_file else Judged(record.served, answered)
    return Outcome(record, directory, carry_out(replace(final, validated=Validated(record, judged))))


def _check(folds: Folds, job: Job, test_file: Path | None) -> None:
    if folds.count < 2:
        raise UsageError(f"--folds {folds.count}: at least 2 are needed, one to measure on and one to train on")
    if started_by_torchrun():
        raise UsageError("--folds runs in one process: start it without torchrun")
    if folds.only and job.report_to != "none":
        raise UsageError(
            f"--report-to {job.report_to} shows the final model, and --folds-only makes none: leave one out"
        )
    if job.packaging.test_rows is not None and test_file is None:
        raise UsageError("--test-rows needs --test: with --folds alone, all rows of --train measure the model")


def _validate(
    reviews: Reviews, base: Base, settings: FitSettings, job: Job, count: int
) -> tuple[FoldsRecord, OutOfFold]:
    """The figures of all folds, and the answers in them."""
    dealt = deal(reviews, count, settings.seed, job.data_options.near)
    places = [job.directory / f"fold-{fold}" for fold in range(1, count + 1)]
    for place in places:
        if place.exists() and any(place.iterdir()) and not (place / LOCK).exists():
            raise UsageError(f"{place} is not of this run: name another directory with --checkpoints")
    copies = SPACE + (BEST if settings.select != "none" else 0)
    space = copies * (base.directory / "model.safetensors").stat().st_size / 1e6
    say(f"{count} folds; each needs up to {space:,.0f} MB in {job.directory} while it runs, and is then removed")
    parts = [Prepared(without(reviews, rows), reviews.only(rows)) for rows in dealt]
    done: list[FoldAnswers] = []
    for fold, (part, place) in enumerate(zip(parts, places, strict=True), 1):
        kept, identity = place.with_suffix(".json"), _identity(part, base, settings, job, count)
        found = read_fold(kept, identity)
        if found is None:
            forget_end(job.directory)
            say(f"fold {fold} of {count}: {len(part.train)} rows to train on, {len(part.test)} to measure on")
            job_of_fold = replace(job, out=place / "bundle", checkpoints=place)
            found = _answers(fold, part, base, settings, job_of_fold, identity=identity)
            write_fold(kept, found)
        _clear(place)  # what a fold needs no more; maybe left by a kill
        done.append(found)
        say(f"fold {fold} of {count}: {_progress(part, done, count)}")
    served = _served(done, job)
    records = [
        figures(fold, found, part.test, reviews.label_names, served)
        for fold, (part, found) in enumerate(zip(parts, done, strict=True), 1)
    ]
    of_row = {
        row: (fold, answer)
        for fold, (rows, found) in enumerate(zip(dealt, done, strict=True), 1)
        for row, answer in zip(rows, found.answers[served], strict=True)
    }
    in_order = [of_row[row] for row in range(len(reviews))]
    measured = OutOfFold(reviews, [fold for fold, _ in in_order], [answer for _, answer in in_order])
    seen = evaluate(measured.answers, reviews.labels, reviews.label_names)
    return summary(records, seen, served), measured


def _clear(place: Path) -> None:
    """Remove the directory of a fold; its lock last, by which a start after a kill knows it again."""
    with storing(place):
        for path in sorted(place.iterdir() if place.exists() else (), key=lambda path: path.name == LOCK):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
        with suppress(FileNotFoundError):
            place.rmdir()


def _identity(part: Prepared, base: Base, settings: FitSettings, job: Job, count: int) -> dict[str, object]:
    """What the answers of a fold depend on."""
    packaging = job.packaging.model_dump(mode="json", include={"max_int8_drop", "gate_rows", "calibration_texts"})
    return {
        "folds": count,
        "base_sha256": base.sha256,
        "tokenizer_sha256": base.tokenizer_sha256,
        "near": job.data_options.near,
        "train_rows_sha256": rows_sha256(part.train.texts, part.train.labels),
        "test_rows_sha256": rows_sha256(part.test.texts, part.test.labels),
        "settings": settings.identity() | {"max_length": settings.max_length} | packaging,
    }


def _answers(
    fold: int, part: Prepared, base: Base, settings: FitSettings, job: Job, *, identity: dict[str, object]
) -> FoldAnswers:
    """Fit on the training rows of `part`, and ask about the others, as the worker would answer.

    Both variants that may be served are asked; one is chosen for all folds in the end. If each fold chose by its own
    rows, the better variant would count in each.
    """
    packaging = job.packaging.model_copy(update={"name": f"fold-{fold}", "keep": (FAST,), "test_rows": None})
    made = fit_prepared(part, base, settings, replace(job, packaging=packaging, report_to="none", ask_both=True))
    if made is None:
        raise AssertionError("`_check` lets a single process through, which makes the bundle")
    told = RunRecord.model_validate_json((job.out / BUNDLE_RECORD).read_bytes())
    reference, fast = (told.metrics[name] for name in (REFERENCE, f"{FAST}, on the rows of {REFERENCE}"))
    return FoldAnswers(
        identity=identity,
        train_rows=told.data["train"].rows,
        gate_rows=reference["rows"],
        fp32=reference["accuracy"],
        int8=fast["accuracy"],
        training_seconds=told.training_seconds,
        answers={name: [each and dict(each) for each in made.measured[name].answers] for name in (FAST, FALLBACK)},
    )


def _progress(part: Prepared, done: Sequence[FoldAnswers], count: int) -> str:
    """How the last fold did, and how long training will take from here."""
    last = figures(len(done), done[-1], part.test, part.train.label_names, FAST)
    line = f"accuracy {last.accuracy:.2%}, log loss {last.log_loss:.4f}"
    if left := count - len(done):
        minutes = left * sum(each.training_seconds for each in done) / len(done) / 60
        line += f"; about {minutes:.0f} min of training left for {left} more"
    return line


def _served(done: Sequence[FoldAnswers], job: Job) -> str:
    """The variant that is measured, and served for want of a test file, by the gate rows of all folds."""
    rows = sum(fold.gate_rows for fold in done)
    reference, fast = (sum(getattr(fold, name) * fold.gate_rows for fold in done) / rows for name in (REFERENCE, FAST))
    return decide(f"{rows} rows of all folds", reference, fast, job.packaging, "counts")
