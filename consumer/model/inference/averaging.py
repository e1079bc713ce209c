"""Turns the logits of windows into the logits of texts. Pure functions, no model."""

from collections.abc import Sequence
from itertools import islice

import numpy as np
import numpy.typing as npt

from consumer.model.engines.base import EngineFailure, Logits

#: Logits of one text, shape (labels,).
MeanLogits = npt.NDArray[np.float64]


def averaged(rows: Sequence[Logits | EngineFailure], counts: Sequence[int]) -> list[MeanLogits | EngineFailure]:
    """Mean logits of each text over its windows, or the failure of its first failed window.

    A text without a window is one that the tokenizer failed on.

    Logits are averaged, not probabilities, so that a temperature acts on the mean as on the logits of a short text.
    Training fits the temperature on whole texts, without knowledge of windows, and exactly that temperature is applied
    here. The last layer of a classifier is linear, so this equals the mean pooling of Sun et al. (2019, "How to
    Fine-Tune BERT for Text Classification?", section 5.3.2) over the features below that layer.

    Args:
        rows: one per window, the windows of a text in sequence; logits of shape (labels,).
        counts: number of windows of each text.
    """
    left = iter(rows)
    return [_mean(list(islice(left, count))) for count in counts]


def _mean(rows: Sequence[Logits | EngineFailure]) -> MeanLogits | EngineFailure:
    logits: list[Logits] = []
    for row in rows:
        if isinstance(row, EngineFailure):
            return row
        logits.append(row)
    if not logits:
        return EngineFailure("NotTokenised")
    mean: MeanLogits = np.mean(logits, axis=0, dtype=np.float64)
    return mean
