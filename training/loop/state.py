"""Where a run stands and how it went, epoch by epoch; which epoch was best, and whether the run is over, follow."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from training.settings import FitSettings, Selection

#: Share of the old value in the running mean of the loss that is shown.
LOSS_SMOOTHING = 0.98


@dataclass(frozen=True)
class Validation:
    """Measured on rows that are never trained on: mean loss in nats, share of right labels, macro-averaged F1."""

    loss: float
    accuracy: float
    f1: float


@dataclass(frozen=True)
class Epoch:
    """One pass over the training rows; the last one of a run may be a part of one.

    `epoch` passes and `step` optimiser steps were done at its end, `learning_rate` is that of its last step,
    `train_loss` the mean loss of its steps, in nats, and `seconds` what they and the validation took.
    """

    epoch: float
    step: int
    train_loss: float
    learning_rate: float
    seconds: float
    validation: Validation | None = None


@dataclass(frozen=True)
class RunState:
    """Where a run stands: optimiser steps done, seconds spent on them, and the epochs behind it.

    `loss` is a running mean for people, `epoch_loss` the sum over the steps since the last epoch ended.
    """

    step: int = 0
    seconds: float = 0.0
    loss: float = 0.0
    epoch_loss: float = 0.0
    epochs: tuple[Epoch, ...] = ()

    def after_step(self, loss: float, seconds: float) -> "RunState":
        """One step further, which had the mean loss `loss`."""
        mean = LOSS_SMOOTHING * self.loss + (1 - LOSS_SMOOTHING) * loss if self.step else loss
        return replace(
            self,
            step=self.step + 1,
            seconds=self.seconds + seconds,
            loss=mean,
            epoch_loss=self.epoch_loss + loss,
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


def best_epoch(epochs: Sequence[Epoch], select: Selection) -> Epoch | None:
    """The epoch of the lowest validation loss, or of the highest accuracy or F1; of equals the first.

    None where nothing is selected, or before the first epoch ended.
    """
    if select == "none" or not epochs:
        return None

    def merit(epoch: Epoch) -> float:
        value: float = getattr(epoch.validation, select)
        return -value if select == "loss" else value

    return max(epochs, key=merit)


def out_of_patience(state: RunState, settings: FitSettings) -> bool:
    """Whether `patience` epochs have passed since the best one."""
    best = best_epoch(state.epochs, settings.select)
    return bool(settings.patience and best and len(state.epochs) - 1 - state.epochs.index(best) >= settings.patience)
