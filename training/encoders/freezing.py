"""Keep the lower part of an encoder as it is: freezing half the layers halves the work of a backward pass."""

from typing import Any

from torch import nn

from consumer.errors import UsageError


def freeze(model: Any, count: int) -> None:
    """Exclude the `count` lowest layers of `model`, and everything below them, from training; 0: none.

    Everything except the upper layers, the pooler and the head is frozen: a relative position bias or a norm that feeds
    every layer would otherwise pull the gradient back through the frozen ones.

    Args:
        model: a sequence classifier of transformers.
        count: layers; with all of them only the head (and the pooler) is trained.

    Raises:
        UsageError: the encoder has fewer layers, or no list of layers is found.
    """
    if not count:
        return
    check_layers(model.config, count)
    encoder = model.base_model
    layers = layers_of(model)
    trained = {id(p) for layer in layers[count:] for p in layer.parameters()}
    trained |= {id(p) for name, p in encoder.named_parameters() if name.startswith("pooler.")}
    for parameter in encoder.parameters():
        parameter.requires_grad_(id(parameter) in trained)


def check_layers(config: Any, count: int) -> None:
    """Raise `UsageError` if a model of `config` has fewer than the `count` layers to freeze."""
    if count > (layers := getattr(config, "num_hidden_layers", count)):
        raise UsageError(f"the base model has {layers} layers: set --freeze to at most that")


def layers_of(model: Any) -> nn.ModuleList:
    """The stack of layers of the encoder inside `model`, lowest first.

    Raises:
        UsageError: no list has as many modules as the configuration has layers (ALBERT shares one layer).
    """
    wanted = getattr(model.config, "num_hidden_layers", 0)
    for module in model.base_model.modules():
        if isinstance(module, nn.ModuleList) and len(module) == wanted:
            return module
    raise UsageError(
        f"a {model.config.model_type} model has no list of layers, which freezing and distilling need: choose "
        "another --base"
    )
