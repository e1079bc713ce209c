"""Frozen layers: they keep their weights and cost no backward pass, whatever an architecture calls its layers."""

from typing import Any

import pytest

from consumer.errors import UsageError

pytestmark = pytest.mark.training

LAYERS = 4
COMMON = {"vocab_size": 30, "max_position_embeddings": 40, "num_labels": 2}
SIZES = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": LAYERS, "num_attention_heads": 2}
ARCHITECTURES = {
    "distilbert": {"dim": 32, "hidden_dim": 64, "n_layers": LAYERS, "n_heads": 2},
    "bert": SIZES,
    "mpnet": SIZES,
    "roberta": SIZES,
}


def tiny(kind: str) -> Any:
    """A classifier of random weights with four layers."""
    import torch
    from transformers import AutoConfig, AutoModelForSequenceClassification

    torch.manual_seed(0)
    config = AutoConfig.for_model(kind, **COMMON, **ARCHITECTURES.get(kind, SIZES))
    return AutoModelForSequenceClassification.from_config(config).train()  # type: ignore[no-untyped-call]


def backward_flops(model: Any) -> int:
    """Floating-point operations of the backward pass over two texts of eight tokens."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    ids = torch.arange(2, 18).reshape(2, 8)
    loss = model(input_ids=ids, labels=torch.tensor([0, 1])).loss
    with FlopCounterMode(display=False) as counter:
        loss.backward()
    return int(counter.get_total_flops())


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_frozen_layers_get_no_gradient_and_cost_no_backward_pass(kind: str) -> None:
    """Half the layers frozen: their share of the work is gone, and everything above them still learns."""
    from training.encoders.freezing import freeze, layers_of

    whole = backward_flops(tiny(kind))
    model = tiny(kind)
    freeze(model, LAYERS // 2)
    assert backward_flops(model) < 0.52 * whole
    lower, upper = layers_of(model)[: LAYERS // 2], layers_of(model)[LAYERS // 2 :]
    assert all(p.grad is None for layer in lower for p in layer.parameters())
    assert all(p.grad is None for p in model.get_input_embeddings().parameters())
    assert all(p.grad is not None for layer in upper for p in layer.parameters() if p.ndim > 1)
    assert all(p.grad is not None for p in model.classifier.parameters())


def test_nothing_is_frozen_by_default_and_everything_can_be() -> None:
    """0 leaves the model alone; all layers leave the head to learn."""
    from training.encoders.freezing import freeze

    model = tiny("distilbert")
    freeze(model, 0)
    assert all(p.requires_grad for p in model.parameters())
    freeze(model, LAYERS)
    trained = {name.split(".")[0] for name, p in model.named_parameters() if p.requires_grad}
    assert trained == {"pre_classifier", "classifier"}


def test_more_layers_than_there_are_cannot_be_frozen() -> None:
    """The message says how many there are."""
    from training.encoders.freezing import freeze

    with pytest.raises(UsageError, match="has 4 layers"):
        freeze(tiny("distilbert"), LAYERS + 1)


def test_a_model_that_shares_one_layer_cannot_be_frozen() -> None:
    """ALBERT applies the same layer again and again: there is no lower one."""
    from training.encoders.freezing import freeze

    with pytest.raises(UsageError, match="albert model has no list of layers"):
        freeze(tiny("albert"), 1)
