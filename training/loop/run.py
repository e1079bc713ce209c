"""One training run: it starts or goes on, shows how far it is, saves its state, and stops on a signal."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import torch

from consumer.errors import UsageError
from training.encoders.objective import Objective
from training.encoders.parallel import Ranks
from training.io.progress import ProgressBar, say
from training.loop import checkpoint
from training.loop.batches import total_steps
from training.loop.loop import train
from training.loop.state import RunState, Validation, best_epoch, out_of_patience
from training.loop.step import TrainingRows, make_optimizer, micro_batch_tokens
from training.loop.validation import validate
from training.settings import FitSettings


class Interrupted(KeyboardInterrupt):
    """Stopped by a signal after a checkpoint was written; the same command goes on from there."""


def run_training(
    model: Any,
    rows: TrainingRows,
    held_out: TrainingRows,
    settings: FitSettings,
    *,
    identity: dict[str, Any],
    directory: Path,
    save_seconds: float,
    ranks: Ranks,
    objective: Objective | None = None,
) -> RunState:
    """Train `model` in place, from the checkpoint of the same run where there is one.

    Args:
        model: a sequence classifier, on the device where it is to be trained.
        rows: what it learns.
        held_out: what it is measured on after each epoch; nothing where it is empty.
        settings: see `FitSettings`.
        identity: what tells this run from others; a checkpoint of another one is refused.
        directory: where the run keeps its state; several processes share it.
        save_seconds: time between two checkpoints.
        ranks: the processes of the run.
        objective: see `Stepper`.

    Returns:
        Where the run stands at its end; `model` has the weights of the best epoch where one is to be selected.

    Raises:
        UsageError: the checkpoint cannot be gone on from, the loss is not a number any more, or memory lacks.
        Interrupted: SIGINT or SIGTERM came; a checkpoint has been written.
    """
    steps = total_steps(len(rows.reviews), settings.epochs, settings.batch_size)
    start = find_start(directory, identity, settings, ranks)
    if start.step:
        say(f"training goes on from step {start.step} of {steps}, the checkpoint in {directory}")
    else:
        say(f"training starts: {steps} steps, checkpoints in {directory}")
    if not ranks.agree(start.step):
        raise UsageError("the processes find different checkpoints: name a directory with --checkpoints that all share")
    optimizer = make_optimizer(model, settings)
    if start.step:
        checkpoint.restore(directory, model, optimizer)

    _remove_superseded(directory, start, settings, ranks)  # what a kill before or behind the last checkpoint left

    def save(state: RunState) -> None:
        if ranks.first:
            checkpoint.save(directory, identity, state, model, optimizer)
        _remove_superseded(directory, state, settings, ranks)

    def on_epoch(state: RunState) -> None:
        _tell(state)
        if ranks.first and state.epochs[-1] == best_epoch(state.epochs, settings.select):
            checkpoint.save_best(directory, identity, state.epochs[-1], model)

    with (
        _signals() as received,
        within_memory(settings, ranks),
        ProgressBar("training", steps * settings.batch_size, start.step * settings.batch_size) as bar,
    ):

        def on_step(state: RunState) -> bool:
            bar.update(state.step * settings.batch_size, f"loss {state.loss:.3f}")
            return not received

        def measure(state: RunState) -> Validation:
            bar.update(state.step * settings.batch_size, "validating")
            return validate(model, held_out, settings, ranks)

        state = train(
            model,
            optimizer,
            rows,
            settings,
            start=start,
            on_step=on_step,
            save=save,
            save_seconds=save_seconds,
            validate=measure if held_out.reviews else None,
            on_epoch=on_epoch,
            ranks=ranks,
            objective=objective,
        )
    # One that came in the last step is heard too: what follows may take hours.
    if received or (state.step < steps and not out_of_patience(state, settings)):
        raise Interrupted(f"stopped at step {state.step} of {steps}; the same command goes on from there")
    if best := best_epoch(state.epochs, settings.select):
        say(f"the best of {len(state.epochs)} epochs by {settings.select} is that which ended at {best.epoch:g}")
        if ranks.first:
            checkpoint.restore_best(directory, identity, best, model)
    return state


def _remove_superseded(directory: Path, state: RunState, settings: FitSettings, ranks: Ranks) -> None:
    """Remove the weights of epochs that are not the best one of `state`, which is that of the checkpoint."""
    if ranks.first:
        checkpoint.keep_only(best_epoch(state.epochs, settings.select), directory)


def _tell(state: RunState) -> None:
    epoch = state.epochs[-1]
    line = f"epoch {epoch.epoch:g}: loss {epoch.train_loss:.4f}"
    if seen := epoch.validation:
        line += f"; on the validation rows loss {seen.loss:.4f}, accuracy {seen.accuracy:.2%}, F1 {seen.f1:.4f}"
    say(line)


def find_start(directory: Path, identity: dict[str, Any], settings: FitSettings, ranks: Ranks) -> RunState:
    """Where the training starts: at the checkpoint in `directory`, or from the beginning where there is none.

    Args:
        directory: see `run_training`.
        identity: see `run_training`.
        settings: see `FitSettings`.
        ranks: the processes of the run.

    Raises:
        UsageError: the checkpoint is of another run or version, which may be hours of work: it is not overwritten; or
            the processes are more than the reviews of a step.
    """
    if settings.batch_size < ranks.size:
        raise UsageError(f"{ranks.size} processes cannot share batches of {settings.batch_size}: start fewer of them")
    header = checkpoint.read_header(directory)
    if header is None:
        return RunState()
    found, state = header
    if found != identity:
        differing = ", ".join(checkpoint.differences(found, identity))
        raise UsageError(
            f"the checkpoint in {directory} is of a run with another {differing}: "
            "remove that directory, or name another one with --checkpoints"
        )
    return state


@contextmanager
def within_memory(settings: FitSettings, ranks: Ranks) -> Iterator[None]:
    """Raise `UsageError` where the GPU lacks memory."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise UsageError(
            f"the GPU has too little memory: lower --micro-batch-tokens, which is "
            f"{micro_batch_tokens(settings, ranks.device)}; the same command then goes on from the last checkpoint"
        ) from error


@contextmanager
def _signals() -> Iterator[list[int]]:
    """SIGINT and SIGTERM are noted in the list instead of ending the process."""
    received: list[int] = []

    def handle(number: int, _frame: FrameType | None) -> None:
        received.append(number)

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
