"""The last layer for the first token only: the same logits and gradients for less work, wherever a model is asked."""

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.tiny_encoder import make_base, one_window

pytestmark = pytest.mark.training

LAYERS = 3
SIZES = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": LAYERS, "num_attention_heads": 4}
DISTILBERT = {"dim": 32, "hidden_dim": 64, "n_layers": LAYERS, "n_heads": 4}
SHORTENED = ("distilbert", "bert", "roberta", "xlm-roberta", "camembert", "electra")
UNKNOWN = ("mpnet", "deberta-v2")
WIDTHS = (9, 4, 1)


def tiny(kind: str, attention: str = "sdpa") -> Any:
    """A classifier of random weights, large enough that answers differ, without dropout."""
    import torch
    from transformers import AutoConfig, AutoModelForSequenceClassification

    torch.manual_seed(0)
    config = AutoConfig.for_model(
        kind, vocab_size=40, max_position_embeddings=40, **(DISTILBERT if kind == "distilbert" else SIZES)
    )
    if kind == "electra":
        config.embedding_size = 32
    model = AutoModelForSequenceClassification.from_config(config, attn_implementation=attention)  # type: ignore[no-untyped-call]
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim > 1:
                weight.mul_(8)
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    for name in ("attention_dropout", "attention_probs_dropout_prob"):
        setattr(model.config, name, 0.0)
    return model


def inputs(masked: bool) -> dict[str, Any]:
    """Three texts of `WIDTHS` tokens, padded; or three of nine."""
    import torch

    ids = torch.randint(5, 40, (len(WIDTHS), max(WIDTHS)), generator=torch.Generator().manual_seed(1))
    if not masked:
        return {"input_ids": ids}
    mask = torch.tensor([[1] * width + [0] * (max(WIDTHS) - width) for width in WIDTHS])
    return {"input_ids": ids, "attention_mask": mask}


def tokens_seen(model: Any) -> dict[str, int]:
    """Filled while `model` computes: for each linear layer the tokens of a text that it multiplied."""
    import torch

    seen: dict[str, int] = {}

    def note(name: str) -> Any:
        def hook(_: Any, arguments: tuple[Any, ...]) -> None:
            seen[name] = arguments[0].shape[1] if arguments[0].ndim == 3 else 1

        return hook

    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Linear):
            module.register_forward_pre_hook(note(name))
    return seen


def last_layer(model: Any) -> Any:
    """The last one."""
    from training.encoders.freezing import layers_of

    return layers_of(model)[-1]


def in_last_layer(seen: dict[str, int]) -> list[int]:
    """The tokens that the linear layers of the last layer multiplied, the fewest first."""
    return sorted(tokens for name, tokens in seen.items() if f"layer.{LAYERS - 1}." in name)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("kind", SHORTENED)
def test_logits_and_gradients_are_the_same(kind: str, masked: bool, attention: str) -> None:
    """With and without padding: equal to those of the whole last layer up to rounding, and so are the gradients."""
    import torch

    from consumer.model.engines.first_token import first_token_only

    found = []
    for context in (nullcontext(), None):
        model = tiny(kind, attention).train()
        with context or first_token_only(model):
            logits = model(**inputs(masked)).logits
        logits[:, 1].sum().backward()
        gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None and p.grad.any()}
        found.append((logits, gradients))
    (whole, theirs), (short, ours) = found
    assert float(whole.detach().std()) > 0.01
    torch.testing.assert_close(short, whole, rtol=1e-4, atol=1e-5)
    assert len(ours) > 16 * LAYERS - 6
    assert set(ours) - set(theirs) == set()
    for name, gradient in theirs.items():
        scale = float(gradient.abs().max())
        other = ours.get(name, torch.zeros_like(gradient))
        assert float((other - gradient).abs().max()) < 1e-3 * max(scale, 1e-4), name


@pytest.mark.parametrize("kind", SHORTENED)
def test_only_keys_and_values_of_the_last_layer_see_all_tokens(kind: str) -> None:
    """Two of its six linear layers, and all layers before it; afterwards, all of them again."""
    from consumer.model.engines.first_token import first_token_only

    model = tiny(kind).eval()
    seen = tokens_seen(model)
    with first_token_only(model):
        model(**inputs(masked=True))
    assert in_last_layer(seen) == [1, 1, 1, 1, 9, 9]
    assert all(tokens == 9 for name, tokens in seen.items() if "layer.0." in name or "layer.1." in name)
    model(**inputs(masked=True))
    assert in_last_layer(seen) == [9] * 6


