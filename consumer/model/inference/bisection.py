"""Which windows of a batch failed. A batch that fails is halved until one window is left that fails alone."""

from collections.abc import Sequence

import numpy as np

from consumer.model.engines.base import EngineFailure, Logits


def spread(group: Sequence[int], result: Logits | EngineFailure, rows: list[Logits | EngineFailure]) -> list[int]:
    """Put the result of a batch into `rows`; returns the windows that failed: all of them, or those with NaN."""
    bad = []
    for place, index in enumerate(group):
        row = result if isinstance(result, EngineFailure) else result[place]
        if not isinstance(row, EngineFailure) and not np.isfinite(row).all():
            row = EngineFailure("NotFinite")
        rows[index] = row
        if isinstance(row, EngineFailure):
            bad.append(index)
    return bad


def halves(group: list[int]) -> list[list[int]]:
    """Both halves of `group`; the only one if it has one window."""
    middle = len(group) // 2
    return [half for half in (group[:middle], group[middle:]) if half]
