"""What has to be computed in another way while a model is traced, so that OpenVINO gives the logits of transformers.

Found by comparing both on texts of every length, padded and not (tests/training/test_adopt_families.py):

- DeBERTa puts distances into buckets by a logarithm that is rounded up. On the edge of a bucket the last bit of the
  logarithm decides, and OpenVINO's differs from torch's: a logit of a text of full length was off by 0.3. A table of
  the buckets, which torch computes, has no last bit.
- ModernBERT sees only tokens near by in most layers. Padding that is further away than that sees none. For such a row
  torch's attention is 0, but OpenVINO's is not a number, and the mean over all tokens takes it up. Here each token also
  sees itself. No other token sees padding, so that no text is read differently.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import torch

from consumer.model.bundle.manifest import MAX_LENGTH


@contextmanager
def traceable(model: Any) -> Iterator[None]:
    """Inside the block, `model` computes what a trace of it gets wrong in the way above; others are unchanged."""
    family = model.config.model_type
    if family == "deberta-v2":
        module, name = import_module("transformers.models.deberta_v2.modeling_deberta_v2"), "make_log_bucket_position"
        replacement = _by_table(getattr(module, name), model.config)
    elif family == "modernbert":
        module = import_module("transformers.models.modernbert.modeling_modernbert")
        name, replacement = "create_bidirectional_sliding_window_mask", _seeing_itself
        model.set_attn_implementation("sdpa")  # the one that reads such a mask
    else:
        yield
        return
    original = getattr(module, name)
    setattr(module, name, replacement)
    try:
        yield
    finally:
        setattr(module, name, original)


def _by_table(original: Any, config: Any) -> Any:
    """`original`, looked up: computed here, for what is computed in a trace is computed again by OpenVINO."""
    most = config.max_relative_positions
    most = config.max_position_embeddings if most < 1 else most
    table = original(torch.arange(-MAX_LENGTH, MAX_LENGTH + 1), getattr(config, "position_buckets", -1), most).to(
        torch.long
    )

    def bucket(relative_pos: torch.Tensor, *_: int) -> torch.Tensor:
        found: torch.Tensor = table[relative_pos + MAX_LENGTH]
        return found

    return bucket


def _seeing_itself(config: Any, inputs_embeds: torch.Tensor, attention_mask: torch.Tensor, **_: Any) -> torch.Tensor:
    """The tokens that each token sees in a layer with a window, shape (batch, 1, tokens, tokens)."""
    places = torch.arange(inputs_embeds.shape[1], device=inputs_embeds.device)
    distance = (places[:, None] - places[None, :]).abs()
    seen: torch.Tensor = (distance <= config.sliding_window) & attention_mask.bool()[:, None, None, :]
    return seen | (distance == 0)
