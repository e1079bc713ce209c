"""Which texts count as the same review, and a file without its repeats."""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Sequence

from consumer.model.text import clean
from training.data.reviews import Reviews

#: For `re` no part of a word are also marks, as the vowel signs of Hindi and Thai.
_NO_WORD = re.compile(r"[\W_]+")


def normalised(text: str) -> str:
    """What makes two texts the same review: letters, their marks and digits, whatever case, spacing and punctuation.

    A text without any, as one of emoji, is itself.
    """
    folded = unicodedata.normalize("NFKC", clean(text)).casefold()
    words = _NO_WORD.sub(" ", folded) if folded.isascii() else _NO_WORD.sub(_marks, folded)
    return " ".join(words.split()) or " ".join(folded.split())


def _marks(between: re.Match[str]) -> str:
    """What is left of the characters between two runs of letters; how an emoji is drawn does not make another text."""
    return "".join(character if _is_mark(character) else " " for character in between[0])


def _is_mark(character: str) -> bool:
    is_variation = "\N{VARIATION SELECTOR-1}" <= character <= "\N{VARIATION SELECTOR-16}"
    return unicodedata.category(character)[0] == "M" and not is_variation


def normalised_all(texts: Sequence[str]) -> list[str]:
    """`normalised` of each text, in order."""
    return [normalised(text) for text in texts]


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
