"""A checkpoint of transformers, read back from the OpenVINO graph that was exported of it.

The graph names each operation after its module in transformers. NNCF stores an int8 weight with a scale for each of its
rows. SmoothQuant (Xiao et al. 2022, arXiv:2211.10438) divided the columns of a weight by what its input is multiplied
by; both are undone here. What rounding lost stays lost, about 1/256 of the largest weight of each row.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from consumer.errors import UsageError

Weights = dict[str, npt.NDArray[np.float32]]

#: What the wrapper of the export puts before the name of each module.
PREFIX = "__module.model."

LINEAR, EMBEDDING, NORM = "/aten::linear/MatMul", "/aten::embedding/Gather", "/aten::layer_norm/MVN"

#: Name of the product at the end of the graph if its bias is 0: that of the addition that was left out.
LINEAR_WITHOUT_BIAS = "/aten::linear/Add"

SMOOTHED = "/nncf_smooth_quant"


def weights_of(graph: Any) -> Weights:
    """The tensors of `graph`, an `openvino.Model`, under the names that transformers gives them; fp32.

    Raises:
        UsageError: the model is of another family than DistilBERT and BERT, has another activation than theirs, or its
            weights are stored in an unknown way.
    """
    _check_known(graph)
    found: Weights = {}
    for node in graph.get_ordered_ops():
        module, _, _ = node.get_friendly_name().removeprefix(PREFIX).partition("/")
        if node.get_friendly_name() == f"{PREFIX}{module}{EMBEDDING}":
            found[f"{module}.weight"] = _constant(node.input_value(0))
        elif node.get_type_name() == "MatMul" and node.get_friendly_name() in (
            f"{PREFIX}{module}{LINEAR}",
            f"{PREFIX}{module}{LINEAR_WITHOUT_BIAS}",
        ):
            weight = _linear(node)
            _, bias = _followed_by("Add", node) or (node, np.zeros(len(weight), np.float32))
            found |= {f"{module}.weight": weight, f"{module}.bias": bias}
        elif node.get_friendly_name() == f"{PREFIX}{module}{NORM}":
            width = node.get_output_partial_shape(0)[-1].get_length()
            scaled, weight = _followed_by("Multiply", node) or (node, np.ones(width, np.float32))
            _, bias = _followed_by("Add", scaled) or (node, np.zeros(width, np.float32))
            found |= {f"{module}.weight": weight, f"{module}.bias": bias}
    return found


def config_of(graph: Any, weights: Weights, padding: int) -> Any:
    """The configuration of the DistilBERT or BERT classifier that `graph` was exported of, with its `weights`.

    Args:
        graph: an `openvino.Model`.
        weights: what `weights_of` found in it.
        padding: id of the token that fills short rows.

    Raises:
        UsageError: its attention heads cannot be found.
    """
    from transformers import BertConfig, DistilBertConfig

    if "distilbert.embeddings.word_embeddings.weight" in weights:
        tokens, width = weights["distilbert.embeddings.word_embeddings.weight"].shape
        return DistilBertConfig(
            vocab_size=tokens,
            pad_token_id=padding,
            dim=width,
            n_layers=_layers(weights, "distilbert.transformer.layer."),
            n_heads=_heads(graph, width),
            hidden_dim=len(weights["distilbert.transformer.layer.0.ffn.lin1.weight"]),
            max_position_embeddings=len(weights["distilbert.embeddings.position_embeddings.weight"]),
        )
    tokens, width = weights["bert.embeddings.word_embeddings.weight"].shape
    return BertConfig(
        vocab_size=tokens,
        pad_token_id=padding,
        hidden_size=width,
        num_hidden_layers=_layers(weights, "bert.encoder.layer."),
        num_attention_heads=_heads(graph, width),
        intermediate_size=len(weights["bert.encoder.layer.0.intermediate.dense.weight"]),
        max_position_embeddings=len(weights["bert.embeddings.position_embeddings.weight"]),
        type_vocab_size=len(weights["bert.embeddings.token_type_embeddings.weight"]),
    )


def _check_known(graph: Any) -> None:
    nodes = [node for node in graph.get_ordered_ops() if node.get_friendly_name().startswith(PREFIX)]
    names = (node.get_friendly_name().removeprefix(PREFIX) for node in nodes)
    family = next((name.partition(".")[0] for name in names if name.endswith(EMBEDDING)), "different")
    if family not in ("distilbert", "bert"):
        raise UsageError(f"it is a {family} model, and only distilbert and bert models can be restored")
    gelus = [node for node in nodes if node.get_type_name() == "Gelu"]
    if {node.get_attributes()["approximation_mode"] for node in gelus} != {"ERF"}:
        raise UsageError("its activation is not GELU, and only models with GELU can be restored")


def _linear(node: Any) -> npt.NDArray[np.float32]:
    """Weight of shape (outputs, inputs), without what SmoothQuant moved into the input."""
    weight = _constant(node.input_value(1))
    if not node.get_attributes()["transpose_b"]:
        weight = weight.T
    source = node.input_value(0).get_node()
    if source.get_type_name() == "FakeQuantize":
        source = source.input_value(0).get_node()
    if source.get_friendly_name().endswith(SMOOTHED):
        weight = weight * _constant(source.input_value(1)).reshape(1, -1)
    return weight


def _followed_by(kind: str, node: Any) -> tuple[Any, npt.NDArray[np.float32]] | None:
    """The operation of `kind` that reads `node`, in the same module, and its vector.

    None if it had no effect, such as adding 0 or multiplying by 1: then it is not in the graph.
    """
    scope = node.get_friendly_name().rpartition("/")[0]
    for target in node.output(0).get_target_inputs():
        after = target.get_node()
        name = after.get_friendly_name()
        if after.get_type_name() == kind and name.startswith(f"{scope}/") and not name.endswith(SMOOTHED):
            return after, _constant(after.input_value(1)).reshape(-1)
    return None


def _constant(output: Any) -> npt.NDArray[np.float32]:
    """The value of an output that depends on constants alone: a weight, or an int8 weight and its scales."""
    node = output.get_node()
    inputs = [_constant(node.input_value(index)) for index in range(node.get_input_size())]
    match node.get_type_name():
        case "Constant":
            return np.asarray(node.data).astype(np.float32)
        case "Convert":
            return inputs[0]
        case "Multiply":
            return inputs[0] * inputs[1]
    raise UsageError(f"its weights are stored in a way that is not known here ({node.get_type_name()})")


def _layers(weights: Weights, prefix: str) -> int:
    return len({name.removeprefix(prefix).partition(".")[0] for name in weights if name.startswith(prefix)})


def _heads(graph: Any, width: int) -> int:
    """Attention heads: queries are cut into (batch, tokens, heads, width of a head)."""
    for node in graph.get_ordered_ops():
        if node.get_type_name() == "Reshape" and node.input_value(1).get_node().get_type_name() == "Constant":
            shape = node.input_value(1).get_node().data.tolist()
            if len(shape) == 4 and shape[2] * shape[3] == width:
                return int(shape[2])
    raise UsageError("its attention heads cannot be found")
