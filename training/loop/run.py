"""One training run: it starts or resumes, trains step by step, saves its state, and stops on a signal."""

import math
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Any

import torch

from consumer.errors import UsageError
from training.encoders.device import decide_precision, device_name
from training.encoders.objective import Objective
from training.encoders.parallel import Ranks
from training.io.progress import ProgressBar, say
from training.loop import checkpoint
from training.loop.batches import ends_epoch, total_steps
from training.loop.schedule import rate_factor
from training.loop.state import Decided, Epoch, Machine, RunState, Watch, best_epoch, is_over
from training.loop.step import Stepper, TrainingRows, make_optimizer, micro_batch_tokens
from training.loop.validation import Measure, validate
from training.settings import FitSettings, StepSettings


class Interrupted(KeyboardInterrupt):
    """A signal stopped the run after its work was saved; the same command resumes it."""


@dataclass(frozen=True)
class Lesson:
    """Rows to train on, rows to validate on after each epoch (may be empty), and the loss; None: see `Stepper`.

    `measure` validates; None: `training.loop.validation.validate`.
    """

    rows: TrainingRows
    held_out: TrainingRows
    objective: Objective | None = None
    measure: Measure | None = None


@dataclass(frozen=True)
class Saving:
    """Where a run saves its state, which run it is, and the seconds between two checkpoints.

    `identity` is everything that tells the run from others; a run resumes only from a checkpoint with the same one.
    """

    directory: Path
    identity: dict[str, Any]
    every_seconds: float


def begin(settings: FitSettings, saving: Saving, ranks: Ranks) -> RunState:
    """Where the run starts: at its checkpoint, or at step 0. What is decided once for a run is decided and saved here.

    Args:
        settings: see `FitSettings`.
        saving: its directory is shared by all processes.
        ranks: the processes of the run.

    Raises:
        UsageError: the checkpoint belongs to another run or version, which may be hours of work, and is kept; or the
            processes disagree, or are more than the reviews of a step.
        GaveUp: the state of the run cannot be written.
    """
    if settings.batch_size < ranks.size:
        raise UsageError(
            f"{ranks.size} processes cannot share batches of {settings.batch_size}: start fewer, or raise --batch-size"
        )
    start = checkpoint.state_of(saving.directory, saving.identity)
    if not ranks.agree([asdict(start), saving.identity, micro_batch_tokens(settings, ranks.device)]):
        raise UsageError(
            "the processes have different checkpoints, files, settings or devices: start each with the same command, "
            "on the same files and the same kind of device, and with --checkpoints in a directory that all share"
        )
    precision = start.decided.precision if start.decided else settings.precision
    gpu = start.decided.gpu if start.decided else ranks.device.type == "cuda"
    decided = Decided(decide_precision(precision, ranks.device, ranks), ranks.of_first(gpu))
    if settings.precision == "auto":
        say(f"--precision auto: the run computes in {decided.precision}{', as before' if start.decided else ''}")
    start = replace(start, decided=decided)
    if ranks.first and not start.step:
        checkpoint.save_start(saving.directory, saving.identity, start)
    return start


