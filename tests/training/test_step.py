"""One optimiser step: how it is cut, weighted and shared out changes nothing but the order of the additions."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.tiny_encoder import make_base, one_window
from training.settings import StepSettings

if TYPE_CHECKING:
    from torch import Tensor

pytestmark = pytest.mark.training


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny encoder of random weights."""
    return make_base(tmp_path_factory.mktemp("step") / "base")


def steps_taken(
    base: Path, settings: StepSettings, labels: Sequence[int], *, dropout: float = 0.0, drawn: int = 0
) -> tuple[list[float], dict[str, "Tensor"]]:
    """Losses and weights after three steps on reviews of random words; without dropout unless it is given.

    `drawn` random numbers are taken before the first step.
    """
    import torch
    from transformers import DistilBertForSequenceClassification

    from training.loop.step import Stepper, TrainingRows, make_optimizer

    torch.manual_seed(1)
    model: Any = DistilBertForSequenceClassification.from_pretrained(base, num_labels=2, dtype=torch.float32)
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = dropout
    draw = np.random.default_rng(3)
    reviews = [one_window(draw.integers(4, 20, draw.integers(4, 30)).tolist()) for _ in labels]
    stepper = Stepper(model.train(), make_optimizer(model, settings), TrainingRows(reviews, labels, 0), settings)
    torch.rand(drawn)
    losses = [stepper.step(number, 1e-3) for number in range(3)]
    return losses, {name: tensor.clone() for name, tensor in model.state_dict().items()}


def furthest(one: dict[str, "Tensor"], other: dict[str, "Tensor"]) -> float:
    """Largest difference of a weight."""
    return max(float((one[name] - other[name]).abs().max()) for name in one)


LABELS = [0, 1, 1, 1] * 6


def one_step(model: Any, rows: Any, micro_batch_tokens: int) -> list["Tensor"]:
    """The gradient of the token embeddings that the optimiser was given in one step."""
    import torch

    from training.loop.step import Stepper, make_optimizer

    settings = StepSettings(batch_size=len(rows.reviews), micro_batch_tokens=micro_batch_tokens, precision="fp32")
    optimizer = make_optimizer(model, settings)
    given: list[torch.Tensor] = []
    optimizer.register_step_pre_hook(lambda *_: given.append(model.get_input_embeddings().weight.grad.clone()))
    Stepper(model.train(), optimizer, rows, settings).step(0, 1e-3)
    return given


@pytest.mark.parametrize("micro_batch_tokens", [10_000, 16])
def test_the_embeddings_get_their_gradient_row_by_row(
    base: Path, monkeypatch: pytest.MonkeyPatch, micro_batch_tokens: int
) -> None:
    """In one pass and in many, with padding and repeated tokens: the gradient of the whole batch, without tables."""
    import torch
    from transformers import DistilBertForSequenceClassification

    from training.loop import step
    from training.loop.step import TrainingRows

    model: Any = DistilBertForSequenceClassification.from_pretrained(
        base, num_labels=2, dtype=torch.float32, dropout=0.0, attention_dropout=0.0, seq_classif_dropout=0.0
    )
    monkeypatch.setattr(step, "MAX_GRADIENT_NORM", 1e9)
    reviews = [one_window([5, 6, 6, *range(7, 7 + length)]) for length in range(12)]
    rows = TrainingRows(reviews, [0, 1] * 6, 0)
    table = model.get_input_embeddings().weight
    outputs = rows.outputs(model.train(), range(12), torch.device("cpu"), "fp32")
    (expected,) = torch.autograd.grad(torch.nn.functional.cross_entropy(outputs.logits, outputs.labels), [table])
    assert not expected[0].any()  # the padding
    assert expected[6].any()
    added: list[bool] = []
    table.register_hook(lambda gradient: added.append(gradient.is_sparse))
    (given,) = one_step(model, rows, micro_batch_tokens)
    torch.testing.assert_close(given, expected, rtol=1e-4, atol=1e-7)
    assert added == [True] * len(rows.groups(range(12), micro_batch_tokens))
    assert (len(added) == 1) == (micro_batch_tokens == 10_000)
    assert not model.get_input_embeddings().sparse


def test_a_loss_that_fails_leaves_the_embeddings_as_they_were(base: Path) -> None:
    """Later uses of the model get gradients as usual."""
    import torch
    from transformers import DistilBertForSequenceClassification

    from training.loop.step import Stepper, TrainingRows, make_optimizer

    class Failing:
        hidden = attention = False

        def divisor(self, rows: Sequence[int]) -> float:
            return len(rows)

        def total(self, outputs: Any, rows: Sequence[int]) -> "Tensor":
            raise ArithmeticError

    model: Any = DistilBertForSequenceClassification.from_pretrained(base, num_labels=2, dtype=torch.float32)
    rows, settings = TrainingRows([one_window([4, 5])], [0], 0), StepSettings(batch_size=1)
    stepper = Stepper(model, make_optimizer(model, settings), rows, settings, objective=Failing())
    with pytest.raises(ArithmeticError):
        stepper.step(0, 1e-3)
    assert not model.get_input_embeddings().sparse


