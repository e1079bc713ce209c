"""`review-training fit`: files in, bundle out."""

import signal
from dataclasses import asdict, replace
from pathlib import Path
from types import FrameType
from typing import Any

from consumer.bundle import Manifest
from consumer.encoder import Encoder
from consumer.errors import UsageError
from training import checkpoint
from training.base import Base, find_base, load_classifier, quiet_transformers
from training.batches import total_steps
from training.calibrate import hold_out
from training.checkpoint import RunState
from training.evaluate import Evaluation
from training.loop import TrainingRows, best_device, make_optimizer, train
from training.package import package
from training.prepare import DEFAULTS, DataOptions, Prepared, prepare
from training.progress import ProgressBar, say
from training.sealing import check_replaceable
from training.settings import FitSettings, PackageSettings


class Interrupted(KeyboardInterrupt):
    """Stopped by a signal after a checkpoint was written; the same command goes on from there."""


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
) -> tuple[Manifest, Evaluation]:
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
        The manifest of the bundle, and the evaluation of the served variant on the whole test file.

    Raises:
        UsageError: files, base or `out` cannot be used.
        Interrupted: SIGINT or SIGTERM came while training; a checkpoint has been written.
    """
    quiet_transformers()
    check_replaceable(out)
    data = prepare(train_file, test_file, data_options, say)
    train_rows, held_out = hold_out(data.train, settings.calibration_share, settings.seed)
    data = replace(data, train=train_rows)
    base = find_base(base_name)
    say(f"base {base.name}, seed {settings.seed}")
    model = load_classifier(base, data.train.label_names, settings.seed)
    if settings.max_length > (longest := getattr(model.config, "max_position_embeddings", settings.max_length)):
        raise UsageError(f"the base model reads at most {longest} tokens: set --max-length to at most that")
    directory = checkpoints or out.with_name(f"{out.name}.run")
    _train(model, base, data, settings, directory=directory, save_seconds=checkpoint_minutes * 60)
    return package(model, base, data, held_out, settings=settings, packaging=packaging, out=out)


def _train(
    model: Any, base: Base, data: Prepared, settings: FitSettings, *, directory: Path, save_seconds: float
) -> None:
    """Train `model` in place, from the checkpoint of the same run where there is one."""
    labels = data.train.label_names
    identity = {
        "base_sha256": base.sha256,
        "train_sha256": data.train.sha256,
        "test_sha256": data.test.sha256,
        "columns": asdict(data.train.columns),
        "rows": len(data.train),
        "labels": list(labels),
        # Serving length is no part of the weights: a finished run can be packaged again with another one.
        "settings": settings.model_dump(mode="json", exclude={"max_length"}),
    }
    steps = total_steps(len(data.train), settings.epochs, settings.batch_size)
    start = _start(directory, identity, steps)
    optimizer = make_optimizer(model.to(best_device()), settings)
    if start.step:
        checkpoint.restore(directory, model, optimizer)
    encoder = Encoder(base.tokenizer_json, settings.train_max_length, settings.truncation)
    reviews = encoder.encode(data.train.texts)
    targets = [labels.index(label) for label in data.train.labels]
    received: list[int] = []

    def handle(number: int, _frame: FrameType | None) -> None:
        received.append(number)

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with ProgressBar("training", steps * settings.batch_size, start.step * settings.batch_size) as bar:

            def on_step(state: RunState) -> bool:
                bar.update(state.step * settings.batch_size, f"loss {state.loss:.3f}")
                return not received

            def save(state: RunState) -> None:
                checkpoint.save(directory, identity, state, model, optimizer)

            rows = TrainingRows(reviews, targets, encoder.pad_id)
            state = train(
                model, optimizer, rows, settings, start=start, on_step=on_step, save=save, save_seconds=save_seconds
            )
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if state.step < steps:
        raise Interrupted(f"stopped at step {state.step} of {steps}; the same command goes on from there")


def _start(directory: Path, identity: dict[str, Any], steps: int) -> RunState:
    """Where the training starts: at the checkpoint in `directory`, or from the beginning where there is none.

    Raises:
        UsageError: the checkpoint is of another run, which may be hours of work: it is not overwritten.
    """
    header = checkpoint.read_header(directory)
    if header is None:
        say(f"training starts: {steps} steps, checkpoints in {directory}")
        return RunState()
    found, state = header
    if found != identity:
        differing = ", ".join(checkpoint.differences(found, identity))
        raise UsageError(
            f"the checkpoint in {directory} is of a run with another {differing}: "
            "remove that directory, or name another one with --checkpoints"
        )
    say(f"training goes on from step {state.step} of {steps}, the checkpoint in {directory}")
    return state
