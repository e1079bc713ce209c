"""A file without its repeats. `consumer.model.texts.cleaning.normalised` says which texts are the same."""

import hashlib
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from consumer.model.texts.cleaning import normalised
from training.data.reviews import Reviews


def normalised_all(texts: Sequence[str]) -> list[str]:
    """`normalised` of each text, in order."""
    return [normalised(text) for text in texts]


#: Bytes of a digest. Among a million texts two have the same one with a probability of 3e-8.
DIGEST_BYTES = 8

#: Numbers of 8 bytes in big-endian order.
Digests = npt.NDArray[np.uint64]


def digests(texts: Sequence[str]) -> Digests:
    """The first 8 bytes of the SHA-256 of each text once `normalised`, so that the same texts have the same digest."""
    sums = b"".join(hashlib.sha256(text.encode()).digest()[:DIGEST_BYTES] for text in normalised_all(texts))
    return np.frombuffer(sums, dtype=">u8").astype(np.uint64)


def without_duplicates(reviews: Reviews) -> tuple[Reviews, int, int]:
    """Keep the first of texts that repeat, and none where the same text carries two labels.

    Returns:
        The reviews left, the number of repeats removed, and the number of rows removed for contradicting labels.
    """
    keys = normalised_all(reviews.texts)
    labels_of: defaultdict[str, set[str]] = defaultdict(set)
    for key, label in zip(keys, reviews.labels, strict=True):
        labels_of[key].add(label)
    first: dict[str, int] = {}
    for index, key in enumerate(keys):
        if len(labels_of[key]) == 1:
            first.setdefault(key, index)
    contradicting = sum(len(labels_of[key]) > 1 for key in keys)
    return reviews.only(first.values()), len(keys) - len(first) - contradicting, contradicting