def train(
    model: Any,
    lesson: Lesson,
    settings: FitSettings,
    saving: Saving,
    *,
    start: RunState,
    ranks: Ranks,
    watch: Watch = lambda *_: None,
) -> RunState:
    """Train `model` in place, from where `begin` says that the run starts.

    Args:
        model: of transformers, on the device of `ranks`.
        lesson: what it is trained and validated on.
        settings: see `FitSettings`.
        saving: where checkpoints go.
        start: from `begin`.
        ranks: the processes that share the work.
        watch: called after each step, and after the validation that may follow it.

    Returns:
        Where the run stands at its end; `model` has the weights of the best epoch if one is to be selected.

    Raises:
        UsageError: the loss is not a number any more, or the GPU ran out of memory; the last checkpoint is from before.
        GaveUp: a checkpoint cannot be written.
        Interrupted: SIGINT or SIGTERM came; a checkpoint has been written.
    """
    rows, count, directory = lesson.rows, len(lesson.rows.reviews), saving.directory
    steps, per_epoch = total_steps(count, settings.epochs, settings.batch_size), count / settings.batch_size
    settings = settings.model_copy(update={"precision": start.settled.precision})
    optimizer = make_optimizer(model, settings)
    if start.step:
        say(f"training resumes at step {start.step} of {steps}, from the checkpoint in {directory}")
        checkpoint.restore(directory, model, optimizer)
    else:
        say(f"training starts: {steps} steps, checkpoints in {directory}")
    ranks.take_from_first(model.state_dict().values())  # drawn or restored in each process, but maybe not alike
    stepper = Stepper(model, optimizer, rows, settings, ranks, objective=lesson.objective)
    state, stopped, saved_at = start, False, time.monotonic()
    _remove_superseded(directory, state, settings, ranks)  # left by a kill around the last checkpoint
    if not is_over(state, steps, settings):
        state = replace(state, machine=Machine(device_name(ranks.device), ranks.size))
    model.train()
    with (
        _signals() as received,
        within_memory(settings, ranks),
        ProgressBar("training", steps * settings.batch_size, start.step * settings.batch_size) as bar,
    ):
        while not stopped and not is_over(state, steps, settings):
            # 1. Rate: it depends on the number of the step alone.
            started = time.monotonic()
            rate = settings.learning_rate * rate_factor(settings, state.step, steps, per_epoch)

            # 2. Step: forward, backward and update; the processes share its reviews.
            loss = stepper.step(state.step, rate)
            if not math.isfinite(loss):
                raise UsageError(
                    f"the loss is not a number at step {state.step}: train again with a lower --learning-rate"
                )
            state = state.after_step(loss, rate, time.monotonic() - started)
            bar.update(state.step * settings.batch_size, f"loss {state.loss:.3f}")

            # 3. Validate: at the end of an epoch, and keep its weights if they are the best so far.
            if ended := ends_epoch(state.step, steps, count, settings.batch_size):
                started, validation = time.monotonic(), None
                if lesson.held_out.reviews:
                    bar.update(state.step * settings.batch_size, "validating")
                    validation = (lesson.measure or validate)(model, lesson.held_out, settings, ranks)
                epoch = settings.epochs if state.step == steps else state.step * settings.batch_size // count
                state = state.after_epoch(epoch, rate, time.monotonic() - started, validation)
                _report(state.epochs[-1])
                if ranks.first and state.epochs[-1] == best_epoch(state.epochs, settings.select):
                    checkpoint.save_best(directory, saving.identity, state.epochs[-1], model)
            watch(state, loss, rate)

            # 4. Stop: a signal to any of the processes stops all of them.
            stopped = ranks.any(bool(received))

            # 5. Checkpoint: when time is up, after a validation, and before the loop ends.
            due = state.step == steps or (ended and state.epochs[-1].validation is not None)
            if due or stopped or time.monotonic() - saved_at >= saving.every_seconds:
                if ranks.first:
                    checkpoint.save(directory, saving.identity, state, model, optimizer)
                _remove_superseded(directory, state, settings, ranks)
                saved_at = time.monotonic()
    # A signal that came during the last step or after it counts too: what follows may take hours.
    if stopped or received:
        raise Interrupted(f"stopped at step {state.step} of {steps}; the same command resumes there")
    if ranks.first:
        _load_best(model, state, settings, saving)
    return state


def _remove_superseded(directory: Path, state: RunState, settings: FitSettings, ranks: Ranks) -> None:
    """Remove the weights of all epochs except the best one of `state`, which is in the checkpoint."""
    if ranks.first:
        checkpoint.keep_only(best_epoch(state.epochs, settings.select), directory)


def _load_best(model: Any, state: RunState, settings: FitSettings, saving: Saving) -> None:
    """Give `model` the weights of the best epoch, if one is to be selected."""
    if best := best_epoch(state.epochs, settings.select):
        say(f"best of {len(state.epochs)} epochs by {settings.select}: the one that ended at {best.epoch:g}")
        checkpoint.restore_best(saving.directory, saving.identity, best, model)


def _report(epoch: Epoch) -> None:
    line = f"epoch {epoch.epoch:g}: loss {epoch.train_loss:.4f}"
    if seen := epoch.validation:
        line += f"; validation rows: {seen.in_words()}"
    say(line)


@contextmanager
def within_memory(settings: StepSettings, ranks: Ranks) -> Iterator[None]:
    """Raise `UsageError` if the GPU runs out of memory."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise UsageError(
            f"the GPU ran out of memory: lower --micro-batch-tokens, which is "
            f"{micro_batch_tokens(settings, ranks.device)}; the command then resumes from the last checkpoint"
        ) from error


@contextmanager
def _signals() -> Iterator[list[int]]:
    """Note SIGINT and SIGTERM in the list instead of ending the process."""
    received: list[int] = []

    def handle(number: int, _frame: FrameType | None) -> None:
        received.append(number)

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
