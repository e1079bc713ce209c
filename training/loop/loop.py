"""The training loop: steps under a learning-rate policy, a look at the validation rows after each epoch."""

import math
import time
from collections.abc import Callable

from torch import nn, optim

from consumer.errors import UsageError
from training.encoders.objective import Objective
from training.encoders.parallel import Ranks
from training.loop.batches import ends_epoch, total_steps
from training.loop.schedule import rate_factor
from training.loop.state import RunState, Validation, out_of_patience
from training.loop.step import Stepper, TrainingRows
from training.settings import FitSettings


def train(
    model: nn.Module,
    optimizer: optim.Optimizer,
    rows: TrainingRows,
    settings: FitSettings,
    *,
    start: RunState,
    on_step: Callable[[RunState], bool],
    save: Callable[[RunState], None],
    save_seconds: float,
    validate: Callable[[RunState], Validation] | None = None,
    on_epoch: Callable[[RunState], None] = lambda _: None,
    ranks: Ranks = Ranks(),  # noqa: B008 - frozen
    objective: Objective | None = None,
) -> RunState:
    """Fine-tune `model` in place from `start` on; returns where the run stands, which `save` has been told.

    Args:
        model: a sequence classifier; its device decides where the training runs.
        optimizer: from `make_optimizer`, in the state that belongs to `start`.
        rows: what is learnt.
        settings: see `FitSettings`.
        start: where the run stands.
        on_step: called after each step; returns False to stop.
        save: writes a checkpoint.
        save_seconds: time between two checkpoints.
        validate: measures the model as it is; called after each epoch, and a checkpoint follows.
        on_epoch: told where the run stands after each epoch, before its checkpoint.
        ranks: the processes that share the work.
        objective: see `Stepper`.

    Raises:
        UsageError: the loss is not a number any more; the last checkpoint is from before.
    """
    count = len(rows.reviews)
    steps = total_steps(count, settings.epochs, settings.batch_size)
    per_epoch = count / settings.batch_size
    stepper = Stepper(model, optimizer, rows, settings, ranks, objective=objective)
    state = start
    model.train()
    saved_at = time.monotonic()
    going = True
    while going and state.step < steps and not out_of_patience(state, settings):
        started = time.monotonic()
        rate = settings.learning_rate * rate_factor(settings, state.step, steps, per_epoch)
        loss = stepper.step(state.step, rate)
        if not math.isfinite(loss):
            raise UsageError(f"the loss is not a number at step {state.step}: train anew with a lower --learning-rate")
        state = state.after_step(loss, time.monotonic() - started)

        ended = ends_epoch(state.step, steps, count, settings.batch_size)
        if ended:
            started = time.monotonic()
            validation = validate(state) if validate else None
            epoch = settings.epochs if state.step == steps else state.step * settings.batch_size // count
            state = state.after_epoch(epoch, rate, time.monotonic() - started, validation)
            on_epoch(state)

        going = not ranks.any(not on_step(state))
        due = state.step == steps or (ended and validate) or time.monotonic() - saved_at >= save_seconds
        if due or not going:
            save(state)
            saved_at = time.monotonic()
    return state
