"""What the tokens of an encoder attend to: how to make a model return it, and whether it can."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from consumer.errors import UsageError


@contextmanager
def attention_shown(model: Any, wanted: bool = True) -> Iterator[None]:
    """If `wanted`, compute attention in `model` without fused kernels, which do not return it."""
    before = model.config._attn_implementation
    if wanted:
        model.set_attn_implementation("eager")
    try:
        yield
    finally:
        if wanted:
            model.set_attn_implementation(before)


def check_attention(model: Any, name: str) -> None:
    """Raise `UsageError` if `model`, called `name`, does not return attention weights between all its tokens."""
    ids = torch.full((1, 8), 3, device=next(model.parameters()).device)
    training = model.training
    with torch.inference_mode(), attention_shown(model):
        maps = getattr(model.eval()(input_ids=ids, output_attentions=True), "attentions", None)
    model.train(training)
    shares = maps[-1] if maps else None
    if shares is None or shares.shape[-2:] != (8, 8) or (shares.float().sum(dim=-1) - 1).abs().max() > 0.01:
        raise UsageError(f"{name} does not return what its tokens attend to: leave out --attention-weight")
