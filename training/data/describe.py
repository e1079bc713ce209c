"""What a file of labelled reviews holds: labels, languages, lengths, and how much of it a model would not read."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from consumer.errors import BundleError, UsageError
from consumer.model.texts.cleaning import clean
from consumer.model.texts.encoder import Encoder
from consumer.model.texts.reading import Reading, Truncation
from training.data.duplicates import without_duplicates
from training.data.reviews import Reviews
from training.io.progress import ProgressBar

#: Languages that are distinguished (names of lingua). Each additional one makes short texts less certain.
LANGUAGES = (
    *("ARABIC", "BOKMAL", "CHINESE", "CZECH", "DANISH", "DUTCH", "ENGLISH", "FINNISH", "FRENCH", "GERMAN", "GREEK"),
    *("HEBREW", "HINDI", "HUNGARIAN", "INDONESIAN", "ITALIAN", "JAPANESE", "KOREAN", "POLISH", "PORTUGUESE"),
    *("ROMANIAN", "RUSSIAN", "SPANISH", "SWEDISH", "THAI", "TURKISH", "UKRAINIAN", "VIETNAMESE"),
)

#: Texts whose language is detected, the seed that draws them, and characters read of each.
LANGUAGE_SAMPLE, LANGUAGE_SEED, LANGUAGE_CHARACTERS = 64, 42, 1000

#: The language of a text for which none is likelier than the others.
UNKNOWN = "unknown"

#: Texts tokenised at once.
CHUNK = 1024

#: Tokens that no text reaches, so that the encoder counts all of them instead of cutting.
_UNLIMITED = 2**24


@dataclass(frozen=True)
class Lengths:
    """Lengths of all texts of a file, in words or in tokens; `p95` and `p99` are percentiles."""

    mean: float
    median: float
    p95: float
    p99: float
    max: int


@dataclass(frozen=True)
class TextReading:
    """How a model reads a text: the text of its tokenizer.json, and what it keeps of a text that is too long."""

    tokenizer_json: str
    reading: Reading


@dataclass(frozen=True)
class Description:
    """What a file holds.

    `rows` are all rows, `usable` those with text and label; `repeated` and `contradicting` rows are usable but would
    be removed before training. `labels` counts usable rows; `languages` are shares of `language_sample` drawn texts.
    `tokens` are those of the whole texts, special tokens included; `truncated` is the share of the texts that a model
    with `max_length` and `truncation` (and `windows`) does not read to the end. All of these are None without a
    tokenizer.
    """

    file: str
    rows: int
    usable: int
    repeated: int
    contradicting: int
    labels: dict[str, int]
    languages: dict[str, float]
    language_sample: int
    words: Lengths
    tokens: Lengths | None = None
    max_length: int | None = None
    truncation: str | None = None
    windows: dict[str, Any] | None = None
    truncated: float | None = None

    def as_json(self) -> dict[str, Any]:
        """The fields, ready for `json.dumps`."""
        return asdict(self)


def describe(reviews: Reviews, model: TextReading | None = None) -> Description:
    """Count and measure `reviews`; with `model`, their tokens, and the texts that are too long for a model."""
    _, repeated, contradicting = without_duplicates(reviews)
    languages, counts = detect_languages(reviews.texts), Counter(reviews.labels)
    description = Description(
        file=str(reviews.path),
        rows=len(reviews) + len(reviews.bad_rows),
        usable=len(reviews),
        repeated=repeated,
        contradicting=contradicting,
        labels={label: counts[label] for label in reviews.label_names},
        languages={name: count / languages.total() for name, count in languages.most_common()},
        language_sample=languages.total(),
        words=_lengths([len(clean(text).split()) for text in reviews.texts]),
    )
    if model is None:
        return description
    tokens, truncated = count_tokens(reviews.texts, model)
    reading = model.reading
    return replace(
        description,
        tokens=_lengths(tokens),
        max_length=reading.max_length,
        truncation=reading.truncation.value,
        windows=reading.windows.model_dump() if reading.windows else None,
        truncated=truncated / len(tokens),
    )


def detect_languages(texts: Sequence[str]) -> Counter[str]:
    """Language of each of a sample of `texts`, drawn with a fixed seed."""
    from lingua import Language, LanguageDetectorBuilder

    drawn = np.random.default_rng(LANGUAGE_SEED).permutation(len(texts))[:LANGUAGE_SAMPLE]
    # Low accuracy means trigrams alone, which is what lingua uses for texts of more than 120 characters anyway.
    languages = [getattr(Language, name) for name in LANGUAGES]
    detector = LanguageDetectorBuilder.from_languages(*languages).with_low_accuracy_mode().build()
    found = (detector.detect_language_of(texts[row][:LANGUAGE_CHARACTERS]) for row in drawn)
    return Counter(language.name.capitalize() if language else UNKNOWN for language in found)


def count_tokens(texts: Sequence[str], model: TextReading) -> tuple[list[int], int]:
    """Tokens of each whole text, special tokens included, and how many texts `model` does not read to the end.

    Both are counted by the worker's own encoder: once with its limits, and once without for the texts that it cuts.

    Raises:
        UsageError: the tokenizer cannot be read, or the windows are too short for it.
    """
    try:
        encoder = Encoder(model.tokenizer_json, model.reading)
        unlimited = Encoder(
            model.tokenizer_json, Reading(_UNLIMITED, Truncation.HEAD, text_rules=model.reading.text_rules)
        )
    except BundleError as error:
        raise UsageError(str(error)) from error
    counts: list[int] = []
    truncated = 0
    with ProgressBar("counting tokens", len(texts)) as bar:
        for start in range(0, len(texts), CHUNK):
            chunk = texts[start : start + CHUNK]
            read = encoder.encode(chunk)
            whole = iter(unlimited.encode([text for text, each in zip(chunk, read, strict=True) if each.truncated]))
            counts += [next(whole).tokens if each.truncated else each.tokens for each in read]
            truncated += sum(each.truncated for each in read)
            bar.update(len(counts))
    return counts, truncated


def as_text(description: Description) -> str:
    """A few lines for people."""
    removed = (
        f", {description.repeated} repeated, {description.contradicting} with contradicting labels"
        if description.repeated or description.contradicting
        else ""
    )
    kind = "two classes" if len(description.labels) == 2 else f"{len(description.labels)} classes"
    labels = ", ".join(
        f"{name} {count} ({count / description.usable:.1%})" for name, count in description.labels.items()
    )
    languages = ", ".join(f"{name} {share:.1%}" for name, share in description.languages.items())
    lines = [
        description.file,
        f"  rows      {description.rows}, {description.usable} usable{removed}",
        f"  labels    {kind}: {labels}",
        f"  language  {languages} (of {description.language_sample} texts)",
        f"  words     {_as_text(description.words)}",
    ]
    if description.tokens:
        windows = f"{description.windows['most']} windows of " if description.windows else ""
        limit = f"{windows}{description.max_length} tokens"
        lines += [
            f"  tokens    {_as_text(description.tokens)}",
            f"  truncated {description.truncated:.2%} of the texts are longer than {limit}",
        ]
    return "\n".join(lines)


def _lengths(counts: Sequence[int]) -> Lengths:
    median, p95, p99 = np.percentile(counts, [50, 95, 99]).tolist()
    return Lengths(float(np.mean(counts)), median, p95, p99, max(counts))


def _as_text(lengths: Lengths) -> str:
    return (
        f"mean {lengths.mean:.0f}, median {lengths.median:.0f}, 95 % up to {lengths.p95:.0f}, "
        f"99 % up to {lengths.p99:.0f}, longest {lengths.max}"
    )
