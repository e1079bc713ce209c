"""Where a run stands and how each epoch went; which epoch was best and whether the run is over follow from it."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from training.loop.curve import Curve
from training.settings import Arithmetic, FitSettings, Selection

#: Share of the old value in the running mean of the loss that the progress bar shows.
LOSS_SMOOTHING = 0.98


@dataclass(frozen=True)
class Validation:
    """Measured on rows that are never trained on: mean loss in nats, accuracy, macro-averaged F1.

    For an encoder that predicts masked tokens, loss and accuracy are those of the tokens, and there is no F1.
    """

    loss: float
    accuracy: float
    f1: float | None = None

    @property
    def perplexity(self) -> float:
        """Of the masked tokens: among how many equally likely ones the model seems to choose."""
        return math.exp(self.loss)

    def in_words(self) -> str:
        """The figures, within a line."""
        if self.f1 is None:
            return f"perplexity {self.perplexity:.2f}, {self.accuracy:.2%} of the masked tokens right"
        return f"loss {self.loss:.4f}, accuracy {self.accuracy:.2%}, F1 {self.f1:.4f}"


@dataclass(frozen=True)
class Epoch:
    """One pass over the training rows; the last one of a run may be partial.

    `epoch` counts the passes and `step` the optimiser steps up to its end. `learning_rate` is that of its last step,
    `train_loss` the mean loss of its steps in nats, and `seconds` the duration of the steps and the validation.
    """

    epoch: float
    step: int
    train_loss: float
    learning_rate: float
    seconds: float
    validation: Validation | None = None


@dataclass(frozen=True)
class Decided:
    """What the first process decides when a run begins; a resumed run keeps it, on another machine too.

    `precision` is that of the products, in training and in teachers that transformers runs. `gpu`: bundles teach with
    their torch weights, which suit a GPU, not with the variant that they serve.
    """

    precision: Arithmetic
    gpu: bool


@dataclass(frozen=True)
class Machine:
    """What a run was last trained on: the processor of the first process, and the number of processes."""

    device: str
    processes: int


@dataclass(frozen=True)
class RunState:
    """Where a run stands: optimiser steps done, seconds spent on them, and the epochs that have ended.

    `loss` is a running mean for people, `epoch_loss` the sum over the steps since the last epoch ended. `decided` and
    `machine` are None in checkpoints of versions that did not save them; the `curve` of these begins at the resume.
    """

    step: int = 0
    seconds: float = 0.0
    loss: float = 0.0
    epoch_loss: float = 0.0
    epochs: tuple[Epoch, ...] = ()
    decided: Decided | None = None
    machine: Machine | None = None
    curve: Curve = field(default_factory=Curve)

    @property
    def settled(self) -> Decided:
        """`decided` of a run that has begun: `training.loop.run.begin` sets it."""
        if self.decided is None:
            raise ValueError("the run has not begun")
        return self.decided

    def after_step(self, loss: float, learning_rate: float, seconds: float) -> "RunState":
        """One step further, which had the mean loss `loss`."""
        mean = LOSS_SMOOTHING * self.loss + (1 - LOSS_SMOOTHING) * loss if self.step else loss
        return replace(
            self,
            step=self.step + 1,
            seconds=self.seconds + seconds,
            loss=mean,
            epoch_loss=self.epoch_loss + loss,
            curve=self.curve.after_step(self.step + 1, loss, learning_rate),
        )

    def after_epoch(
        self, epoch: float, learning_rate: float, seconds: float, validation: Validation | None
    ) -> "RunState":
        """At the end of an epoch, whose validation took `seconds`."""
        total = self.seconds + seconds
        steps = self.step - (self.epochs[-1].step if self.epochs else 0)
        ended = Epoch(
            epoch=epoch,
            step=self.step,
            train_loss=self.epoch_loss / steps,
            learning_rate=learning_rate,
            seconds=total - sum(epoch.seconds for epoch in self.epochs),
            validation=validation,
        )
        return replace(self, seconds=total, epoch_loss=0.0, epochs=(*self.epochs, ended))


#: Called after each step with the state, the loss of the step (nats) and its learning rate.
Watch = Callable[[RunState, float, float], None]


def best_epoch(epochs: Sequence[Epoch], select: Selection) -> Epoch | None:
    """The epoch with the lowest validation loss, or the highest accuracy or F1; the first one of equals.

    None if nothing is to be selected, or before the first epoch has ended.
    """
    if select == "none" or not epochs:
        return None

    def merit(epoch: Epoch) -> float:
        value: float = getattr(epoch.validation, select)
        return -value if select == "loss" else value

    return max(epochs, key=merit)


def out_of_patience(state: RunState, settings: FitSettings) -> bool:
    """Whether `patience` epochs have ended since the best one."""
    best = best_epoch(state.epochs, settings.select)
    return bool(settings.patience and best and len(state.epochs) - 1 - state.epochs.index(best) >= settings.patience)


def is_over(state: RunState, steps: int, settings: FitSettings) -> bool:
    """Whether all `steps` are done, or patience has run out."""
    return state.step >= steps or out_of_patience(state, settings)
