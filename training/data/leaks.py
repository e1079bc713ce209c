"""Texts that are in the training file and in the test file: a model that has memorised them looks better than it is.

Two texts are exact duplicates if they are the same once `normalised`, and near duplicates if the sets of their word
5-grams have a Jaccard similarity of at least a threshold: the same review with a sentence added or a word corrected.
In scripts without spaces between words, each letter counts as a word. So does each emoji, emoticon and symbol, for two
short texts may differ in nothing else; commas, full stops, quotes, brackets and free-standing dashes do not count.
MinHash with locality-sensitive hashing (Leskovec, Rajaraman, Ullman, "Mining of Massive Datasets", chapter 3) finds
the candidates; their similarity is then computed exactly, so that no pair is reported in error.
"""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from consumer.model.texts.cleaning import clean
from training.data.duplicates import normalised_all
from training.data.reviews import Reviews
from training.io.progress import ProgressBar
from training.io.terminal import printable

#: Words of a shingle. Two reviews of one film share words and names, but hardly ever five words in a row.
SHINGLE_WORDS = 5

#: Letters of scripts that put no spaces between words, each of which counts as one: Thai and Lao, Burmese, Khmer, kana
#: and Han.
_WORDLESS = re.compile(
    "[\u0e01-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)

#: What is between words and may count as one: an emoticon; a sign between two digits, as in "9:30"; a dash that touches
#: one word only, as in "-5"; or else a single character.
_BETWEEN = re.compile(
    r"(?P<counts><3|[:;=][-'^o]?[()\[\]{}|/\\*dpx3](?!\w)|[()\[\]][-'^]?[:;=](?!\w)|(?<=\d)[-.,:](?=\d)"
    r"|(?<!\w)-(?=\w)|(?<=\w)-(?![\w\s-])|(?<=\w)--)|[^\w\s]|_"
)
_COUNTS_FOR_NOTHING = frozenset(".,;:'\"()[]{}-_`~\u2026")

#: A signature is `BANDS` x `BAND` minima; two texts that agree in a whole band are candidates. A pair of similarity s
#: is missed with the probability (1 - s**BAND)**BANDS: 6e-7 at 0.8, 0.07 at 0.5.
BANDS, BAND = 20, 3

#: Below this similarity too many pairs are missed, and two texts have little in common.
LEAST_SIMILARITY = 0.5

#: Pairs shown of each kind, and characters shown of their text.
EXAMPLES, EXAMPLE_CHARACTERS = 3, 80

#: One odd multiplier for each word of a shingle; fixed, so that two runs agree.
_MULTIPLIERS = np.random.default_rng(0).integers(2**63, size=SHINGLE_WORDS, dtype=np.uint64) * np.uint64(2) + np.uint64(
    1
)


@dataclass(frozen=True)
class Match:
    """Two texts that are the same, or nearly; indices into the training and the test reviews."""

    train: int
    test: int
    similarity: float


@dataclass(frozen=True)
class Leaks:
    """What two files share.

    `exact` and `near` have one match for each test row that leaked; a row is in one of them at most. `threshold` is the
    similarity from which texts are near duplicates. `train_rows` and `test_rows` are all rows whose text has an exact
    or near duplicate in the other file.
    """

    exact: tuple[Match, ...]
    near: tuple[Match, ...]
    threshold: float
    train_rows: frozenset[int]

    @property
    def test_rows(self) -> frozenset[int]:
        """Rows of the test file that leaked."""
        return frozenset(match.test for match in (*self.exact, *self.near))

    def __len__(self) -> int:
        return len(self.exact) + len(self.near)

    def in_words(self, train: Reviews, test: Reviews) -> str:
        """One line of counts."""
        kinds = f"{len(self.exact)} exactly, {len(self.near)} nearly (similarity of {self.threshold} or more)"
        share = f"{len(self)} of {len(test)} test texts ({len(self) / len(test):.2%})"
        return f"leak check: {share} also occur in {train.path.name}: {kinds}"

    def as_json(self, test: Reviews) -> dict[str, float]:
        """The counts, ready for `json.dumps`."""
        return {
            "exact": len(self.exact),
            "near": len(self.near),
            "threshold": self.threshold,
            "share": len(self) / len(test),
            "train_rows": len(self.train_rows),
        }


def find_leaks(train: Reviews, test: Reviews, near: float) -> Leaks:
    """Find the texts of `test` that `train` holds too, exactly or with a similarity of at least `near` (0.5 to 1)."""
    train_rows, test_rows = _rows_by_text(train), _rows_by_text(test)
    both = [text for text in test_rows if text in train_rows]
    exact = [Match(train_rows[text][0], row, 1.0) for text in both for row in test_rows[text]]
    leaked = {row for text in both for row in train_rows[text]}
    best: dict[str, tuple[float, str]] = {}
    for train_text, test_text, similarity in _near_pairs(list(train_rows), list(test_rows), near):
        leaked.update(train_rows[train_text])
        if test_text not in train_rows:
            best[test_text] = max(best.get(test_text, (0.0, "")), (similarity, train_text))
    close = [
        Match(train_rows[train_text][0], row, similarity)
        for test_text, (similarity, train_text) in best.items()
        for row in test_rows[test_text]
    ]
    return Leaks(_by_test_row(exact), _by_test_row(close), near, frozenset(leaked))


def near_groups(reviews: Reviews, near: float) -> npt.NDArray[np.int64]:
    """The number of the group of each row, shape (rows,): rows that nearly repeat each other, if only through others.

    A row that repeats no other one is a group of its own.
    """
    from scipy.sparse import coo_matrix  # type: ignore[import-untyped]
    from scipy.sparse.csgraph import connected_components  # type: ignore[import-untyped]

    rows = _rows_by_text(reviews)
    texts = list(rows)
    place = {text: number for number, text in enumerate(texts)}
    pairs = np.array([(place[one], place[other]) for one, other, _ in _near_pairs(texts, texts, near)]).reshape(-1, 2)
    graph = coo_matrix((np.ones(len(pairs)), pairs.T.astype(np.int64)), shape=(len(texts), len(texts)))
    of_texts = connected_components(graph, directed=False)[1]
    groups = np.empty(len(reviews), dtype=np.int64)
    for text, group in zip(texts, of_texts, strict=True):
        groups[rows[text]] = group
    return groups


def examples(leaks: Leaks, train: Reviews, test: Reviews) -> list[str]:
    """A line for each of the first matches of both kinds: where they stand, and how the test text begins."""
    lines = []
    for kind, matches in (("the same", leaks.exact), ("nearly the same", leaks.near)):
        for match in matches[:EXAMPLES]:
            degree = kind if match.similarity == 1 else f"{kind} ({match.similarity:.2f})"
            start = printable(" ".join(clean(test.texts[match.test]).split())[:EXAMPLE_CHARACTERS])
            lines.append(
                f"{test.path.name} {test.place(match.test)}, {degree} in {train.path.name} "
                f'{train.place(match.train)}: "{start}"'
            )
    return lines


def _by_test_row(matches: Iterable[Match]) -> tuple[Match, ...]:
    return tuple(sorted(matches, key=lambda match: match.test))


def _rows_by_text(reviews: Reviews) -> dict[str, list[int]]:
    """The rows of each text, which is normalised; a text that repeats is compared once."""
    rows: defaultdict[str, list[int]] = defaultdict(list)
    for row, text in enumerate(normalised_all(reviews.texts)):
        rows[text].append(row)
    return dict(rows)


def _near_pairs(train: Sequence[str], test: Sequence[str], threshold: float) -> Iterator[tuple[str, str, float]]:
    """Pairs of different texts, the first of `train`, the second of `test`, and their Jaccard similarity."""
    from datasketch import MinHashLSH

    shingles = lru_cache(maxsize=1024)(_shingles)
    index = MinHashLSH(num_perm=BANDS * BAND, params=(BANDS, BAND))
    words: dict[str, int] = {}
    with ProgressBar("leak check", len(train) + len(test)) as bar:
        for number, signature in enumerate(_signatures(train, words)):
            index.insert(number, signature, check_duplication=False)
            bar.update(number + 1)
        for number, (text, signature) in enumerate(zip(test, _signatures(test, words), strict=True), len(train)):
            for candidate in sorted(index.query(signature)):
                ours, theirs = shingles(text), shingles(train[candidate])
                similarity = len(ours & theirs) / len(ours | theirs)
                if similarity >= threshold and train[candidate] != text:
                    yield train[candidate], text, similarity
            bar.update(number + 1)


def _signatures(texts: Iterable[str], words: dict[str, int]) -> Iterator[Any]:
    """The MinHash of each text. `words` numbers the words seen and is shared by all texts that are compared."""
    from datasketch import MinHash

    hashes = (_shingle_hashes(text, words).tolist() for text in texts)
    return iter(MinHash.generator(hashes, num_perm=BANDS * BAND, hashfunc=int))


def _shingle_hashes(text: str, words: dict[str, int]) -> npt.NDArray[np.uint64]:
    """32-bit hashes of the shingles of `text`, all at once, which is most of what a signature costs.

    Vector multiply-shift (Thorup 2015, "High Speed Hashing for Integers and Strings", section 3.3): the sum of the word
    numbers, each times a fixed odd factor, modulo 2**64; the upper half of its bits. Shape: (shingles,).
    """
    numbers = np.array([words.setdefault(word, len(words)) for word in _words(text)], dtype=np.uint64)
    width = min(SHINGLE_WORDS, len(numbers))
    shingles = len(numbers) - width + 1
    total = np.zeros(shingles, dtype=np.uint64)
    for place in range(width):
        total += numbers[place : place + shingles] * _MULTIPLIERS[place]
    return total >> np.uint64(32)


def _words(text: str) -> list[str]:
    """The words of `text`, which is normalised, and what counts as one."""
    return _BETWEEN.sub(_apart, text if text.isascii() else _WORDLESS.sub(r" \g<0> ", text)).split()


def _apart(found: re.Match[str]) -> str:
    between = found[0]
    if found["counts"]:
        return f" {between} "
    if between in _COUNTS_FOR_NOTHING:
        return " "
    category = unicodedata.category(between)
    if category[0] == "M":  # a part of a word, as the vowel signs of Hindi and Thai
        return between
    return " " if category in ("Pi", "Pf", "Ps", "Pe", "Pd") else f" {between} "


def _shingles(text: str) -> frozenset[tuple[str, ...]]:
    words = _words(text)
    width = min(SHINGLE_WORDS, len(words))
    return frozenset(tuple(words[start : start + width]) for start in range(len(words) - width + 1))
