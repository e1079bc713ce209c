"""The rows of a file dealt out to folds."""

from collections import Counter

import numpy as np

from consumer.errors import UsageError
from training.data.leaks import near_groups
from training.data.prepare import check_left
from training.data.reviews import Reviews


def deal(reviews: Reviews, folds: int, seed: int, near: float) -> list[list[int]]:
    """The rows of each fold, ascending: about as many of each label, and rows that nearly repeat each other in one.

    Args:
        reviews: without repeated texts.
        folds: at least 2.
        seed: draws the rows.
        near: similarity from which two texts are near duplicates.

    Raises:
        UsageError: there are fewer rows of a label than folds, or too few are left to train on.
    """
    label, least = min(Counter(reviews.labels).items(), key=lambda item: (item[1], item[0]))
    if folds > least:
        raise UsageError(
            f"--folds {folds}: {reviews.path} has only {least} rows of {label!r} to use, and each fold needs one: "
            f"give at most --folds {least}"
        )
    from sklearn.model_selection import StratifiedGroupKFold

    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    groups = near_groups(reviews, near)
    dealt = [rows.tolist() for _, rows in splitter.split(np.zeros(len(reviews)), reviews.labels, groups)]
    for fold, rows in enumerate(dealt, 1):
        if missing := sorted(set(reviews.labels) - {reviews.labels[row] for row in rows}):
            raise UsageError(
                f"--folds {folds}: fold {fold} would have no row of {', '.join(missing)}, because near duplicates stay "
                "in one fold: give fewer --folds"
            )
        check_left(without(reviews, rows), f"fold {fold} of --folds {folds}")
    return dealt


def without(reviews: Reviews, rows: list[int]) -> Reviews:
    """`reviews` without these `rows`."""
    left = set(range(len(reviews))) - set(rows)
    return reviews.only(sorted(left))
