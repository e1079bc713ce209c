"""One run, of `fit` or `distil`: what is trained on what, and at the end its record and its bundle."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from consumer.model.bundle.manifest import Manifest, Source
from consumer.model.texts.encoder import Encoder
from training.data.prepare import DEFAULTS, DataOptions, Prepared
from training.data.reviews import Reviews
from training.encoders.base import Base, check_length
from training.encoders.device import device_name
from training.encoders.freezing import freeze
from training.encoders.parallel import Ranks
from training.io.output import check_directory
from training.loop.run import Interrupted, Saving
from training.loop.state import Machine, RunState, best_epoch
from training.loop.step import TrainingRows
from training.loop.tensorboard import ReportTo, check_report_to
from training.measure.answering.kept_answers import rows_sha256, texts_sha256
from training.measure.evaluate import Evaluation
from training.measure.gate import Judged, Measured
from training.packaging import record as records
from training.packaging.package import package
from training.packaging.record import RECORD, BaseRecord, DataPart, FoldsRecord, RunRecord
from training.packaging.sealing import check_name, check_outside, check_replaceable
from training.settings import FitSettings, PackageSettings


@dataclass(frozen=True)
class Job:
    """What `fit` and `distil` are both given, next to files and settings.

    Args:
        out: directory of the bundle; an older bundle there is replaced.
        packaging: what determines the bundle.
        checkpoints: directory where the run keeps its state; default: beside `out`, with `.run` added.
        checkpoint_minutes: time between two checkpoints.
        data_options: how the files are read and compared.
        report_to: who else gets the curves while it trains.
        ask_both: ask both variants that may be served about all rows that measure.
    """

    out: Path
    packaging: PackageSettings
    checkpoints: Path | None = None
    checkpoint_minutes: float = 5.0
    data_options: DataOptions = DEFAULTS
    report_to: ReportTo = "none"
    ask_both: bool = False

    @property
    def directory(self) -> Path:
        """Where the run keeps its state."""
        return self.checkpoints or self.out.with_name(f"{self.out.name}.run")

    def check(self, written: Iterable[tuple[str, Path]], read: Iterable[tuple[str, Path | None]]) -> None:
        """Raise `UsageError` if `out` or a directory cannot be written, or a path would be lost when `out` is replaced.

        `written` are further directories of the run, and `read` its inputs, each with its option.
        """
        check_report_to(self.report_to)
        check_replaceable(self.out)
        check_name(self.packaging.name, self.out)
        directories = [("--checkpoints", self.directory), *written]
        for option, directory in directories:
            check_directory(option, directory)
        check_outside("--out", self.out, [*directories, *read])


class Made(NamedTuple):
    """The manifest of a bundle, how its served variant did on all test rows, and what measured variants answered."""

    manifest: Manifest
    evaluation: Evaluation
    measured: Mapping[str, Measured]


class Validated(NamedTuple):
    """The cross-validation of a run; `judged`: it also measures the bundle, for want of a test file."""

    record: FoldsRecord
    judged: Judged | None


class Split(NamedTuple):
    """`data` without the rows held out of its training file: to calibrate on (None: too few), and to validate on."""

    data: Prepared
    calibration: Reviews | None
    validation: Reviews


@dataclass(frozen=True)
class Plan:
    """What is trained on what. A student has `teachers`, and `unlabeled` texts.

    `answers_sha256` is that of the answers in files that it learns from, if there are any.

    `inherited` is what the base and the teachers were trained on, as far as they say. `validated` is the
    cross-validation before the run, if there was one.
    """

    model: Any
    base: Base
    rows: Split
    settings: FitSettings
    job: Job
    inherited: tuple[Source, ...] = ()
    teachers: tuple[BaseRecord, ...] = ()
    unlabeled: Reviews | None = None
    answers_sha256: str | None = None
    validated: Validated | None = None

    @classmethod
    def checked(cls, model: Any, base: Base, rows: Split, settings: FitSettings, job: Job, **more: Any) -> "Plan":
        """The plan for `model`, which gets its frozen layers.

        Raises:
            UsageError: the model reads fewer tokens, or has fewer layers, than `settings` need.
        """
        check_length(model.config, settings.max_length, "--max-length")
        freeze(model, settings.freeze)
        return cls(model, base, rows, settings, job, **more)

    @property
    def encoder(self) -> Encoder:
        """What tokenises texts in training."""
        return Encoder(self.base.tokenizer_json, self.settings.reading)

    def encoded(self, reviews: Reviews) -> TrainingRows:
        """`reviews` as the model reads them in training."""
        return TrainingRows.encode(reviews, self.rows.data.train.label_names, self.encoder)

    @property
    def saving(self) -> Saving:
        """Where the state of the run goes, and which run it is."""
        return Saving(self.job.directory, self.identity(), self.job.checkpoint_minutes * 60)

    def identity(self) -> dict[str, Any]:
        """What distinguishes this run from others.

        The files alone do not: leaks that are left out and rows that are drawn decide which rows are trained on.
        """
        data, validation = self.rows.data, self.rows.validation
        identity = {
            "base_sha256": self.base.sha256,
            "tokenizer_sha256": self.base.tokenizer_sha256,
            "train_sha256": data.train.sha256,
            "test_sha256": data.test.sha256,
            "columns": asdict(data.train.columns),
            "rows": len(data.train),
            "train_rows_sha256": rows_sha256(data.train.texts, data.train.labels),
            "validation_rows_sha256": rows_sha256(validation.texts, validation.labels),
            "labels": list(data.train.label_names),
            "settings": self.settings.identity(),
        }
        if self.teachers:
            identity["teachers"] = [teacher.sha256 for teacher in self.teachers]
        if self.unlabeled:
            identity |= {"unlabeled_sha256": texts_sha256(self.unlabeled.texts)}
        if self.answers_sha256:
            identity |= {"answers_sha256": self.answers_sha256}
        return identity


def conclude(plan: Plan, state: RunState, ranks: Ranks) -> Made | None:
    """Write the record and the bundle of a trained run, in the first process.

    Returns:
        What was made; None in the other processes.

    Raises:
        Interrupted: SIGINT came; the answers that were measured are kept.
    """
    if not ranks.first:
        return None
    record, directory = _record(plan, state, ranks), plan.job.directory
    record.write(directory / RECORD)
    try:
        manifest, evaluations, measured = package(
            plan.model,
            plan.base,
            plan.rows.data,
            plan.rows.calibration,
            settings=plan.settings,
            packaging=plan.job.packaging,
            out=plan.job.out,
            record=record,
            kept=directory / "answers",
            judged=plan.validated.judged if plan.validated else None,
            ask_both=plan.job.ask_both,
        )
    except KeyboardInterrupt:
        raise Interrupted("stopped while the bundle is made; the same command resumes there") from None
    record.measured(evaluations).write(directory / RECORD)
    return Made(manifest, evaluations[manifest.served], measured)


def _record(plan: Plan, state: RunState, ranks: Ranks) -> RunRecord:
    data, settings = plan.rows.data, plan.settings
    parts: dict[DataPart, Reviews | None] = {
        "train": data.train,
        "unlabeled": plan.unlabeled,
        "validation": plan.rows.validation,
        "calibration": plan.rows.calibration,
        "test": data.test,
    }
    sizes = [(parameter.numel(), parameter.requires_grad) for parameter in plan.model.parameters()]
    # A finished run may be packaged on another machine than it was trained on.
    machine = state.machine or Machine(device_name(ranks.device), ranks.size)
    return RunRecord(
        created=datetime.now(UTC),
        settings=settings,
        packaging=plan.job.packaging,
        base=BaseRecord(name=plan.base.name, sha256=plan.base.sha256),
        teachers=plan.teachers,
        data={
            name: Source(file=part.path.name, sha256=part.sha256, rows=len(part))
            for name, part in parts.items()
            if part
        },
        inherited=plan.inherited,
        data_options=asdict(replace(plan.job.data_options, columns=data.train.columns)),
        labels=data.train.label_names,
        versions=records.versions(),
        machine=records.Machine(device=machine.device, precision=state.settled.precision, processes=machine.processes),
        parameters=sum(size for size, _ in sizes),
        trained_parameters=sum(size for size, trained in sizes if trained),
        epochs=state.epochs,
        curve=state.curve.points,
        packaged_epoch=(best_epoch(state.epochs, settings.select) or state.epochs[-1]).epoch,
        training_seconds=state.seconds,
        folds=plan.validated.record if plan.validated else None,
    )
