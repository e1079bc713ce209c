"""The loss that an optimiser step minimises: by default the cross-entropy with the labels of its rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import nn

#: The label of a row without one: torch's cross-entropy leaves it out.
UNLABELED = -100


@dataclass(frozen=True)
class Outputs:
    """What a model outputs for reviews, in fp32: `logits` (rows, labels); `labels` (rows,) are those of the reviews.

    `hidden` (rows, width), if requested, is the state of the last layer at the first token. Logits and state of a
    review with several windows are the means over its windows. `attention` (rows, tokens of the longest), if requested,
    is what the first token attends to in the last layer, the mean over its heads; 0 at padding.
    """

    logits: torch.Tensor
    labels: torch.Tensor
    hidden: torch.Tensor | None = None
    attention: torch.Tensor | None = None


class Objective(Protocol):
    """A loss that is a sum over rows, so that it can be added up over micro-batches and processes."""

    #: Whether it needs hidden states, and attention.
    hidden: bool
    attention: bool

    def divisor(self, rows: Sequence[int]) -> float:
        """The divisor of the sum over the `rows` of a whole step."""
        ...

    def total(self, outputs: Outputs, rows: Sequence[int]) -> torch.Tensor:
        """The sum of the losses of `rows`, for which the model gave `outputs`."""
        ...


class LabelLoss:
    """Cross-entropy with the labels.

    Args:
        labels: of every row.
        weights: of each label, (labels,); None: all count the same.
    """

    hidden = attention = False

    def __init__(self, labels: Sequence[int], weights: torch.Tensor | None = None) -> None:
        self._labels, self._weights = labels, weights

    def divisor(self, rows: Sequence[int]) -> float:
        """The sum of the weights of the rows, which makes the loss their weighted mean."""
        return len(rows) if self._weights is None else float(self._weights[[self._labels[row] for row in rows]].sum())

    def total(self, outputs: Outputs, rows: Sequence[int]) -> torch.Tensor:  # noqa: ARG002
        """See `Objective`."""
        return nn.functional.cross_entropy(outputs.logits, outputs.labels, weight=self._weights, reduction="sum")


def balanced_weights(labels: Sequence[int], count: int) -> torch.Tensor:
    """Weight of each of `count` labels, (count,): rows / (labels x rows of the label), scikit-learn's "balanced".

    Rows that are `UNLABELED` are ignored.
    """
    known = [label for label in labels if label != UNLABELED]
    rows = torch.bincount(torch.tensor(known), minlength=count)
    return len(known) / (count * rows.clamp(min=1))
