"""Fixed texts with the answers that the model gave when the bundle was made; the worker replays them before it serves.

A wrong tokenizer, swapped labels, another precision or a damaged weight changes the answers by far more than the
tolerance.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from consumer.errors import BundleError
from consumer.model.bundle.manifest import Golden, GoldenText
from consumer.model.labeller import Labeller, Scored
from training.data.reviews import Reviews
from training.io.progress import say
from training.measure.evaluate import open_classifier

Probabilities = Mapping[str, float]

#: Largest allowed difference of a probability, per variant. int8 kernels round differently from processor to processor
#: and with the reviews in the same batch; bf16, in which torch computes on a GPU, keeps 8 bits of a number; in fp32
#: only the order of the additions differs.
TOLERANCE = {"int8": 0.05, "bf16": 0.03, "fp32": 0.005, "torch": 0.03}

#: A label is pinned if a text has at least this probability of it.
CONFIDENT = 0.9

#: Training texts of a label that are searched for its clearest one.
CANDIDATES = 64

_PRAISE = (
    "I went in without knowing a thing about it and came out grinning. The two leads are a joy together, the jokes "
    "land because the people telling them are real, and the last ten minutes earn every tear. "
)
_BLAME = (
    "Nothing in it works. The plot forgets its own rules, the dialogue sounds like a first draft, and the editing is "
    "so careless that one scene is cut off in the middle of a word. "
)
_NEUTRAL = (
    "The story opens in a small harbour town in the autumn of 1962, where a clerk finds a letter behind a drawer. He "
    "follows it to the capital, then across the border, and on the way meets a driver, a nurse and a retired judge. "
)


def _wide(text: str) -> str:
    """`text` in full-width letters, as a keyboard for Japanese may write it."""
    return "".join(letter if letter == " " else chr(ord(letter) + 0xFEE0) for letter in text)


TEXTS: tuple[str, ...] = (
    "Wonderful.",
    "Terrible, just terrible.",
    "One of the best films I have seen in years: funny, moving and beautifully shot. I loved every minute of it.",
    "A complete waste of time. The acting is awful, the story is boring and I want my two hours back.",
    _PRAISE + "<br /><br />See it on the largest screen you can find.<br />10/10",
    _BLAME + "<br /><br />I kept waiting for it to get better. It never did. Avoid.<br />1/10",
    "C'est très émouvant: Amélie, Zoë and the señor from São Paulo are a délicieux trio. A superb, touching film.",
    "What a mess 😡👎 — flat jokes, ugly effects, dreadful music… the worst sequel I have ever sat through 💤",
    "The first half is brilliant and I was ready to love it, but the second half falls apart and the ending is a mess.",
    "Slow to start, and the effects look cheap. Still, the performances won me over and I would gladly watch it again.",
    # Nothing but unknown words, unless the text is cleaned by the rules of format 2
    _wide("Wonderful, a masterpiece!"),
    f"{_wide('Terrible')}, {_wide('just')} &#8203;{_wide('terrible')}&hellip;",
    _NEUTRAL * 12 + _PRAISE + "A masterpiece, and easily my favourite film of the year.",
    _NEUTRAL * 12 + _BLAME + "Easily the worst film of the year, dull and badly acted.",
)


def nothing_to_replay() -> Golden:
    """Golden texts for a bundle that is still being made: every variant, no answers."""
    return Golden(tolerance=TOLERANCE, texts=(GoldenText(text=TEXTS[0], probabilities={}),))


def record_golden(bundle: Path, variants: Sequence[str], train: Reviews) -> Golden:
    """Ask every variant for its answers to the golden texts.

    A text that clearly has a label pins it. If `TEXTS`, which are about films, pin fewer than two labels, the clearest
    short texts of `train` are added.
    """
    texts = TEXTS
    with open_classifier(bundle, variants[0]) as classifier:
        unpinned = unpinned_labels(answers_to(classifier, texts))
        if unpinned:
            say(f"no golden text is clearly {' or '.join(unpinned)}: adding short training texts to golden.json")
            texts += clearest_texts(classifier, train, unpinned)
    return ask(bundle, texts, {variant: TOLERANCE[variant] for variant in variants})


def ask(bundle: Path, texts: Sequence[str], tolerance: Mapping[str, float]) -> Golden:
    """Golden answers to `texts` of every variant in `tolerance`."""
    answers: dict[str, list[Probabilities]] = {}
    for variant in tolerance:
        with open_classifier(bundle, variant) as classifier:
            answers[variant] = answers_to(classifier, texts)
    return Golden(
        tolerance=dict(tolerance),
        texts=tuple(
            GoldenText(text=text, probabilities={variant: dict(rows[i]) for variant, rows in answers.items()})
            for i, text in enumerate(texts)
        ),
    )


def unpinned_labels(answers: Sequence[Probabilities]) -> list[str]:
    """The labels that no answer is sure of, if fewer than two others are left: a swap of labels could go unnoticed."""
    labels = list(answers[0])
    unpinned = [label for label in labels if all(answer[label] < CONFIDENT for answer in answers)]
    return unpinned if len(labels) - len(unpinned) < 2 else []


def clearest_texts(classifier: Labeller, train: Reviews, labels: Sequence[str]) -> tuple[str, ...]:
    """The short text of `train` that the model is surest of, for each of `labels`."""
    clearest: list[str] = []
    for label in labels:
        of_label = [text for text, given in zip(train.texts, train.labels, strict=True) if given == label]
        shortest = sorted(of_label, key=len)[:CANDIDATES]
        answers = answers_to(classifier, shortest)
        clearest.append(max(zip(shortest, answers, strict=True), key=lambda pair: pair[1][label])[0])
    return tuple(clearest)


def answers_to(classifier: Labeller, texts: Sequence[str]) -> list[Probabilities]:
    """Probabilities of each of `texts`.

    Raises:
        BundleError: the model fails on one.
    """
    results = classifier.classify(texts).results
    if any(not isinstance(result, Scored) for result in results):
        raise BundleError("the exported model fails on a golden text: is the base model a text encoder?")
    return [result.probabilities for result in results if isinstance(result, Scored)]
