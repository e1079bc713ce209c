"""From the logits of windows to those of texts. Pure functions, no model."""

from collections.abc import Sequence
from itertools import islice

import numpy as np
import numpy.typing as npt

from consumer.model.engines.base import EngineFailure, Logits

#: Logits of one text, shape (labels,).
MeanLogits = npt.NDArray[np.float64]


def averaged(rows: Sequence[Logits | EngineFailure], counts: Sequence[int]) -> list[MeanLogits | EngineFailure]:
    """Mean logits of each text over its windows, or the first failure of one of them.

    Logits are averaged, not probabilities. A temperature then acts on the mean as on the answer to a short text: the
    one that training fits on the probabilities of whole texts, of which it knows no windows, is exactly the one applied
    here. And as the last layer of a classifier is linear, this is the mean pooling of Sun et al. (2019, "How to
    Fine-Tune BERT for Text Classification?", section 5.3.2) over the features below that layer.

    Args:
        rows: one for each window, those of a text together; logits of shape (labels,).
        counts: windows of each text.
    """
    left = iter(rows)
    return [_mean(list(islice(left, count))) for count in counts]


def _mean(rows: Sequence[Logits | EngineFailure]) -> MeanLogits | EngineFailure:
    logits: list[Logits] = []
    for row in rows:
        if isinstance(row, EngineFailure):
            return row
        logits.append(row)
    mean: MeanLogits = np.mean(logits, axis=0, dtype=np.float64)
    return mean
