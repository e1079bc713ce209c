"""`review-training fit`: files in, bundle out; and the parts of it that `distil` shares."""

import hashlib
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from consumer.bundle import Manifest, Source
from consumer.encoder import Encoder
from training.base import Base, check_length, find_base, load_classifier, quiet_transformers
from training.calibrate import hold_out
from training.data import Reviews
from training.device import best_device, computes_in_bf16, device_name
from training.evaluate import Evaluation
from training.freeze import freeze
from training.holdout import held_out_rows
from training.kept_answers import texts_sha256
from training.leaks import find_leaks
from training.objective import Objective
from training.output import check_directory
from training.package import package
from training.parallel import Ranks, joined
from training.prepare import DEFAULTS, DataOptions, Prepared, check_left, check_unseen, prepare
from training.progress import say
from training.record import RECORD, BaseRecord, DataPart, Machine, RunRecord, versions
from training.run import Interrupted, run_training
from training.sealing import check_name, check_replaceable
from training.settings import FitSettings, PackageSettings
from training.state import RunState, best_epoch
from training.step import TrainingRows


def fit(
    *,
    train_file: Path,
    test_file: Path,
    base_name: str,
    out: Path,
    settings: FitSettings,
    packaging: PackageSettings,
    checkpoints: Path | None = None,
    checkpoint_minutes: float = 5.0,
    data_options: DataOptions = DEFAULTS,
) -> tuple[Manifest, Evaluation] | None:
    """Fine-tune `base_name` on `train_file` and write the bundle `out`, measured on `test_file`.

    Args:
        train_file: labelled reviews, see `training.data.read_reviews`.
        test_file: labelled reviews that only measure.
        base_name: directory or hub name of a pretrained encoder.
        out: directory of the bundle; an older bundle there is replaced.
        settings: what determines the weights.
        packaging: what determines the bundle.
        checkpoints: directory where the run keeps its state; default: beside `out`, with `.run` added.
        checkpoint_minutes: time between two checkpoints.
        data_options: how the files are read and compared.

    Returns:
        The manifest of the bundle, and the evaluation of the served variant on the whole test file; None in the
        processes beside the first, where torchrun started several.

    Raises:
        UsageError: files, base, `out` or `checkpoints` cannot be used.
        GaveUp: the state of the run cannot be written any more.
        training.run.Interrupted: SIGINT came, or SIGTERM while training; what was done has been written.
    """
    quiet_transformers()
    check_replaceable(out)
    check_name(packaging.name, out)
    directory = checkpoints or out.with_name(f"{out.name}.run")
    check_directory("--checkpoints", directory)
    prepared = prepare(train_file, test_file, data_options, say)
    return fit_prepared(
        prepared,
        base=find_base(base_name),
        out=out,
        settings=settings,
        packaging=packaging,
        directory=directory,
        checkpoint_minutes=checkpoint_minutes,
        data_options=data_options,
    )


def fit_prepared(
    prepared: Prepared,
    *,
    base: Base,
    out: Path,
    settings: FitSettings,
    packaging: PackageSettings,
    directory: Path,
    checkpoint_minutes: float = 5.0,
    data_options: DataOptions,
) -> tuple[Manifest, Evaluation] | None:
    """As `fit`, on rows that are read and checked; `directory` is that of the checkpoints."""
    inherited = check_unseen([base.directory], prepared, say)
    data, calibration, validation = split(prepared, settings, data_options.near)
    say(f"base {base.name}, seed {settings.seed}")
    model = load_classifier(base, data.train.label_names, settings.seed)
    check_length(model.config, settings.max_length, "--max-length")
    freeze(model, settings.freeze)
    plan = Plan(
        model=model,
        base=base,
        data=data,
        calibration=calibration,
        validation=validation,
        settings=settings,
        packaging=packaging,
        out=out,
        directory=directory,
        save_seconds=checkpoint_minutes * 60,
        data_options=data_options,
        inherited=inherited,
    )
    with joined(best_device()) as ranks:
        state = train(plan, plan.encoded(data.train), ranks)
    return conclude(plan, state, ranks) if ranks.first else None


@dataclass(frozen=True)
class Plan:
    """One run: what is trained on what, and where its state and its bundle go.

    `data` is without the rows of `calibration` and `validation`. A student has `teachers`, and `unlabeled` texts.
    `inherited` is what base and teachers had been trained on, as far as they tell.
    """

    model: Any
    base: Base
    data: Prepared
    calibration: Reviews | None
    validation: Reviews
    settings: FitSettings
    packaging: PackageSettings
    out: Path
    directory: Path
    save_seconds: float
    data_options: DataOptions
    inherited: tuple[Source, ...] = ()
    teachers: tuple[BaseRecord, ...] = ()
    unlabeled: Reviews | None = None

    @property
    def encoder(self) -> Encoder:
        """What makes tokens of texts while training."""
        settings = self.settings
        return Encoder(self.base.tokenizer_json, settings.train_max_length, settings.truncation, settings.windows)

    def encoded(self, reviews: Reviews) -> TrainingRows:
        """`reviews` as the model sees them while it trains."""
        return TrainingRows.encode(reviews, self.data.train.label_names, self.encoder)

    def identity(self) -> dict[str, Any]:
        """What tells this run from others."""
        identity = {
            "base_sha256": self.base.sha256,
            "tokenizer_sha256": hashlib.sha256(self.base.tokenizer_json.encode()).hexdigest(),
            "train_sha256": self.data.train.sha256,
            "test_sha256": self.data.test.sha256,
            "columns": asdict(self.data.train.columns),
            "rows": len(self.data.train),
            "labels": list(self.data.train.label_names),
            "settings": self.settings.identity(),
        }
        if self.teachers:
            identity["teachers"] = [teacher.sha256 for teacher in self.teachers]
        if self.unlabeled:
            identity |= {"unlabeled_sha256": texts_sha256(self.unlabeled.texts)}
        return identity