def test_a_model_without_a_table_of_embeddings_is_trained_too(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In some families transformers finds none: their gradient is the usual one."""
    from transformers import DistilBertForSequenceClassification

    settings = StepSettings(batch_size=6, micro_batch_tokens=40, precision="fp32")
    losses, weights = steps_taken(base, settings, LABELS)

    def none(_: object) -> None:
        raise NotImplementedError

    monkeypatch.setattr(DistilBertForSequenceClassification, "get_input_embeddings", none)
    others, same = steps_taken(base, settings, LABELS)
    assert others == pytest.approx(losses, rel=1e-5)
    assert furthest(weights, same) < 2e-5


@pytest.mark.parametrize("class_weights", ["none", "balanced"])
def test_micro_batches_add_up_to_the_whole_batch(base: Path, class_weights: Any) -> None:
    """A step in one piece and in pieces of 40 tokens: the same losses and weights, weighted or not."""
    settings = StepSettings(batch_size=12, class_weights=class_weights, micro_batch_tokens=10_000, precision="fp32")
    losses, weights = steps_taken(base, settings, LABELS)
    others, cut = steps_taken(base, settings.model_copy(update={"micro_batch_tokens": 40}), LABELS)
    assert others == pytest.approx(losses, rel=1e-5)
    assert furthest(weights, cut) < 2e-5


def test_balanced_weights_are_those_of_scikit_learn_and_reach_the_loss(base: Path) -> None:
    """Rare labels count more, by scikit-learn's formula; with them the first loss is another one."""
    from sklearn.utils.class_weight import compute_class_weight

    from training.encoders.objective import balanced_weights

    expected = compute_class_weight("balanced", classes=np.array([0, 1]), y=np.array(LABELS))
    assert balanced_weights(LABELS, 2).tolist() == pytest.approx(expected.tolist())
    plain, _ = steps_taken(base, StepSettings(batch_size=12), LABELS)
    balanced, _ = steps_taken(base, StepSettings(batch_size=12, class_weights="balanced"), LABELS)
    assert abs(plain[0] - balanced[0]) > 1e-4


def test_dropout_depends_on_seed_step_and_micro_batch_alone(base: Path) -> None:
    """The same steps drop the same units whatever was drawn before."""
    settings = StepSettings(batch_size=12, micro_batch_tokens=100)
    losses, weights = steps_taken(base, settings, LABELS, dropout=0.3)
    again, same = steps_taken(base, settings, LABELS, dropout=0.3, drawn=17)
    assert again == losses
    assert furthest(weights, same) == 0
    without, _ = steps_taken(base, settings, LABELS)
    assert without[0] != losses[0]


def test_bf16_computes_in_bf16_and_keeps_the_weights_in_fp32(base: Path) -> None:
    """Asked for, it is used on any processor: the losses move a little, the weights stay fp32."""
    import torch

    exact, _ = steps_taken(base, StepSettings(batch_size=12, precision="fp32"), LABELS)
    mixed, weights = steps_taken(base, StepSettings(batch_size=12, precision="bf16"), LABELS)
    assert mixed != exact
    assert mixed == pytest.approx(exact, abs=0.02)
    assert {tensor.dtype for tensor in weights.values()} <= {torch.float32, torch.int64}


@pytest.mark.parametrize(
    ("instructions", "seconds", "chosen"),
    [(True, 0.5, True), (True, 0.9, False), (True, 2.0, False), (False, 0.5, False)],
)
def test_a_cpu_trains_in_bf16_where_its_products_are_clearly_faster(
    monkeypatch: pytest.MonkeyPatch, instructions: bool, seconds: float, chosen: bool
) -> None:
    """By what was measured: some that have the instructions are slower with them. Without them nothing is tried."""
    import torch

    from training.encoders import device

    measured: list[torch.dtype] = []

    def product(dtype: torch.dtype) -> float:
        measured.append(dtype)
        return seconds if dtype == torch.bfloat16 else 1.0

    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: instructions)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    monkeypatch.setattr(device, "_product_seconds", product)
    device.bf16_is_faster_on_this_cpu.cache_clear()
    try:
        assert device.computes_in_bf16(torch.device("cpu"), "auto") == chosen
        assert set(measured) == ({torch.float32, torch.bfloat16} if instructions else set())
        assert device.computes_in_bf16(torch.device("cpu"), "bf16")
        assert not device.computes_in_bf16(torch.device("cpu"), "fp32")
    finally:
        device.bf16_is_faster_on_this_cpu.cache_clear()


def test_a_loss_that_is_not_a_number_changes_no_weight(base: Path) -> None:
    """The step that finds it out leaves the weights as they were."""
    import torch
    from transformers import DistilBertForSequenceClassification

    from training.loop.step import Stepper, TrainingRows, make_optimizer

    settings = StepSettings(batch_size=2)
    model: Any = DistilBertForSequenceClassification.from_pretrained(base, num_labels=2, dtype=torch.float32)
    torch.nn.init.constant_(model.classifier.bias, float("nan"))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    rows = TrainingRows([one_window([2, 5, 3])] * 2, [0, 1], 0)
    loss = Stepper(model, make_optimizer(model, settings), rows, settings).step(0, 1e-3)
    assert np.isnan(loss)
    assert all(torch.equal(before[name], t) for name, t in model.state_dict().items() if name != "classifier.bias")


def test_micro_batches_are_dealt_out_evenly_and_each_once() -> None:
    """The costliest first, each to the process with the least work; no process is idle if there are enough groups."""
    from training.encoders.parallel import deal

    costs = [100, 90, 40, 40, 30, 20]
    dealt = deal(costs, 2)
    assert sorted(index for hand in dealt for index in hand) == list(range(6))
    assert [sum(costs[index] for index in hand) for hand in dealt] == [160, 160]
    assert all(deal([5, 5, 5], 3))
    assert deal([7], 2) == [[0], []]
    assert deal(costs, 1) == [[0, 1, 2, 3, 4, 5]]


def test_the_smallest_settings_are_refused() -> None:
    """A micro-batch that holds no token, a negative number of layers, an unknown precision."""
    for wrong in ({"micro_batch_tokens": 0}, {"freeze": -1}, {"precision": "fp16"}, {"class_weights": "often"}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            StepSettings.model_validate(wrong)
