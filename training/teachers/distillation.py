"""The loss of a student: its teacher's answers, the teacher's last hidden state and attention, and the labels.

    soft     T^2 x KL(softmax(teacher / T) || softmax(student / T))      Hinton, Vinyals, Dean 2015, "Distilling the
             Knowledge in a Neural Network", section 2: T^2 keeps the gradients of the size that they have at T = 1
    hidden   1 - cos(map(student), teacher) of the last layer at the first token, which is what the head reads. Cosine:
             Sanh et al. 2019, "DistilBERT", section 3. First token only: Sun et al. 2019, "Patient Knowledge
             Distillation", section 3.2; so a teacher may cut texts into other tokens than the student, and its states
             are few enough to be kept. The map, where the widths differ, is learnt with the student and thrown away
             after it: Jiao et al. 2020, "TinyBERT", equation 8
    attention  KL(teacher || student) of what the first token attends to in the last layer, the mean over its heads:
             distributions over tokens, as in Wang et al. 2020, "MiniLM", section 3.1, but of that token and that mean
             alone, for the reasons above; and so the numbers of heads may differ. It adds nothing for a row of which
             the two read other tokens
    label    cross-entropy, of the rows that have a label

The loss of a step is the mean over all its rows of the weighted sum; a row without a label adds no label term to it.
Student and teacher each read a long text in as many windows as they are set to: logits and states of either are the
means over its own windows. The map is linear, so that it may be applied to the mean.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from training.encoders.objective import UNLABELED, Outputs
from training.settings import DistilSettings

#: The student's attribute that holds the learnt map: the checkpoints of the run hold it too, the bundle does not.
MAP = "hidden_map"

#: Keeps the logarithm of a share of attention that was rounded to 0 finite.
_LEAST_SHARE = 1e-9


@dataclass(frozen=True)
class Taught:
    """Answers of the teacher to every row: `logits` (rows, labels) and, where wanted, the other two.

    `hidden` (rows, its width); `attention` (rows, tokens that are read at most), 0 where there is no token, and all 0
    in a row that does not count.
    """

    logits: torch.Tensor
    hidden: torch.Tensor | None = None
    attention: torch.Tensor | None = None


class Distillation:
    """The objective of a student.

    Args:
        taught: what the teacher said of every row.
        settings: the weights of the terms, and the temperature.
        weights: of each label in the label term, (labels,); None: all count the same.
        map_to_teacher: from the student's width to the teacher's; None: they are the same, or `hidden` is not used.
    """

    def __init__(
        self,
        taught: Taught,
        settings: DistilSettings,
        weights: torch.Tensor | None = None,
        map_to_teacher: nn.Module | None = None,
    ) -> None:
        self._taught, self._settings, self._weights = taught, settings, weights
        self._map = map_to_teacher or nn.Identity()
        self.hidden = taught.hidden is not None
        self.attention = taught.attention is not None

    def divisor(self, rows: Sequence[int]) -> float:
        """Every row counts the same, labelled or not."""
        return len(rows)

    def total(self, outputs: Outputs, rows: Sequence[int]) -> torch.Tensor:
        """See the top of this file."""
        settings, logits = self._settings, outputs.logits
        index = torch.as_tensor(rows)
        answers = self._taught.logits[index].to(logits.device)
        loss = settings.soft_weight * soft_loss(logits, answers, settings.temperature)
        loss = loss + settings.label_weight * nn.functional.cross_entropy(
            logits, outputs.labels, weight=self._weights, reduction="sum", ignore_index=UNLABELED
        )
        if outputs.hidden is not None and self._taught.hidden is not None:
            wanted = self._taught.hidden[index].to(logits.device).float()
            likeness = nn.functional.cosine_similarity(self._map(outputs.hidden), wanted)
            loss = loss + settings.hidden_weight * (1 - likeness).sum()
        if outputs.attention is not None and self._taught.attention is not None:
            wanted = self._taught.attention[index, : outputs.attention.shape[1]].to(logits.device).float()
            loss = loss + settings.attention_weight * attention_loss(outputs.attention, wanted)
        return loss


def soft_loss(student: torch.Tensor, teacher: torch.Tensor, temperature: float) -> torch.Tensor:
    """`soft` as above, summed over the rows; both are logits of shape (rows, labels)."""
    ours, theirs = (torch.log_softmax(logits / temperature, dim=1) for logits in (student, teacher))
    return temperature**2 * nn.functional.kl_div(ours, theirs, reduction="sum", log_target=True)


def attention_loss(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """`attention` as above, summed over the rows; both are shares of attention, (rows, tokens)."""
    ours = student.clamp(min=_LEAST_SHARE).log()
    return nn.functional.kl_div(ours, teacher, reduction="sum")


def add_map(model: Any, teacher_width: int | None) -> nn.Module | None:
    """Give `model` a learnt map to `teacher_width`, where its own width is another one; see `MAP`."""
    if teacher_width in (None, model.config.hidden_size):
        return None
    setattr(model, MAP, nn.Linear(model.config.hidden_size, teacher_width, bias=False))
    return getattr(model, MAP)  # type: ignore[no-any-return]


def drop_map(model: Any) -> None:
    """Take the map out of a model that is trained."""
    if hasattr(model, MAP):
        delattr(model, MAP)