def train(plan: Plan, rows: TrainingRows, ranks: Ranks, objective: Objective | None = None) -> RunState:
    """Train the model of `plan` in place on `rows`; see `run_training`."""
    return run_training(
        plan.model.to(ranks.device),
        rows,
        plan.encoded(plan.validation),
        plan.settings,
        identity=plan.identity(),
        directory=plan.directory,
        save_seconds=plan.save_seconds,
        ranks=ranks,
        objective=objective,
    )


def conclude(plan: Plan, state: RunState, ranks: Ranks) -> tuple[Manifest, Evaluation]:
    """Write the record and the bundle of a run that is trained; for the first process.

    Returns:
        The manifest of the bundle, and the evaluation of the served variant on the whole test file.
    """
    record = _record(plan, state, ranks)
    record.write(plan.directory / RECORD)
    try:
        manifest, evaluations = package(
            plan.model,
            plan.base,
            plan.data,
            plan.calibration,
            settings=plan.settings,
            packaging=plan.packaging,
            out=plan.out,
            record=record,
            kept=plan.directory / "answers",
        )
    except KeyboardInterrupt:
        raise Interrupted("stopped while the bundle is made; the same command goes on from there") from None
    record.measured(evaluations).write(plan.directory / RECORD)
    return manifest, evaluations[manifest.served]


def split(data: Prepared, settings: FitSettings, near: float) -> tuple[Prepared, Reviews | None, Reviews]:
    """`data` without the rows that are held out: those to calibrate on, None if too few, and those to validate on.

    Training rows whose similarity to one of these is at least `near` are left out, too.
    """
    train_rows, calibration = hold_out(data.train, settings.calibration_share, settings.seed)
    drawn = held_out_rows(train_rows.labels, settings.held_out, settings.seed, "validation")
    if drawn:
        purpose = "tell how it goes" if settings.select == "none" else "choose the epoch"
        say(f"{len(drawn)} of the training rows are held out: they {purpose} and are never trained on")
    others = sorted(set(range(len(train_rows))) - set(drawn))
    train, validation = train_rows.only(others), train_rows.only(drawn)
    for held in (calibration, validation):
        if held:
            train = _unlike(train, held, near)
    return replace(data, train=train), calibration, validation


def _unlike(train: Reviews, held: Reviews, near: float) -> Reviews:
    """`train` without near duplicates of what is `held` out, which would be known by heart."""
    known = find_leaks(train, held, near).train_rows
    if not known:
        return train
    say(f"{len(known)} more are left out, which nearly repeat rows that are held out")
    left = train.only(row for row in range(len(train)) if row not in known)
    check_left(left, "near duplicates of rows that are held out")
    return left


def _record(plan: Plan, state: RunState, ranks: Ranks) -> RunRecord:
    data, settings = plan.data, plan.settings
    parts: dict[DataPart, Reviews | None] = {
        "train": data.train,
        "unlabeled": plan.unlabeled,
        "validation": plan.validation,
        "calibration": plan.calibration,
        "test": data.test,
    }
    sizes = [(parameter.numel(), parameter.requires_grad) for parameter in plan.model.parameters()]
    return RunRecord(
        created=datetime.now(UTC),
        settings=settings,
        packaging=plan.packaging,
        base=BaseRecord(name=plan.base.name, sha256=plan.base.sha256),
        teachers=plan.teachers,
        data={
            name: Source(file=part.path.name, sha256=part.sha256, rows=len(part))
            for name, part in parts.items()
            if part
        },
        inherited=plan.inherited,
        data_options=asdict(replace(plan.data_options, columns=data.train.columns)),
        labels=data.train.label_names,
        versions=versions(),
        machine=Machine(
            device=device_name(ranks.device),
            precision="bf16" if computes_in_bf16(ranks.device, settings.precision) else "fp32",
            processes=ranks.size,
        ),
        parameters=sum(size for size, _ in sizes),
        trained_parameters=sum(size for size, trained in sizes if trained),
        epochs=state.epochs,
        packaged_epoch=(best_epoch(state.epochs, settings.select) or state.epochs[-1]).epoch,
        training_seconds=state.seconds,
    )
