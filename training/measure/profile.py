"""What the answers of a model are like on texts of its own kind, and how far a window of live ones may be from that.

A limit is what chance alone exceeds once in 10,000 windows, and never less than what is worth a look.
"""

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np

from consumer.model.bundle.manifest import Source
from consumer.model.bundle.profile import Answered, Counts, Feature, Histogram, Places, Profile, divergence
from consumer.model.labeller import Scored
from consumer.model.texts.encoder import Encoder
from consumer.model.texts.language import language_of
from consumer.settings.worker import LEAST_DRIFT_WINDOW
from training.measure.evaluate import Answer

#: Fewer texts tell too little of what is usual.
LEAST_ROWS = 500

#: Sizes of windows that a profile has limits for; a window of another size has those of the next smaller one.
SIZES = (LEAST_DRIFT_WINDOW, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 50_000, 100_000)

#: Ends of the ranges of scores and of shares of unknown words. Those of lengths are the deciles of the texts.
SCORES = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.999)
UNKNOWN = (0.0, 0.01, 0.05, 0.1, 0.2, 0.5)

#: No limit is smaller, however large a window is: labels that move from 50:50 to 66:34, or a PSI of about 0.1, below
#: which it is custom to speak of no change.
LEAST_LIMIT = 0.02

#: Windows that are drawn at random to find a limit, the share of them that may exceed it, and the seed.
DRAWN, EXCEEDING, SEED = 50_000, 1e-4, 42

#: Texts encoded at once.
_CHUNK = 1024


def of_scored(texts: Sequence[str], scored: Sequence[Scored | None]) -> list[Answered]:
    """What is compared of each of `texts` that was `scored`."""
    return [
        Answered(each.label, each.score, len(text), language_of(text), each.unknown)
        for text, each in zip(texts, scored, strict=True)
        if each is not None
    ]


def of_answers(texts: Sequence[str], answers: Sequence[Answer], encoder: Encoder) -> list[Answered]:
    """What is compared of each of `texts` that has an answer; `encoder` is that of the model that gave them."""
    found = []
    for start in range(0, len(texts), _CHUNK):
        part = slice(start, start + _CHUNK)
        for text, encoded, answer in zip(texts[part], encoder.encode(texts[part]), answers[part], strict=True):
            if answer is not None:
                label = max(answer, key=answer.__getitem__)
                found.append(Answered(label, answer[label], len(text), language_of(text), encoded.unknown))
    return found


def profile_of(answered: Sequence[Answered], labels: Sequence[str], data: Source) -> Profile:
    """The profile of a model with these `labels`, by its answers to texts of `data`; at least one."""
    languages = Counter(each.language for each in answered)
    lengths = np.quantile([each.length for each in answered], np.arange(0.1, 1, 0.1), method="higher")
    names = {Feature.LABEL: tuple(labels), Feature.LANGUAGE: tuple(name for name, _ in languages.most_common())}
    edges: dict[Feature, tuple[float, ...]] = {
        Feature.SCORE: SCORES,
        Feature.LENGTH: tuple(np.unique(lengths).tolist()),
        Feature.UNKNOWN: UNKNOWN,
    }
    finder = Places(names, edges)
    places = np.array([finder.find(each) for each in answered])
    generator = np.random.default_rng(SEED)
    histograms = {}
    for column, feature in enumerate(Feature):
        named, ranges = names.get(feature, ()), edges.get(feature, ())
        counts = np.bincount(places[:, column], minlength=len(named) + len(ranges) + 1)
        histograms[feature] = Histogram(
            names=named,
            edges=ranges,
            counts=tuple(counts.tolist()),
            limits=tuple(_limit(counts, size, generator) for size in SIZES),
        )
    return Profile(
        created=datetime.now(UTC),
        data=data.model_copy(update={"rows": len(answered)}),
        rows=len(answered),
        sizes=SIZES,
        features=histograms,
    )


def _limit(counts: Counts, size: int, generator: np.random.Generator) -> float:
    """The divergence that windows of `size` texts of the same kind hardly ever exceed.

    The profile is drawn as well: it is itself but a sample of its kind, and a small one is off by chance, too.
    """
    shares = (counts + 0.5) / (counts + 0.5).sum()  # no value is impossible only because it was not seen
    windows = generator.multinomial(size, shares, DRAWN)
    samples = generator.multinomial(counts.sum(), shares, DRAWN)
    return round(max(float(np.quantile(divergence(windows, samples), 1 - EXCEEDING)), LEAST_LIMIT), 4)


def as_text(name: str, profile: Profile) -> str:
    """A few lines for people: what is usual for the model called `name`."""
    lines = [f"{name}: {profile.rows} texts of {profile.data.file}"]
    for feature, histogram in profile.features.items():
        if histogram.names:
            shares = zip((*histogram.names, "other"), histogram.counts, strict=True)
            told = ", ".join(f"{value} {count / profile.rows:.1%}" for value, count in shares if count)
        else:
            ends = (*(f"up to {edge:g}" for edge in histogram.edges), "more")
            told = ", ".join(
                f"{end} {count / profile.rows:.0%}" for end, count in zip(ends, histogram.counts, strict=True) if count
            )
        lines.append(f"  {feature:<9} {told}")
    return "\n".join(lines)
