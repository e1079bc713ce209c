"""Rows of the training file that are held out: to choose the best epoch, and to calibrate."""

from collections.abc import Sequence

import numpy as np


def held_out_rows(labels: Sequence[str], share: float, seed: int, purpose: str) -> list[int]:
    """Rows to hold out: `share` of the rows of each label, ascending; drawn with `seed` and `purpose`.

    At least one row of each label if that leaves one to train on; none if `share` is 0.
    """
    if not share:
        return []
    names = np.asarray(labels)
    generator = np.random.default_rng((seed, *purpose.encode()))
    drawn: list[int] = []
    for name in sorted(set(labels)):
        rows = generator.permutation(np.flatnonzero(names == name))
        count = min(max(round(share * len(rows)), 1), len(rows) - 1)
        drawn += rows[:count].tolist()
    return sorted(drawn)
