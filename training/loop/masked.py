"""Masked language modelling: rows of which each step masks other tokens, and the loss of predicting these.

Of the tokens of a row, the special ones aside, a share is predicted (Devlin et al. 2019, "BERT", section 3.1): 80 % of
them are replaced by the mask, 10 % by another token, and 10 % stay as they are. They are drawn anew in every step (Liu
et al. 2019, "RoBERTa", section 4.1), as a pure function of seed, step and row, so a resumed run masks the same.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from consumer.model.texts.encoder import Encoded, Encoder, TokenIds
from consumer.model.texts.reading import Reading, Truncation, Windows
from training.encoders.base import Base
from training.encoders.device import autocast
from training.encoders.objective import Outputs
from training.loop.step import TrainingRows
from training.settings import Arithmetic

#: Shares of the predicted tokens that are masked, and that are replaced by another token.
MASKED, REPLACED = 0.8, 0.1

#: Pieces read of a text, and tokens without which there is nothing to predict another one from.
MOST_PIECES, LEAST_TOKENS = 64, 4


@dataclass(frozen=True)
class Masking:
    """How tokens are drawn: `share` of each row, at least one.

    `mask` is the id of the mask, `special` are the ids that are never predicted, and `others` those that may stand in
    the place of a token.
    """

    mask: int
    special: frozenset[int]
    others: npt.NDArray[np.int32]
    share: float
    seed: int

    def count(self, window: TokenIds) -> int:
        """The number of tokens of `window` that are predicted."""
        return max(1, round(self.share * self.readable(window)))

    def readable(self, window: TokenIds) -> int:
        """The number of tokens of `window` that are not special."""
        return len(self._places(window))

    def masked(self, window: TokenIds, row: int, step: int) -> tuple[TokenIds, npt.NDArray[np.intp]]:
        """`window` as the model sees it in `step`, and the places of the tokens to predict, ascending."""
        draw = np.random.default_rng((self.seed, step, row))
        places = np.sort(draw.choice(self._places(window), self.count(window), replace=False))
        seen, chance = window.copy(), draw.random(len(places))
        seen[places[chance < MASKED]] = self.mask
        replaced = places[(chance >= MASKED) & (chance < MASKED + REPLACED)]
        seen[replaced] = draw.choice(self.others, len(replaced))
        return seen, places

    def _places(self, window: TokenIds) -> npt.NDArray[np.intp]:
        return np.flatnonzero(~np.isin(window, list(self.special)))


def usual_length(texts: Sequence[str], base: Base, most: int) -> int:
    """A length, a multiple of 32 up to `most`, at which nine of ten `texts` are one piece."""
    reading = Reading(most, Truncation.WINDOWS, Windows(overlap=0, most=MOST_PIECES))
    tokens = [text.tokens for text in Encoder(base.tokenizer_json, reading).encode(texts)]
    return min(most, 32 * math.ceil(float(np.quantile(tokens, 0.9)) / 32))


@dataclass(frozen=True)
class MaskedRows(TrainingRows):
    """Pieces of text whose tokens are predicted; each has one window, and at least one token that may be."""

    masking: Masking

    def outputs(
        self,
        model: nn.Module,
        rows: Sequence[int],
        device: torch.device,
        precision: Arithmetic,
        *,
        hidden: bool = False,  # noqa: ARG002 - nothing here needs it
        attention: bool = False,  # noqa: ARG002
        step: int = 0,
    ) -> Outputs:
        """The logits of `model` for the tokens to predict in `step`, (tokens, vocabulary), and these tokens."""
        inputs, _ = self.tensors(rows, device)
        wanted = np.zeros(inputs["input_ids"].shape, dtype=np.bool_)
        truth: list[TokenIds] = []
        for place, row in enumerate(rows):
            window = self.reviews[row].windows[0]
            seen, places = self.masking.masked(window, row, step)
            inputs["input_ids"][place, : len(seen)] = torch.from_numpy(seen.astype(np.int64))
            wanted[place, places] = True
            truth.append(window[places])
        chosen = torch.from_numpy(wanted).to(device)
        with autocast(device, precision), head_at(model, chosen):
            logits = model(**inputs).logits
        return Outputs(logits.float(), torch.from_numpy(np.concatenate(truth).astype(np.int64)).to(device))


def rows_of(texts: Sequence[str], base: Base, length: int, masking: Masking) -> MaskedRows:
    """`texts` as `base` reads them, in pieces of at most `length` tokens, each of which is a row of its own.

    Nothing of a text is left out, up to `MOST_PIECES`, except for pieces of fewer than `LEAST_TOKENS` tokens.
    """
    encoder = Encoder(base.tokenizer_json, Reading(length, Truncation.WINDOWS, Windows(overlap=0, most=MOST_PIECES)))
    windows = (window for text in encoder.encode(texts) for window in text.windows)
    pieces = [Encoded((window,), len(window), False) for window in windows if masking.readable(window) >= LEAST_TOKENS]
    return MaskedRows(pieces, [0] * len(pieces), encoder.pad_id, masking)


class TokenLoss:
    """Cross-entropy of the predicted tokens, each of which counts the same; see `training.encoders.objective`."""

    hidden = attention = False

    def __init__(self, rows: MaskedRows) -> None:
        self._counts = [rows.masking.count(review.windows[0]) for review in rows.reviews]

    def divisor(self, rows: Sequence[int]) -> float:
        """The number of tokens to predict."""
        return sum(self._counts[row] for row in rows)

    def total(self, outputs: Outputs, rows: Sequence[int]) -> torch.Tensor:  # noqa: ARG002
        """See `Objective`."""
        return nn.functional.cross_entropy(outputs.logits, outputs.labels, reduction="sum")


@contextmanager
def head_at(model: Any, chosen: torch.Tensor) -> Iterator[None]:
    """Inside, the head of `model` sees only the `chosen` tokens, (batch, tokens): its logits are (chosen, vocabulary).

    Its product with the whole vocabulary would otherwise cost half as much as the encoder of a DistilBERT.
    """
    head = first_of_head(model)
    hook = head.register_forward_pre_hook(lambda _, given: (given[0][chosen], *given[1:]))
    try:
        yield
    finally:
        hook.remove()


def first_of_head(model: Any) -> nn.Module:
    """The module of the head that gets the states of the encoder: the first with weights, in these families."""
    found: nn.Module = next(
        module
        for module in model.children()
        if module is not model.base_model and any(True for _ in module.parameters())
    )
    return found
