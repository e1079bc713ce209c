"""Keep the lower part of an encoder as it is: half the work of a backward pass where half the layers are frozen."""

from typing import Any

from torch import nn

from consumer.errors import UsageError


def freeze(model: Any, count: int) -> None:
    """Take the `count` lowest layers of `model`, and everything below them, out of training; 0: nothing.

    Whatever is neither one of the upper layers, nor the pooler, nor the head is frozen: a relative position bias or a
    norm that feeds every layer would otherwise pull the gradient through the frozen ones again.

    Args:
        model: a sequence classifier of transformers.
        count: layers; all of them: only the head (and the pooler) is trained.

    Raises:
        UsageError: the encoder has fewer layers, or no list of them is found.
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
    """Raise `UsageError` where a model of `config` has fewer than the `count` layers that are to be frozen."""
    if count > (layers := getattr(config, "num_hidden_layers", count)):
        raise UsageError(f"the base model has {layers} layers: set --freeze to at most that")


def layers_of(model: Any) -> nn.ModuleList:
    """The stack of layers of the encoder inside `model`, lowest first.

    Raises:
        UsageError: there is no list of as many modules as the configuration names layers (ALBERT shares one layer).
    """
    wanted = getattr(model.config, "num_hidden_layers", 0)
    for module in model.base_model.modules():
        if isinstance(module, nn.ModuleList) and len(module) == wanted:
            return module
    raise UsageError(
        f"a {model.config.model_type} model has no list of layers, which freezing and distilling need: name another "
        "--base"
    )
