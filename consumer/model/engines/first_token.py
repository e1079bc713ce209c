"""Computes the last layer of an encoder for its first token only.

The head of these classifiers reads only the first token. In the last layer that token needs the keys and values of all
tokens, but the attention, projection and feed-forward of the other tokens are never used. That saves 10 of the 12
products of width x width per token in that layer: a seventh of a model of six layers, two fifths of one of two. The
logits are the same.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import MethodType
from typing import Any

import torch
from torch import nn
from torch.nn import functional

#: Classes whose layers are those of BERT and whose head reads the first token.
LIKE_BERT = frozenset(
    f"{family}ForSequenceClassification" for family in ("Bert", "Camembert", "Electra", "Roberta", "XLMRoberta")
)


@contextmanager
def first_token_only(model: Any) -> Iterator[None]:
    """Inside the block, `model` computes its last layer for the first token only; other families are unchanged.

    Its last hidden state then has the shape (batch, 1, width), and it returns no attention. For one thread at a time.
    """
    found = _last_layer(model)
    if found is None:
        yield
        return
    layer, forward = found
    layer.forward = MethodType(forward, layer)
    try:
        yield
    finally:
        del layer.forward  # restores the method of its class


def _last_layer(model: Any) -> tuple[Any, Callable[..., torch.Tensor]] | None:
    """The last layer of `model` and its replacement for the first token; None: it has to stay unchanged."""
    name = type(model).__name__
    if name == "DistilBertForSequenceClassification":
        layer, forward = model.distilbert.transformer.layer[-1], _distilbert
    elif name in LIKE_BERT and not model.config.is_decoder:
        layer, forward = model.base_model.encoder.layer[-1], _bert
    else:
        return None
    has_usual_masks = model.config._attn_implementation in ("sdpa", "eager")
    # A `forward` set by other code stays. A checkpointed layer is computed again later, outside the block.
    is_plain = "forward" not in vars(layer) and not getattr(layer, "gradient_checkpointing", False)
    return (layer, forward) if has_usual_masks and is_plain else None


def _distilbert(
    layer: Any, hidden_states: torch.Tensor, attention_mask: torch.Tensor | None = None, **_: Any
) -> torch.Tensor:
    first, own = hidden_states[:, :1], layer.attention
    seen = _attended(own, (own.q_lin, own.k_lin, own.v_lin), hidden_states, attention_mask)
    first = layer.sa_layer_norm(own.out_lin(seen) + first)
    result: torch.Tensor = layer.output_layer_norm(layer.ffn(first) + first)
    return result


def _bert(
    layer: Any, hidden_states: torch.Tensor, attention_mask: torch.Tensor | None = None, *_: Any, **__: Any
) -> torch.Tensor:
    own = layer.attention.self
    seen = _attended(own, (own.query, own.key, own.value), hidden_states, attention_mask)
    result: torch.Tensor = layer.feed_forward_chunk(layer.attention.output(seen, hidden_states[:, :1]))
    return result


def _attended(
    attention: Any, projections: tuple[nn.Module, ...], hidden: torch.Tensor, mask: torch.Tensor | None
) -> torch.Tensor:
    """Attention output of the first token: (batch, 1, width), from hidden states (batch, tokens, width)."""

    def heads(projected: torch.Tensor) -> torch.Tensor:
        return projected.view(*projected.shape[:2], -1, attention.attention_head_size).transpose(1, 2)

    query, key, value = projections
    asked = heads(query(hidden[:, :1]))
    if mask is not None:  # (batch, 1, tokens or 1, tokens), true or 0 if a token may be attended to
        mask = mask[:, :, :1] if mask.dtype == torch.bool else mask[:, :, :1].to(asked.dtype)
    seen = functional.scaled_dot_product_attention(
        asked,
        heads(key(hidden)),
        heads(value(hidden)),
        attn_mask=mask,
        dropout_p=attention.dropout.p if attention.training else 0.0,
    )
    return seen.transpose(1, 2).flatten(2)
