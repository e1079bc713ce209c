"""The loss of a student against values that were computed by hand."""

import math
from typing import TYPE_CHECKING, Any

import pytest

from training.settings import DistilSettings

if TYPE_CHECKING:
    from torch import Tensor

pytestmark = pytest.mark.training

#: Logits whose softmax at temperature 2 is (1/2, 1/2) and (3/4, 1/4).
EVEN, SURE = (0.0, 0.0), (2 * math.log(3), 0.0)
#: 4 x KL((3/4, 1/4) || (1/2, 1/2)): T^2 = 4, and 3/4 ln(3/4 / 1/2) + 1/4 ln(1/4 / 1/2).
SOFT = 4 * (0.75 * math.log(1.5) + 0.25 * math.log(0.5))


def total(settings: DistilSettings, labels: list[int], **given: Any) -> "Tensor":
    """The loss of a student that answers `EVEN` to each of these rows, for which the teacher answers `SURE`."""
    import torch

    from training.distillation import Distillation, Taught
    from training.objective import Outputs

    rows = list(range(len(labels)))
    taught = Taught(torch.tensor([SURE] * len(rows)), given.pop("hidden", None))
    outputs = Outputs(torch.tensor([EVEN] * len(rows)), torch.tensor(labels), given.pop("state", None))
    return Distillation(taught, settings, **given).total(outputs, rows)


def test_the_soft_term_is_the_divergence_at_the_temperature_times_its_square() -> None:
    """Hinton's formula, by hand; and the teacher's own answers cost nothing."""
    import torch

    from training.distillation import soft_loss

    settings = DistilSettings(temperature=2, soft_weight=1, label_weight=0)
    assert pytest.approx(0.5232481) == SOFT
    assert total(settings, [0]).item() == pytest.approx(SOFT)
    assert total(settings.model_copy(update={"soft_weight": 0.5}), [0, 1]).item() == pytest.approx(SOFT)
    answers = torch.tensor([SURE, (-1.0, 4.0)])
    assert soft_loss(answers, answers + 7, 2).item() == pytest.approx(0, abs=1e-6)


def test_a_row_without_a_label_adds_no_label_term() -> None:
    """Two labelled rows of four: the label term is that of two, the soft term that of all; each row counts the same."""
    import torch

    from training.distillation import Distillation, Taught
    from training.objective import UNLABELED

    settings = DistilSettings(temperature=2, soft_weight=1, label_weight=3)
    labels = [1, UNLABELED, 0, UNLABELED]
    assert total(settings, labels).item() == pytest.approx(4 * SOFT + 3 * 2 * math.log(2), rel=1e-6)
    assert total(settings, [UNLABELED] * 2).item() == pytest.approx(2 * SOFT)
    weighted = total(settings, labels, weights=torch.tensor([0.5, 2.0])).item()
    assert weighted == pytest.approx(4 * SOFT + 3 * (2.0 + 0.5) * math.log(2), rel=1e-6)
    assert Distillation(Taught(torch.zeros(4, 2)), settings).divisor([0, 1, 3]) == 3


def test_balanced_weights_leave_out_rows_without_a_label() -> None:
    """They are those of the labelled rows alone."""
    from training.objective import UNLABELED, balanced_weights

    assert balanced_weights([0, 1, 1, 1, UNLABELED, UNLABELED], 2).tolist() == pytest.approx([2.0, 2 / 3])


def test_the_hidden_term_compares_directions_through_the_map() -> None:
    """1 - cos of (2, 0) mapped to (2, 2) and (0, 3): 1 - 1/sqrt(2)."""
    import torch
    from torch import nn

    settings = DistilSettings(soft_weight=0, label_weight=0, hidden_weight=10)
    state = torch.tensor([[2.0, 0.0]])
    mapping = nn.Linear(2, 2, bias=False)
    mapping.weight.data = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    hidden = torch.tensor([[0.0, 3.0]], dtype=torch.float16)
    found = total(settings, [0], hidden=hidden, state=state, map_to_teacher=mapping)
    assert found.item() == pytest.approx(10 * (1 - 1 / math.sqrt(2)), rel=1e-5)
    without = total(settings, [0], hidden=hidden, state=state)
    assert without.item() == pytest.approx(10)


def test_settings_that_learn_nothing_from_a_teacher_are_refused() -> None:
    """Labels alone are what fit is for; an impossible temperature is named."""
    with pytest.raises(ValueError, match="nothing is left to learn from a teacher"):
        DistilSettings(soft_weight=0)
    with pytest.raises(ValueError, match="temperature"):
        DistilSettings(temperature=0)
