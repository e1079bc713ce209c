"""Computes a batch without its padding: all texts in one row, and attention within each of them.

The layers see a batch of one row with every token of every text, so nothing is computed for padding. Attention is a
function that transformers lets us register; the positions restart with each text. On a GPU it is the kernel for texts
of different lengths that comes with torch, which needs no mask.

The other way to spare a GPU idle time and padding is a fixed set of shapes with a recorded CUDA graph for each. It was
not taken. Batches of tens of thousands of tokens keep a GPU busy for longer than Python needs to launch them, so a
graph would save time that is not lost; each shape needs memory of its own and has to be recorded before the worker is
ready; padded batches need a mask, for which the fastest attention kernels are not made; and two ways to compute a
batch, recorded and not, are more than one to test.
"""

from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.nn import functional
from transformers import AttentionInterface

from consumer.model.inference.batching import TokenBatch

varlen_attn: Any
try:
    from torch.nn.attention.varlen import varlen_attn
except ImportError:  # torch before 2.10
    varlen_attn = None

#: The name of this attention in the configuration of a model.
ATTENTION = "within_texts"


class Texts(NamedTuple):
    """The texts of a batch, one behind the other.

    `ids` and `positions` are int64 of shape (1, tokens). `bounds` says where each text begins and the last one ends:
    int32 of shape (texts + 1,). `longest` is in tokens.
    """

    ids: torch.Tensor
    positions: torch.Tensor
    bounds: torch.Tensor
    longest: int

    def to(self, device: str) -> "Texts":
        """The same on `device`, for which nothing is waited."""
        if device == "cpu":
            return self
        # Copies from pinned memory do not make Python wait; torch keeps it until they are done.
        ids, positions, bounds = (
            each.pin_memory().to(device, non_blocking=True) for each in (self.ids, self.positions, self.bounds)
        )
        return Texts(ids, positions, bounds, self.longest)


def without_padding(batch: TokenBatch, embeddings: Any) -> Texts:
    """The texts of `batch`, with their positions as these `embeddings` of a model count them."""
    kept = batch.mask.astype(bool)
    kept[:, 0] = True  # a text without a token keeps one of padding, so that it has a first token
    ids = torch.from_numpy(batch.ids)
    if hasattr(embeddings, "create_position_ids_from_input_ids"):  # RoBERTa and its kin skip padding within a text
        positions = embeddings.create_position_ids_from_input_ids(ids, embeddings.padding_idx)
    else:
        positions = torch.arange(ids.shape[1]).expand_as(ids)
    chosen = torch.from_numpy(kept)
    lengths = kept.sum(axis=1)
    bounds = np.concatenate([[0], lengths.cumsum()]).astype(np.int32)
    return Texts(ids[chosen][None], positions[chosen][None], torch.from_numpy(bounds), int(lengths.max()))


def compute(model: Any, texts: Texts) -> torch.Tensor:
    """Logits of shape (texts, labels). `model` has this attention, and computes its last layer for first tokens only.

    Raises:
        RuntimeError: it does not, so that its head would read the first text alone.
    """
    logits: torch.Tensor = model(
        input_ids=texts.ids,
        position_ids=texts.positions,
        cu_seq_lens_q=texts.bounds,
        cu_seq_lens_k=texts.bounds,
        max_length_q=texts.longest,
        max_length_k=texts.longest,
    ).logits
    if len(logits) != len(texts.bounds) - 1:
        raise RuntimeError(f"{len(logits)} answers to {len(texts.bounds) - 1} texts")
    return logits


def within_texts(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    bounds: tuple[torch.Tensor, torch.Tensor],
    longest: tuple[int, int],
) -> torch.Tensor:
    """Attention of each text's tokens to those of the same text.

    Args:
        query: shape (tokens that ask, heads, size).
        key: shape (tokens, heads, size).
        value: as `key`.
        bounds: where each text begins in `query` and in `key`, and the last one ends; shape (texts + 1,) each.
        longest: most tokens of a text in `query` and in `key`.

    Returns:
        Shape of `query`.
    """
    if query.device.type != "cpu":
        seen: torch.Tensor = varlen_attn(query, key, value, *bounds, *longest)
        return seen
    asking, asked = (pairwise(each.tolist()) for each in bounds)
    parts = [
        functional.scaled_dot_product_attention(
            _heads_first(query[begin:end]), _heads_first(key[first:last]), _heads_first(value[first:last])
        )
        for (begin, end), (first, last) in zip(asking, asked, strict=True)
    ]
    return torch.cat([part[0].transpose(0, 1) for part in parts])


def _heads_first(tokens: torch.Tensor) -> torch.Tensor:
    """From shape (tokens, heads, size) to (1, heads, tokens, size)."""
    return tokens.transpose(0, 1)[None]


def can_be_computed(device: str, dtype: torch.dtype) -> bool:
    """Whether there is attention within texts for `device`: on a CPU always, on a GPU for bf16 and a recent torch."""
    return device == "cpu" or (varlen_attn is not None and dtype == torch.bfloat16)


def _attention(
    _module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    _mask: torch.Tensor | None,
    *,
    cu_seq_lens_q: torch.Tensor,
    cu_seq_lens_k: torch.Tensor,
    max_length_q: int,
    max_length_k: int,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """As transformers calls it: of shape (1, heads, tokens, size) each; returns shape (1, tokens, heads, size)."""
    asking, asked, values = (each[0].transpose(0, 1) for each in (query, key, value))
    bounds, longest = (cu_seq_lens_q, cu_seq_lens_k), (max_length_q, max_length_k)
    return within_texts(asking, asked, values, bounds, longest)[None], None


AttentionInterface.register(ATTENTION, _attention)
