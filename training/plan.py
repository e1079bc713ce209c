"""One run, of `fit` or `distil`: what is trained on what, its training, and at last its record and its bundle."""

import hashlib
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from consumer.model.encoder import Encoder
from consumer.model.manifest import Manifest, Source
from training.data.prepare import DataOptions, Prepared
from training.data.reviews import Reviews
from training.encoders.base import Base
from training.encoders.device import computes_in_bf16, device_name
from training.encoders.objective import Objective
from training.encoders.parallel import Ranks
from training.loop.run import Interrupted, run_training
from training.loop.state import RunState, best_epoch
from training.loop.step import TrainingRows
from training.measure.evaluate import Evaluation
from training.measure.kept_answers import rows_sha256, texts_sha256
from training.packaging.package import package
from training.packaging.record import RECORD, BaseRecord, DataPart, Machine, RunRecord, versions
from training.settings import FitSettings, PackageSettings


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
        return Encoder(self.base.tokenizer_json, self.settings.reading)

    def encoded(self, reviews: Reviews) -> TrainingRows:
        """`reviews` as the model sees them while it trains."""
        return TrainingRows.encode(reviews, self.data.train.label_names, self.encoder)

    def identity(self) -> dict[str, Any]:
        """What tells this run from others.

        The files alone do not: what is left out as leaked, or drawn of them, decides which rows are learnt.
        """
        identity = {
            "base_sha256": self.base.sha256,
            "tokenizer_sha256": hashlib.sha256(self.base.tokenizer_json.encode()).hexdigest(),
            "train_sha256": self.data.train.sha256,
            "test_sha256": self.data.test.sha256,
            "columns": asdict(self.data.train.columns),
            "rows": len(self.data.train),
            "train_rows_sha256": rows_sha256(self.data.train.texts, self.data.train.labels),
            "validation_rows_sha256": rows_sha256(self.validation.texts, self.validation.labels),
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