@pytest.mark.parametrize("kind", UNKNOWN)
def test_a_model_of_another_family_is_left_alone(kind: str) -> None:
    """Its last layer sees all tokens, and it answers the same."""
    import torch

    from consumer.model.engines.first_token import first_token_only

    model = tiny(kind, "eager").eval()
    before = model(**inputs(masked=True)).logits
    seen = tokens_seen(model)
    with first_token_only(model):
        assert torch.equal(model(**inputs(masked=True)).logits, before)
    assert set(in_last_layer(seen)) == {9}


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("bert", lambda model: setattr(model.config, "is_decoder", True)),
        ("distilbert", lambda model: setattr(model.config, "_attn_implementation", "flex_attention")),
        ("bert", lambda model: setattr(last_layer(model), "gradient_checkpointing", True)),
        ("distilbert", lambda model: setattr(last_layer(model), "forward", last_layer(model).forward)),
    ],
)
def test_a_layer_that_works_differently_is_left_alone(kind: str, change: Callable[[Any], None]) -> None:
    """A decoder, a kernel with other masks, a layer computed twice, and a wrapped one."""
    from consumer.model.engines.first_token import first_token_only

    model = tiny(kind).train()
    change(model)
    before = vars(last_layer(model)).get("forward")
    with first_token_only(model):
        assert vars(last_layer(model)).get("forward") is before
    assert vars(last_layer(model)).get("forward") is before


def test_it_may_be_nested_and_ends_with_an_error_too() -> None:
    """The layer is whole again after the outer block, and after an exception."""
    from consumer.model.engines.first_token import first_token_only

    model = tiny("bert").eval()
    with first_token_only(model):
        with first_token_only(model):
            pass
        assert "forward" in vars(last_layer(model))
    with pytest.raises(ArithmeticError), first_token_only(model):
        raise ArithmeticError
    assert "forward" not in vars(last_layer(model))


def test_dropout_in_attention_is_that_of_the_model() -> None:
    """While training only: half of what the first token sees is dropped where the model says so."""
    import torch

    from consumer.model.engines.first_token import first_token_only

    model = tiny("distilbert").eval()
    last_layer(model).attention.dropout.p = 0.5
    with first_token_only(model):
        whole = model(**inputs(masked=False)).logits
        assert torch.equal(model(**inputs(masked=False)).logits, whole)
        model.train()
        assert not torch.equal(model(**inputs(masked=False)).logits, whole)


def test_padding_is_masked_in_bf16_too() -> None:
    """Under autocast, with the mask of either way to compute attention: what stands behind a text changes nothing."""
    import torch

    from consumer.model.engines.first_token import first_token_only

    for attention in ("sdpa", "eager"):
        model = tiny("distilbert", attention).eval()
        given = inputs(masked=True)
        with torch.autocast("cpu", torch.bfloat16), first_token_only(model):
            logits = model(**given).logits
            given["input_ids"][given["attention_mask"] == 0] = 7
            assert torch.equal(model(**given).logits, logits)


def test_training_computes_the_first_token_only_unless_attention_is_distilled(tmp_path: Path) -> None:
    """`TrainingRows.outputs`, with hidden states and without; with attention the layer is whole."""
    import torch
    from transformers import DistilBertForSequenceClassification

    from training.encoders.attention import attention_shown
    from training.loop.step import TrainingRows

    model: Any = DistilBertForSequenceClassification.from_pretrained(make_base(tmp_path / "base"))
    model.eval()
    last = len(model.distilbert.transformer.layer) - 1
    rows = TrainingRows([one_window(range(4, 4 + width)) for width in WIDTHS], [0, 1, 0], 0)
    seen = tokens_seen(model)

    def asked(**wanted: bool) -> tuple[Any, int]:
        with attention_shown(model, wanted.get("attention", False)):
            outputs = rows.outputs(model, range(3), torch.device("cpu"), "fp32", **wanted)
        return outputs, seen[f"distilbert.transformer.layer.{last}.ffn.lin1"]

    plain, tokens = asked()
    assert tokens == 1
    with_states, tokens = asked(hidden=True)
    assert tokens == 1
    whole, tokens = asked(hidden=True, attention=True)
    assert tokens == 9
    torch.testing.assert_close(plain.logits, whole.logits)
    torch.testing.assert_close(with_states.hidden, whole.hidden)


def test_the_exported_graph_has_a_short_last_layer(tmp_path: Path) -> None:
    """All products with inner weights except that of the last layer see every token; the logits are torch's."""
    import torch

    from consumer.model.engines.openvino import the_core
    from training.packaging.export import FP32_IR, export_openvino

    model = tiny("distilbert").eval()
    (tmp_path / "openvino").mkdir()
    with torch.no_grad():
        expected = model(**inputs(masked=True)).logits.numpy()
    export_openvino(model, tmp_path)
    graph = the_core().read_model(tmp_path / FP32_IR[0])
    compiled = the_core().compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    given = {name: tensor.numpy() for name, tensor in inputs(masked=True).items()}
    assert np.abs(compiled(given)[0] - expected).max() < 1e-4
    graph.reshape({name: list(array.shape) for name, array in given.items()})
    products = [list(node.shape) for node in graph.get_ops() if node.get_type_name() == "MatMul"]
    inner = [shape[1] for shape in products if len(shape) == 3 and shape[2] == DISTILBERT["hidden_dim"]]
    assert inner == [9] * (LAYERS - 1) + [1]
