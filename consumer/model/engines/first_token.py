"""Computes the last layer of an encoder for its first token only.

The head of these classifiers reads only the first token. In the last layer that token needs the keys and values of all
tokens, but the attention, projection and feed-forward of the other tokens are never used. That saves 10 of the 12
products of width x width per token in that layer: a seventh of a model of six layers, two fifths of one of two. The
logits are the same. It works on padded batches and on `unpadded` ones, each of whose texts has a first token.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import MethodType
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from consumer.model.engines import unpadded

#: Classes whose layers are those of BERT and whose head reads the first token.
LIKE_BERT = frozenset(
    f"{family}ForSequenceClassification" for family in ("Bert", "Camembert", "Electra", "Roberta", "XLMRoberta")
)


@contextmanager
def first_token_only(model: Any) -> Iterator[None]:
    """Inside the block, `model` computes its last layer for the first token only; other families are unchanged.

    Its last hidden state then has the shape (texts, 1, width), and it returns no attention. For one thread at a time.
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


def applies_to(model: Any) -> bool:
    """Whether `first_token_only` changes anything for `model`."""
    return _last_layer(model) is not None


def _last_layer(model: Any) -> tuple[Any, Callable[..., torch.Tensor]] | None:
    """The last layer of `model` and its replacement for the first token; None: it has to stay unchanged."""
    name = type(model).__name__
    if name == "DistilBertForSequenceClassification":
        layer, forward = model.distilbert.transformer.layer[-1], _distilbert
    elif name in LIKE_BERT and not model.config.is_decoder:
        layer, forward = model.base_model.encoder.layer[-1], _bert
    else:
        return None
    has_known_masks = model.config._attn_implementation in ("sdpa", "eager", unpadded.ATTENTION)
    # A `forward` set by other code stays. A checkpointed layer is computed again later, outside the block.
    is_plain = "forward" not in vars(layer) and not getattr(layer, "gradient_checkpointing", False)
    return (layer, forward) if has_known_masks and is_plain else None


def _distilbert(
    layer: Any, hidden_states: torch.Tensor, attention_mask: torch.Tensor | None = None, **how: Any
) -> torch.Tensor:
    own = layer.attention
    first, seen = _attended(own, (own.q_lin, own.k_lin, own.v_lin), hidden_states, attention_mask, how)
    first = layer.sa_layer_norm(own.out_lin(seen) + first)
    result: torch.Tensor = layer.output_layer_norm(layer.ffn(first) + first)
    return result


def _bert(
    layer: Any, hidden_states: torch.Tensor, attention_mask: torch.Tensor | None = None, *_: Any, **how: Any
) -> torch.Tensor:
    own = layer.attention.self
    first, seen = _attended(own, (own.query, own.key, own.value), hidden_states, attention_mask, how)
    result: torch.Tensor = layer.feed_forward_chunk(layer.attention.output(seen, first))
    return result


def _attended(
    attention: Any,
    projections: tuple[nn.Module, ...],
    hidden: torch.Tensor,
    mask: torch.Tensor | None,
    how: Mapping[str, Any],
) -> tuple[torch.Tensor, torch.Tensor]:
    """The first token of each text and its attention output: (texts, 1, width) each.

    `hidden` is of shape (texts, tokens, width), or (1, tokens, width) if `how` has the bounds of texts without padding.
    """

    def heads(projected: torch.Tensor) -> torch.Tensor:
        return projected.view(*projected.shape[:-1], -1, attention.attention_head_size)

    query, key, value = projections
    if (bounds := how.get("cu_seq_lens_k")) is not None:
        first = hidden[0].index_select(0, bounds[:-1])
        seen = unpadded.within_texts(
            heads(query(first)),
            heads(key(hidden[0])),
            heads(value(hidden[0])),
            (torch.arange(len(bounds), dtype=bounds.dtype, device=bounds.device), bounds),
            (1, how["max_length_k"]),
        )
        return first[:, None], seen.flatten(1)[:, None]
    first = hidden[:, :1]
    asked = heads(query(first)).transpose(1, 2)
    if mask is not None:  # (batch, 1, tokens or 1, tokens), true or 0 if a token may be attended to
        mask = mask[:, :, :1] if mask.dtype == torch.bool else mask[:, :, :1].to(asked.dtype)
    seen = functional.scaled_dot_product_attention(
        asked,
        heads(key(hidden)).transpose(1, 2),
        heads(value(hidden)).transpose(1, 2),
        attn_mask=mask,
        dropout_p=attention.dropout.p if attention.training else 0.0,
    )
    return first, seen.transpose(1, 2).flatten(2)
