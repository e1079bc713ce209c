"""The loss of a student against values that were computed by hand."""

import math
from typing import TYPE_CHECKING, Any

import pytest

from consumer.model.texts.reading import Truncation
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

    from training.encoders.objective import Outputs
    from training.teachers.distillation import Distillation, Taught

    rows = list(range(len(labels)))
    taught = Taught(torch.tensor([SURE] * len(rows)), given.pop("hidden", None), given.pop("attention", None))
    seen = given.pop("state", None), given.pop("attended", None)
    outputs = Outputs(torch.tensor([EVEN] * len(rows)), torch.tensor(labels), *seen)
    return Distillation(taught, settings, **given).total(outputs, rows)


def test_the_soft_term_is_the_divergence_at_the_temperature_times_its_square() -> None:
    """Hinton's formula, by hand; and the teacher's own answers cost nothing."""
    import torch

    from training.teachers.distillation import soft_loss

    settings = DistilSettings(temperature=2, soft_weight=1, label_weight=0)
    assert pytest.approx(0.5232481) == SOFT
    assert total(settings, [0]).item() == pytest.approx(SOFT)
    assert total(settings.model_copy(update={"soft_weight": 0.5}), [0, 1]).item() == pytest.approx(SOFT)
    answers = torch.tensor([SURE, (-1.0, 4.0)])
    assert soft_loss(answers, answers + 7, 2).item() == pytest.approx(0, abs=1e-6)


def test_a_row_without_a_label_adds_no_label_term() -> None:
    """Two labelled rows of four: the label term is that of two, the soft term that of all; each row counts the same."""
    import torch

    from training.encoders.objective import UNLABELED
    from training.teachers.distillation import Distillation, Taught

    settings = DistilSettings(temperature=2, soft_weight=1, label_weight=3)
    labels = [1, UNLABELED, 0, UNLABELED]
    assert total(settings, labels).item() == pytest.approx(4 * SOFT + 3 * 2 * math.log(2), rel=1e-6)
    assert total(settings, [UNLABELED] * 2).item() == pytest.approx(2 * SOFT)
    weighted = total(settings, labels, weights=torch.tensor([0.5, 2.0])).item()
    assert weighted == pytest.approx(4 * SOFT + 3 * (2.0 + 0.5) * math.log(2), rel=1e-6)
    assert Distillation(Taught(torch.zeros(4, 2)), settings).divisor([0, 1, 3]) == 3


def test_balanced_weights_leave_out_rows_without_a_label() -> None:
    """They are those of the labelled rows alone."""
    from training.encoders.objective import UNLABELED, balanced_weights

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


def test_the_attention_term_is_the_divergence_of_what_is_attended_to() -> None:
    """By hand for a row of three tokens, with one that neither sees; nothing for a row that does not count."""
    import torch

    settings = DistilSettings(soft_weight=0, label_weight=0, attention_weight=3)
    # Four tokens are read at most, of these rows three.
    theirs = torch.tensor([[0.5, 0.5, 0, 0], [0, 0, 0, 0]], dtype=torch.float16)
    ours = torch.tensor([[0.25, 0.75, 0.0], [0.1, 0.2, 0.7]], requires_grad=True)
    found = total(settings, [0, 1], attention=theirs, attended=ours)
    assert found.item() == pytest.approx(3 * (0.5 * math.log(2) + 0.5 * math.log(2 / 3)), rel=1e-5)
    found.backward()  # type: ignore[no-untyped-call]
    assert ours.grad is not None
    assert ours.grad[0, 0] < ours.grad[0, 1] < 0
    assert not ours.grad[1].any()
    assert total(settings, [0], attention=theirs[:1], attended=torch.tensor([[0.5, 0.5, 0]])).item() == pytest.approx(0)
    # A token that the student's arithmetic rounds to nothing costs much, but not without end
    blind = total(settings, [0], attention=theirs[:1], attended=torch.tensor([[0.0, 1.0, 0.0]])).item()
    assert 20 < blind < 60


def test_a_run_from_before_the_attention_term_goes_on_without_one() -> None:
    """A checkpoint of such a run does not name it."""
    assert "attention_weight" not in DistilSettings().identity()
    assert DistilSettings(attention_weight=0.5).identity()["attention_weight"] == 0.5


def test_settings_that_learn_nothing_from_a_teacher_are_refused() -> None:
    """Labels alone are what fit is for; an impossible temperature is named."""
    with pytest.raises(ValueError, match="nothing is left to learn from a teacher"):
        DistilSettings(soft_weight=0)
    with pytest.raises(ValueError, match="does not work with windows"):
        DistilSettings(attention_weight=1, truncation=Truncation.WINDOWS)
    with pytest.raises(ValueError, match="needs teacher_max_length to equal train_max_length"):
        DistilSettings(attention_weight=1, teacher_max_length=24)
    assert DistilSettings(soft_weight=0, attention_weight=1, teacher_max_length=24, train_max_length=24)
    with pytest.raises(ValueError, match="temperature"):
        DistilSettings(temperature=0)
