"""Which words carried a label: how much surer of it is the worker's own classifier with a word than without it?

Occlusion (Zeiler & Fergus 2014, "Visualizing and Understanding Convolutional Networks", section 4.2; for words Li et
al. 2016, "Understanding Neural Networks through Representation Erasure"), asked twice: the word is left out of the
whole text, and the word alone is set against no text. Each question has a blind spot. Of two words that say the same,
neither is missed when it is left out, and a word alone has lost its "not". The weight is the mean of both, the first
and the last term of the word's Shapley value, and all of it where words act alone or in pairs. It needs nothing but
answers, so what is explained is the model that is served, in its precision.
"""

import math
import re
from dataclasses import dataclass

from consumer.errors import UsageError
from consumer.model.classifier import Classifier, Failed, Scored
from consumer.model.text import clean

#: Parts of a text at most; a text of more words is weighed window by window.
MAX_PARTS = 200

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

    `weight` is what it adds to the log-odds of the label, negative where it speaks against the label: the mean of what
    these lose when it is left out of the text, and gain when it alone is put into an empty one.
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

    `evaluations` texts were computed; `failed` of them got no answer, which count for 0 in the weights.
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
    """Weigh the words of `text` for `label` (default: the one that it gets), in one call of the classifier.

    It computes at most 2 x `MAX_PARTS` + 2 texts, half of them only as long as a part.

    Raises:
        UsageError: there is no text, the model fails on it, or does not know `label`.
    """
    text = clean(text)
    spans = windows(text, MAX_PARTS)
    if not spans:
        raise UsageError("there is no text to explain")
    without = [text[:start] + text[end:] for start, end in spans]
    alone = [text[start:end] for start, end in spans]
    whole, nothing, *rest = classifier.classify([text, "", *without, *alone]).results
    if isinstance(whole, Failed):
        raise UsageError(f"the model fails on this text ({whole.kind}): there is no label to explain")
    label = whole.label if label is None else label
    if label not in whole.probabilities:
        raise UsageError(f"the bundle has no label {label!r}; it knows {', '.join(whole.probabilities)}")
    lost = [_difference(whole, result, label) for result in rest[: len(spans)]]
    gained = [_difference(result, nothing, label) for result in rest[len(spans) :]]
    weights = [(losing + gaining) / 2 for losing, gaining in zip(lost, gained, strict=True)]
    least = max(MARKED_SHARE * max(map(abs, weights)), LEAST_WEIGHT)
    return Explanation(
        text=text,
        label=label,
        score=whole.probabilities[label],
        truncated=whole.truncated,
        evaluations=2 + len(rest),
        failed=sum(isinstance(result, Failed) for result in (nothing, *rest)),
        parts=tuple(
            Part(start, end, " ".join(text[start:end].split()), weight, abs(weight) >= least)
            for (start, end), weight in zip(spans, weights, strict=True)
        ),
    )


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


def _difference(more: Scored | Failed, less: Scored | Failed, label: str) -> float:
    """Log-odds of `label` in `more` above those in `less`; 0 where the model failed on one of them."""
    if isinstance(more, Failed) or isinstance(less, Failed):
        return 0.0
    return log_odds(more, label) - log_odds(less, label)
