"""One pass over the same reviews that each trainer of the bench makes, and the proof that it was the same."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from training.encoders.base import Base
from training.loop.step import TrainingRows
from training.settings import Precision, StepSettings

#: Relative difference of two losses that the order of additions in fp32 explains.
SAME_LOSS = 1e-3

#: Steps that are compared: rounding drives longer runs apart.
CHECKED_STEPS = 4

#: A new head answers nearly the same to every text; so many times its weights, and the loss tells what was read.
SHARPER = 10


class Watched(list[Any]):
    """A data set that notes which of its items were asked for."""

    def __init__(self, items: Sequence[Any]) -> None:
        super().__init__(items)
        self.asked: list[int] = []

    def __getitem__(self, index: Any) -> Any:
        self.asked.append(index)
        return super().__getitem__(index)


@dataclass(frozen=True)
class Trained:
    """What one pass over the data did: the rows it read, its optimiser steps, and where told the loss of each."""

    seconds: float
    rows: list[int]
    steps: int
    losses: list[float]


@dataclass(frozen=True)
class Task:
    """One pass over `rows`, in whole batches of `settings.batch_size`.

    With `checking` it is done in fp32, without dropout, in our order of the rows and with a sharper head, so that every
    step of every contestant has to have the same loss, and no other.
    """

    base: Base
    labels: tuple[str, ...]
    rows: TrainingRows
    settings: StepSettings
    device: torch.device
    checking: bool = False

    @property
    def steps(self) -> int:
        """Optimiser steps of one pass."""
        return len(self.rows.labels) // self.settings.batch_size

    def for_checking(self) -> "Task":
        """The start of the same task, for the comparison of losses."""
        count = min(self.steps, CHECKED_STEPS) * self.settings.batch_size
        rows = replace(self.rows, reviews=self.rows.reviews[:count], labels=self.rows.labels[:count])
        return replace(self.in_precision("fp32"), rows=rows, checking=True)

    def in_precision(self, precision: Precision) -> "Task":
        """The same task in another precision."""
        return replace(self, settings=self.settings.model_copy(update={"precision": precision}))

    def fresh(self, model: Any) -> Any:
        """A copy of `model` to train, on the device."""
        copied = copy.deepcopy(model).to(self.device).train()
        if self.checking:
            for module in copied.modules():
                if isinstance(module, torch.nn.Dropout):
                    module.p = 0.0
            for name, parameter in copied.named_parameters():
                if not name.startswith(f"{copied.base_model_prefix}."):
                    parameter.data *= SHARPER
        return copied


def check_same_work(task: Task, trained: Trained) -> None:
    """See that a pass read every row once and took as many optimiser steps as it has batches.

    Raises:
        AssertionError: it did not, so that its time means nothing.
    """
    assert sorted(trained.rows) == list(range(len(task.rows.labels))), "other reviews than those of the task"
    assert trained.steps == task.steps, f"{trained.steps} optimiser steps instead of {task.steps}"


def check_same_losses(losses: dict[str, list[float]]) -> float:
    """See that every contestant had the same loss at every step; returns the largest relative difference.

    Raises:
        AssertionError: one of them trains something else.
    """
    first, *others = losses.values()
    assert all(len(other) == len(first) for other in others), f"losses of other numbers of steps: {losses}"
    differences = [abs(a - b) / abs(a) for other in others for a, b in zip(first, other, strict=True)]
    assert all(d < SAME_LOSS for d in differences), f"not the same training, losses step by step: {losses}"
    return max(differences)
