"""The model of a bundle in torch: its int8 weights multiplied out again, so that peers compute what the worker serves.

A bundle ships the IR of OpenVINO alone. Its nodes still bear the names of the modules that were traced, and its weights
are constants times a scale for each row. Only the rounding of activations is not in the model that this makes.
"""

import re
from typing import Any

import numpy as np

from consumer.model.bundle import Bundle
from consumer.model.engines.openvino import the_core

#: Name of a node that has weights: module, kind of operation, step.
NAME = re.compile(r"__module\.model\.(.+)/aten::(linear|layer_norm|embedding)/(\w+(?:/fq_weights_0)?)$")
#: Which step has which parameter of the module, and in which input; None: the node itself.
PARAMETERS = {
    ("linear", "MatMul"): ("weight", 1),
    ("linear", "Add"): ("bias", 1),
    ("layer_norm", "Multiply_1"): ("weight", 1),
    ("layer_norm", "Add"): ("bias", 1),
    ("embedding", "Gather/fq_weights_0"): ("weight", None),
}


def multiplied_out(bundle: Bundle) -> Any:
    """The DistilBERT of `bundle` as transformers has it, fp32.

    Raises:
        ValueError: the served variant is no DistilBERT with int8 weights.
    """
    import torch
    from transformers import DistilBertConfig, DistilBertForSequenceClassification

    found = _parameters(the_core().read_model(bundle.path / bundle.manifest.variants[bundle.manifest.served].files[0]))
    words = found.get("distilbert.embeddings.word_embeddings.weight")
    if words is None:
        raise ValueError(f"{bundle.path} has no DistilBERT whose weights could be read: name one with --checkpoint")
    layers = len([name for name in found if name.endswith("ffn.lin1.weight")])
    config = DistilBertConfig(vocab_size=len(words), n_layers=layers, num_labels=len(bundle.manifest.labels))
    model = DistilBertForSequenceClassification(config)
    model.load_state_dict({name: torch.from_numpy(value) for name, value in found.items()})
    return model


def _parameters(graph: Any) -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = {}
    for node in graph.get_ordered_ops():
        named = NAME.match(node.get_friendly_name())
        if named is None or (named[2], named[3]) not in PARAMETERS:
            continue
        parameter, place = PARAMETERS[named[2], named[3]]
        value = _constant(node if place is None else _input(node, place))
        if named[3] == "MatMul":
            value = value * _smoothing(node)
        found[f"{named[1]}.{parameter}"] = value if parameter == "weight" and value.shape[0] > 1 else value.ravel()
    return found


def _smoothing(product: Any) -> Any:
    """What each input of a product is multiplied by, so that its activations round well."""
    node = _input(product, 0)
    if node.get_type_name() == "FakeQuantize":
        node = _input(node, 0)
    return _constant(_input(node, 1)).ravel() if node.get_friendly_name().endswith("nncf_smooth_quant") else 1.0


def _constant(node: Any) -> np.ndarray:
    kind = node.get_type_name()
    if kind == "Constant":
        return np.array(node.data)
    values = [_constant(_input(node, place)) for place in range(len(node.inputs()))]
    if kind == "Convert":
        return values[0].astype(np.float32)
    if kind == "Multiply":
        return np.asarray(values[0] * values[1])
    raise ValueError(f"weights of a {kind} cannot be read")


def _input(node: Any, place: int) -> Any:
    return node.input(place).get_source_output().get_node()
