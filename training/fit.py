"""`review-training fit`: files in, bundle out."""

from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from consumer.bundle import Manifest, Source
from consumer.encoder import Encoder
from consumer.errors import UsageError
from training.base import Base, find_base, load_classifier, quiet_transformers
from training.calibrate import hold_out
from training.data import Reviews
from training.device import best_device, computes_in_bf16, device_name
from training.evaluate import Evaluation
from training.freeze import freeze
from training.holdout import held_out_rows
from training.package import package
from training.parallel import Ranks, joined
from training.prepare import DEFAULTS, DataOptions, Prepared, prepare
from training.progress import say
from training.record import RECORD, BaseRecord, Machine, RunRecord, versions
from training.run import run_training
from training.sealing import check_replaceable
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
        UsageError: files, base or `out` cannot be used.
        training.run.Interrupted: SIGINT or SIGTERM came while training; a checkpoint has been written.
    """
    quiet_transformers()
    check_replaceable(out)
    data = prepare(train_file, test_file, data_options, say)
    train_rows, calibration = hold_out(data.train, settings.calibration_share, settings.seed)
    data, validation = _hold_out(replace(data, train=train_rows), settings)
    base = find_base(base_name)
    say(f"base {base.name}, seed {settings.seed}")
    model = load_classifier(base, data.train.label_names, settings.seed)
    if settings.max_length > (longest := getattr(model.config, "max_position_embeddings", settings.max_length)):
        raise UsageError(f"the base model reads at most {longest} tokens: set --max-length to at most that")
    freeze(model, settings.freeze)
    directory = checkpoints or out.with_name(f"{out.name}.run")
    with joined(best_device()) as ranks:
        state = run_training(
            model.to(ranks.device),
            _encoded(data.train, data, base, settings),
            _encoded(validation, data, base, settings),
            settings,
            identity=_identity(base, data, settings),
            directory=directory,
            save_seconds=checkpoint_minutes * 60,
            ranks=ranks,
        )
    if not ranks.first:
        return None
    record = _record(
        model,
        base,
        data,
        held_out={"validation": validation, "calibration": calibration},
        settings=settings,
        packaging=packaging,
        state=state,
        ranks=ranks,
    )
    record.write(directory / RECORD)
    manifest, evaluations = package(
        model, base, data, calibration, settings=settings, packaging=packaging, out=out, record=record
    )
    record.measured(evaluations).write(directory / RECORD)
    return manifest, evaluations[manifest.served]


def _hold_out(data: Prepared, settings: FitSettings) -> tuple[Prepared, Reviews]:
    """`data` without the rows that choose the epoch, and these; there are none of them by default."""
    drawn = held_out_rows(data.train.labels, settings.held_out, settings.seed, "validation")
    if drawn:
        say(f"{len(drawn)} of the training rows are held out: they choose the epoch and are never trained on")
    others = sorted(set(range(len(data.train))) - set(drawn))
    return replace(data, train=data.train.only(others)), data.train.only(drawn)


def _encoded(reviews: Reviews, data: Prepared, base: Base, settings: FitSettings) -> TrainingRows:
    encoder = Encoder(base.tokenizer_json, settings.train_max_length, settings.truncation, settings.windows)
    return TrainingRows.encode(reviews, data.train.label_names, encoder)


def _identity(base: Base, data: Prepared, settings: FitSettings) -> dict[str, Any]:
    """What tells this run from others."""
    return {
        "base_sha256": base.sha256,
        "train_sha256": data.train.sha256,
        "test_sha256": data.test.sha256,
        "columns": asdict(data.train.columns),
        "rows": len(data.train),
        "labels": list(data.train.label_names),
        "settings": settings.identity(),
    }


def _record(
    model: Any,
    base: Base,
    data: Prepared,
    *,
    held_out: dict[str, Reviews | None],
    settings: FitSettings,
    packaging: PackageSettings,
    state: RunState,
    ranks: Ranks,
) -> RunRecord:
    parts = {"train": data.train, **held_out, "test": data.test}
    sizes = [(parameter.numel(), parameter.requires_grad) for parameter in model.parameters()]
    return RunRecord(
        created=datetime.now(UTC),
        settings=settings,
        packaging=packaging,
        base=BaseRecord(name=base.name, sha256=base.sha256),
        data={
            name: Source(file=part.path.name, sha256=part.sha256, rows=len(part))
            for name, part in parts.items()
            if part
        },
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
