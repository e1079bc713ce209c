"""Decides which texts share a batch, and lays a batch out in memory. Pure functions, no model."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from consumer.model.texts.encoder import TokenIds


@dataclass(frozen=True, slots=True)
class BatchPolicy:
    """Which batches suit an engine.

    Padding is wasted work, so texts of similar length share a batch. A batch is bounded by its cost, which is its
    padded tokens and not its rows.

    Args:
        token_budget: most padded tokens of a batch (longest text x rows); a longer text gets a batch of its own.
        max_rows: most texts of a batch.
        round_to: widths are rounded up to a multiple of this, so that the engine sees few different shapes.
        parallel: batches that the engine computes at the same time; a few texts are spread over all of them.
        pads: whether the engine computes padding; False: it leaves it out.
    """

    token_budget: int
    max_rows: int
    round_to: int = 16
    parallel: int = 1
    pads: bool = True


@dataclass(frozen=True, slots=True)
class TokenBatch:
    """Padded texts: `ids` and `mask` are int64 of shape (rows, width); `mask` is 1 on tokens and 0 on padding."""

    ids: npt.NDArray[np.int64]
    mask: npt.NDArray[np.int64]

    def computed(self, policy: BatchPolicy) -> int:
        """Tokens that an engine of this policy computes for it, padding included if it computes that."""
        # Without padding, a text without tokens still keeps one token of it, as in `rounded`.
        return self.ids.size if policy.pads else int(np.maximum(self.mask.sum(axis=1), 1).sum())


def rounded(length: int, policy: BatchPolicy, max_length: int) -> int:
    """Width of a batch whose longest text has `length` tokens; never above `max_length`, the last position."""
    # A text without tokens still gets a column of padding.
    return min(max(-(-length // policy.round_to), 1) * policy.round_to, max_length)


def plan(lengths: Sequence[int], policy: BatchPolicy, max_length: int) -> list[list[int]]:
    """Group texts by their lengths in tokens.

    If several batches are computed in parallel, none of them should finish long after the others. So the longest texts
    come first, and each batch gets at most an equal share of the tokens that are left, which makes the last batches
    small: guided self-scheduling (Polychronopoulos and Kuck, 1987, doi:10.1109/TC.1987.5009495).

    Returns:
        Indices into `lengths`, each exactly once, in the order to compute the batches in.
    """
    widths = [rounded(length, policy, max_length) for length in lengths]
    left, budget = sum(widths), 0
    batches: list[list[int]] = []
    for index in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        batch = batches[-1] if batches else []
        fits = bool(batch) and widths[batch[0]] * (len(batch) + 1) <= budget and len(batch) < policy.max_rows
        if fits:
            batch.append(index)
        else:
            budget = min(policy.token_budget, -(-left // policy.parallel))
            batches.append([index])
        left -= widths[index]
    return batches


def pad(rows: Sequence[TokenIds], width: int, pad_id: int) -> TokenBatch:
    """Pad `rows`, each of shape (tokens,) with at most `width` tokens, to one batch."""
    ids = np.full((len(rows), width), pad_id, dtype=np.int64)
    mask = np.zeros((len(rows), width), dtype=np.int64)
    for row, tokens in enumerate(rows):
        ids[row, : len(tokens)] = tokens
        mask[row, : len(tokens)] = 1
    return TokenBatch(ids, mask)
