"""The loss of a student: its teacher's answers, the teacher's last hidden state and attention, and the labels.

    soft     T^2 x KL(softmax(teacher / T) || softmax(student / T))      Hinton, Vinyals, Dean 2015, "Distilling the
             Knowledge in a Neural Network", section 2: T^2 keeps the gradients as large as they are at T = 1
    hidden   1 - cos(map(student), teacher) of the last layer at the first token, which is what the head reads. Cosine:
             Sanh et al. 2019, "DistilBERT", section 3. First token only: Sun et al. 2019, "Patient Knowledge
             Distillation", section 3.2; so teacher and student may have different tokenizers, and the states are few
             enough to be kept. If the widths differ, a map is trained with the student and discarded afterwards: Jiao
             et al. 2020, "TinyBERT", equation 8
    attention  KL(teacher || student) of what the first token attends to in the last layer, the mean over its heads:
             distributions over tokens, as in Wang et al. 2020, "MiniLM", section 3.1, but of that token and that mean
             alone, for the reasons above; so the numbers of heads may differ. It is 0 for a row that the two split
             into different tokens
    label    cross-entropy, for rows with a label

The loss of a step is the mean over all its rows of the weighted sum; a row without a label has no label term, and one
without an answer has only that. Student
and teacher each split a long text into their own windows, and their logits and states are the means over these. The map
is linear, so it can be applied to the mean.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from training.encoders.objective import UNLABELED, Outputs
from training.settings import DistilSettings

#: The student's attribute that holds the trained map. It is in the checkpoints of the run, but not in the bundle.
MAP = "hidden_map"

#: Keeps the logarithm of an attention weight that was rounded to 0 finite.
_LEAST_SHARE = 1e-9


@dataclass(frozen=True)
class Taught:
    """Answers of the teacher to every row: `logits` (rows, labels) and, if needed, the other two.

    NaN in `logits`: there is no answer to this row.
    `hidden` (rows, its width); `attention` (rows, most tokens read) is 0 where there is no token, and all 0 in a row
    that teaches no attention.
    """

    logits: torch.Tensor
    hidden: torch.Tensor | None = None
    attention: torch.Tensor | None = None


class Distillation:
    """The objective of a student.

    Args:
        taught: the answers of the teacher to every row.
        settings: the weights of the terms, and the temperature.
        weights: of each label in the label term, (labels,); None: all count the same.
        map_to_teacher: from the student's width to the teacher's; None: they are equal, or `hidden` is not used.
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
        self._whole = bool(torch.isfinite(taught.logits).all())

    def divisor(self, rows: Sequence[int]) -> float:
        """The number of rows, labelled or not."""
        return len(rows)

    def total(self, outputs: Outputs, rows: Sequence[int]) -> torch.Tensor:
        """See the top of this file."""
        settings, logits = self._settings, outputs.logits
        index = torch.as_tensor(rows)
        answers = self._taught.logits[index].to(logits.device)
        known = slice(None) if self._whole else torch.isfinite(answers).all(dim=1)
        loss = settings.soft_weight * soft_loss(logits[known], answers[known], settings.temperature)
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
    """`attention` as above, summed over the rows; both are attention weights, (rows, tokens)."""
    ours = student.clamp(min=_LEAST_SHARE).log()
    return nn.functional.kl_div(ours, teacher, reduction="sum")


def add_map(model: Any, teacher_width: int | None) -> nn.Module | None:
    """Give `model` a map to `teacher_width`, to be trained with it, if its own width differs; see `MAP`."""
    if teacher_width in (None, model.config.hidden_size):
        return None
    setattr(model, MAP, nn.Linear(model.config.hidden_size, teacher_width, bias=False))
    return getattr(model, MAP)  # type: ignore[no-any-return]


def drop_map(model: Any) -> None:
    """Remove the map from a trained model."""
    if hasattr(model, MAP):
        delattr(model, MAP)
