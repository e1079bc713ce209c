"""Which words carried a label: how much surer of it is the worker's own classifier with a word than without it?

The method is occlusion (Zeiler & Fergus 2014, "Visualizing and Understanding Convolutional Networks", section 4.2; for
words Li et al. 2016, "Understanding Neural Networks through Representation Erasure"), in two ways: the word is left out
of the whole text, and the word alone is compared with no text. Each way has a blind spot. Of two words that say the
same, neither is missed when it is left out, and a word alone has lost its "not". The weight is the mean of both: the
first and the last term of the word's Shapley value, and all of it if words act alone or in pairs. Only answers are
needed, so what is explained is the model that is served, in its precision.

Words that the model does not read, because the text is too long for it, have no weight. The others are weighed within
the text that is read; in the whole text, a gap would let in words that are not read otherwise.
"""

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from consumer.errors import UsageError
from consumer.model.cascade.labeller import Cascade
from consumer.model.classifier import Classifier
from consumer.model.labeller import Failed, Scored

#: Most parts of a text; a text of more words is weighed in windows of several words.
MAX_PARTS = 200

#: A word is marked if its weight is at least this share of the largest one.
MARKED_SHARE = 0.25

#: Weights below this are rounding (int8 answers move by a few thousandths with the texts that share a batch).
LEAST_WEIGHT = 0.05

#: Most words in the list of those that weigh most.
TOP = 10

Span = tuple[int, int]

_WORD = re.compile(r"\S+")


@dataclass(frozen=True, slots=True)
class Part:
    """A word, or a window of words, at `start` to `end` of the text.

    `weight` is what it adds to the log-odds of the label, negative if it speaks against the label: the mean of what
    these lose when it is left out of the text, and gain when it alone is put into an empty one.
    `marked`: it is among those that weigh most, for or against. `read`: the model reads it; otherwise it is a stretch
    of words that the model does not read, of weight 0.
    """

    start: int
    end: int
    words: str
    weight: float
    marked: bool
    read: bool = True


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why `text` (as the model reads it) has the probability `score` of `label`.

    `evaluations` texts were computed; `failed` of them got no answer and count as 0 in the weights. `truncated`: some
    of the `parts` are not read.
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


def explain(classifier: Classifier | Cascade, text: str, label: str | None = None) -> Explanation:
    """Weigh the words of `text` for `label` (default: the one that it gets), in one call of the classifier.

    It computes at most 2 x `MAX_PARTS` + 3 texts, half of them only as long as a part. Of a cascade, all of them are
    computed by the member that answers `text`.

    Raises:
        UsageError: there is no text, the model fails on it, or does not know `label`.
    """
    if isinstance(classifier, Cascade):
        classifier = classifier.answering(text)
    text = classifier.clean(text)
    read = classifier.spans_read(text)
    spans = windows(text, MAX_PARTS, read)
    if not spans:
        raise UsageError("there is no text to explain")
    without = [_what_is_read(text, read, span) for span in spans]
    alone = [text[start:end] for start, end in spans]
    texts = [text, _what_is_read(text, read), "", *without, *alone]
    whole, base, nothing, *rest = classifier.classify(texts).results
    if isinstance(whole, Failed):
        raise UsageError(f"the model fails on this text ({whole.kind}): there is no label to explain")
    label = whole.label if label is None else label
    if label not in whole.probabilities:
        raise UsageError(f"the bundle has no label {label!r}; it knows {', '.join(whole.probabilities)}")
    lost = [_difference(base, result, label) for result in rest[: len(spans)]]
    gained = [_difference(result, nothing, label) for result in rest[len(spans) :]]
    weights = [(losing + gaining) / 2 for losing, gaining in zip(lost, gained, strict=True)]
    least = max(MARKED_SHARE * max(map(abs, weights)), LEAST_WEIGHT)
    weighed = [
        Part(start, end, _words(text[start:end]), weight, abs(weight) >= least)
        for (start, end), weight in zip(spans, weights, strict=True)
    ]
    return Explanation(
        text=text,
        label=label,
        score=whole.probabilities[label],
        truncated=whole.truncated,
        evaluations=len(texts) - (texts[0] == texts[1]),
        failed=sum(isinstance(result, Failed) for result in (nothing, *rest)),
        parts=tuple(sorted([*weighed, *_unread(text, read)], key=lambda part: part.start)),
    )


def _what_is_read(text: str, read: Sequence[Span], but: Span = (0, 0)) -> str:
    """The parts of `text` that are `read`, without the span `but`, which is inside one of them."""
    return "\n".join(
        text[start : but[0]] + text[but[1] : end] if start <= but[0] < but[1] <= end else text[start:end]
        for start, end in read
    )


def _unread(text: str, read: Sequence[Span]) -> Iterator[Part]:
    """The stretches of words between the parts that are `read`."""
    for start, end in pairwise([0, *(at for span in read for at in span), len(text)]):
        if (start, end) not in read and (found := [match.span() for match in _WORD.finditer(text, start, end)]):
            first, last = found[0][0], found[-1][1]
            yield Part(first, last, _words(text[first:last]), 0.0, marked=False, read=False)


def windows(text: str, most: int, read: Sequence[Span] | None = None) -> list[Span]:
    """Start and end of each word in the parts of `text` that are `read` (default: all of it).

    If there are more than `most` words, windows of several words. A window never reaches from one part into the next.
    """
    words = [[match.span() for match in _WORD.finditer(text, start, end)] for start, end in read or [(0, len(text))]]
    room = most - len(words) + 1 if len(words) > 1 else most  # the last window of each part may be shorter
    size = max(1, math.ceil(sum(map(len, words)) / room))
    groups = (part[at : at + size] for part in words for at in range(0, len(part), size))
    return [(group[0][0], group[-1][1]) for group in groups]


def _words(text: str) -> str:
    return " ".join(text.split())


def log_odds(result: Scored, label: str) -> float:
    """ln(p / (1 - p)) of `label`; with two labels, the difference of their logits. 1 - p is summed, not subtracted."""
    tiny = math.ulp(0.0)
    others = math.fsum(p for name, p in result.probabilities.items() if name != label)
    return math.log(max(result.probabilities[label], tiny)) - math.log(max(others, tiny))


def _difference(more: Scored | Failed, less: Scored | Failed, label: str) -> float:
    """Log-odds of `label` in `more` minus those in `less`; 0 if the model failed on one of them."""
    if isinstance(more, Failed) or isinstance(less, Failed):
        return 0.0
    return log_odds(more, label) - log_odds(less, label)
