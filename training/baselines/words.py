"""Texts as words and as ids of words, for the models without a tokenizer of their own."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from consumer.model.texts.cleaning import clean

#: ktrain's defaults: words known, and words read of a text.
MAX_WORDS = 20_000
MAX_LENGTH = 400

PAD, UNKNOWN = 0, 1
_RESERVED = 2

#: A word with its apostrophe, or one punctuation mark: "!" and "?" tell in reviews (Wang & Manning keep them too).
_WORD = re.compile(r"\w+(?:'\w+)?|[^\w\s]")

WordIds = npt.NDArray[np.int64]


def words_of(text: str) -> list[str]:
    """The words and punctuation marks of `text`, in lower case."""
    return _WORD.findall(clean(text).casefold())


@dataclass(frozen=True)
class Vocabulary:
    """The known words; the id of `words[i]` is i + 2, after padding (0) and unknown words (1)."""

    words: tuple[str, ...]

    @classmethod
    def of(cls, texts: Iterable[str], most: int = MAX_WORDS) -> "Vocabulary":
        """The `most` frequent words of `texts`; of equally frequent ones the first in the alphabet."""
        counts = Counter(word for text in texts for word in words_of(text))
        return cls(tuple(sorted(counts, key=lambda word: (-counts[word], word))[:most]))

    def __len__(self) -> int:
        """Number of ids, those of padding and unknown words included."""
        return len(self.words) + _RESERVED

    def encode(self, texts: Sequence[str], max_length: int = MAX_LENGTH) -> list[WordIds]:
        """Ids of the last `max_length` words of each text, shape (words,), never empty.

        The last ones, as Keras cuts: reviews often end in their verdict.
        """
        ids = {word: number for number, word in enumerate(self.words, start=_RESERVED)}
        return [
            np.array([ids.get(word, UNKNOWN) for word in words_of(text)[-max_length:]] or [UNKNOWN], dtype=np.int64)
            for text in texts
        ]


def padded(rows: Sequence[WordIds]) -> WordIds:
    """`rows` as one array (rows, longest), filled up with `PAD`."""
    table = np.full((len(rows), max(map(len, rows))), PAD, dtype=np.int64)
    for place, row in enumerate(rows):
        table[place, : len(row)] = row
    return table
