"""Pretrained word vectors in the text format of word2vec, GloVe and fastText: a word and its numbers on each line."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from consumer.errors import UsageError
from training.baselines.words import Vocabulary


def read_vectors(path: Path, vocabulary: Vocabulary) -> npt.NDArray[np.float32]:
    """Vectors of shape (ids, dimensions) for `vocabulary`; zeros if the file lacks a word.

    The first line may hold two counts, as word2vec writes it. Only the words of `vocabulary` are kept in memory.

    Raises:
        UsageError: the file cannot be read, a line has another length than the first, or no word is known.
    """
    wanted = {
        word: number for number, word in enumerate(vocabulary.words, start=len(vocabulary) - len(vocabulary.words))
    }
    found: dict[int, npt.NDArray[np.float32]] = {}
    dimensions = 0
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            for number, line in enumerate(file, start=1):
                parts = line.rstrip().split(" ")
                if number == 1 and len(parts) == 2 and all(part.isdigit() for part in parts):
                    continue
                dimensions = dimensions or len(parts) - 1
                if dimensions < 1 or len(parts) <= dimensions:
                    raise UsageError(f"{path} line {number}: expected a word and {max(dimensions, 1)} numbers")
                # From the end: in some published files a word has spaces in it.
                word = " ".join(parts[:-dimensions]).casefold()
                if (place := wanted.get(word)) is None or place in found:
                    continue
                found[place] = _numbers(path, number, parts[-dimensions:])
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror})") from error
    if not found:
        raise UsageError(f"{path} has none of the {len(vocabulary.words)} words of the training texts")
    table = np.zeros((len(vocabulary), dimensions), dtype=np.float32)
    for place, vector in found.items():
        table[place] = vector
    return table


def _numbers(path: Path, line: int, parts: list[str]) -> npt.NDArray[np.float32]:
    try:
        vector = np.array(parts, dtype=np.float32)
    except ValueError:
        raise UsageError(f"{path} line {line}: not a number among the numbers") from None
    if not np.isfinite(vector).all():
        raise UsageError(f"{path} line {line}: a number is not finite")
    return vector
