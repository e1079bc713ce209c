"""Which words carried a label: leave each out, ask the worker's own classifier again, see how much less sure it is.

Occlusion (Zeiler & Fergus 2014, "Visualizing and Understanding Convolutional Networks", section 4.2; for words Li et
al. 2016, "Understanding Neural Networks through Representation Erasure"). It needs nothing but answers, so what is
explained is the model that is served, in its precision. Of two words that say the same, each alone weighs little.
"""

import math
import re
from dataclasses import dataclass

from consumer.classifier import Classifier, Failed, Scored
from consumer.encoder import clean
from consumer.errors import UsageError

#: Texts computed at most, next to the whole one; a text of more words is left out window by window.
MAX_EVALUATIONS = 200

#: A word is marked where its weight is at least this share of the largest one.
MARKED_SHARE = 0.25

#: Weights below this are rounding (int8 answers move by a few thousandths with the texts that share a batch).
LEAST_WEIGHT = 0.05

#: Words in the list of those that weigh most.
TOP = 10

_WORD = re.compile(r"\S+")


@dataclass(frozen=True, slots=True)
class Part:
    """A word, or a window of words, at `start` to `end` of the text.

    `weight` is what the log-odds of the label lose without it, negative where it speaks against the label.
    `marked`: it is among those that weigh most, for or against.
    """

    start: int
    end: int
    words: str
    weight: float
    marked: bool


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why `text` (line breaks replaced as the worker does) has the probability `score` of `label`.

    `evaluations` texts were computed; `failed` of them got no answer, and the weight of what they left out is 0.
    """

    text: str
    label: str
    score: float
    truncated: bool
    evaluations: int
    failed: int
    parts: tuple[Part, ...]

    def top(self) -> list[Part]:
        """The marked parts, the weightiest first, `TOP` at most."""
        marked = (part for part in self.parts if part.marked)
        return sorted(marked, key=lambda part: -abs(part.weight))[:TOP]


def explain(classifier: Classifier, text: str, label: str | None = None) -> Explanation:
    """Weigh the words of `text` for `label` (default: the one that it gets), in at most `MAX_EVALUATIONS` + 1 answers.

    Raises:
        UsageError: there is no text, the model fails on it, or does not know `label`.
    """
    text = clean(text)
    spans = windows(text, MAX_EVALUATIONS)
    if not spans:
        raise UsageError("there is no text to explain")
    shortened = [text[:start] + text[end:] for start, end in spans]
    whole, *without = classifier.classify([text, *shortened]).results
    if isinstance(whole, Failed):
        raise UsageError(f"the model fails on this text ({whole.kind}): there is no label to explain")
    label = whole.label if label is None else label
    if label not in whole.probabilities:
        raise UsageError(f"the bundle has no label {label!r}; it knows {', '.join(whole.probabilities)}")
    before = log_odds(whole, label)
    weights = [before - log_odds(result, label) if isinstance(result, Scored) else 0.0 for result in without]
    least = max(MARKED_SHARE * max(map(abs, weights)), LEAST_WEIGHT)
    parts = tuple(
        Part(start, end, " ".join(text[start:end].split()), weight, abs(weight) >= least)
        for (start, end), weight in zip(spans, weights, strict=True)
    )
    failed = sum(isinstance(result, Failed) for result in without)
    return Explanation(text, label, whole.probabilities[label], whole.truncated, 1 + len(shortened), failed, parts)


def windows(text: str, most: int) -> list[tuple[int, int]]:
    """Start and end of each word of `text`; of windows of as many words as it takes to be at most `most`."""
    words = [match.span() for match in _WORD.finditer(text)]
    size = max(1, math.ceil(len(words) / most))
    return [(group[0][0], group[-1][1]) for group in (words[at : at + size] for at in range(0, len(words), size))]


def log_odds(result: Scored, label: str) -> float:
    """ln(p / (1 - p)) of `label`; with two labels, the difference of their logits. 1 - p is summed, not subtracted."""
    tiny = math.ulp(0.0)
    others = math.fsum(p for name, p in result.probabilities.items() if name != label)
    return math.log(max(result.probabilities[label], tiny)) - math.log(max(others, tiny))
