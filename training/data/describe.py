"""What a file of labelled reviews holds: labels, languages, lengths, and what a token limit would cut off."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from consumer.errors import BundleError, UsageError
from consumer.model.encoder import Encoder, Truncation
from training.data.reviews import Reviews, without_duplicates
from training.io.progress import ProgressBar

#: Languages that are told apart; each one more makes short texts less certain (names of lingua).
LANGUAGES = (
    *("ARABIC", "BOKMAL", "CHINESE", "CZECH", "DANISH", "DUTCH", "ENGLISH", "FINNISH", "FRENCH", "GERMAN", "GREEK"),
    *("HEBREW", "HINDI", "HUNGARIAN", "INDONESIAN", "ITALIAN", "JAPANESE", "KOREAN", "POLISH", "PORTUGUESE"),
    *("ROMANIAN", "RUSSIAN", "SPANISH", "SWEDISH", "THAI", "TURKISH", "UKRAINIAN", "VIETNAMESE"),
)

#: Texts whose language is detected, the seed that draws them, and characters read of each.
LANGUAGE_SAMPLE, LANGUAGE_SEED, LANGUAGE_CHARACTERS = 64, 42, 1000

#: What a text counts as where no language is likelier than the others.
UNKNOWN = "unknown"

#: Texts tokenised at once.
CHUNK = 1024

#: Tokens that no text reaches: the encoder counts all of them instead of cutting.
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
class Description:
    """What a file holds.

    `rows` are all rows, `usable` those with text and label; `repeated` and `contradicting` rows are usable but would
    be removed before training. `labels` counts usable rows; `languages` are shares of `language_sample` texts drawn.
    `truncated` is the share of texts with more than `max_length` tokens; None, as `tokens`, without a tokenizer.
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
    truncated: float | None = None

    def as_json(self) -> dict[str, Any]:
        """The fields, ready for `json.dumps`."""
        return asdict(self)


def describe(reviews: Reviews, tokenizer_json: str | None = None, max_length: int = 512) -> Description:
    """Count and measure `reviews`; `tokenizer_json` is the text of a tokenizer.json, `max_length` a limit in tokens."""
    _, repeated, contradicting = without_duplicates(reviews)
    languages = detect_languages(reviews.texts)
    tokens = count_tokens(reviews.texts, tokenizer_json) if tokenizer_json else None
    return Description(
        file=str(reviews.path),
        rows=len(reviews) + len(reviews.bad_rows),
        usable=len(reviews),
        repeated=repeated,
        contradicting=contradicting,
        labels=dict(sorted(Counter(reviews.labels).items())),
        languages={name: count / languages.total() for name, count in languages.most_common()},
        language_sample=languages.total(),
        words=_lengths([len(text.split()) for text in reviews.texts]),
        tokens=_lengths(tokens) if tokens else None,
        max_length=max_length if tokens else None,
        truncated=sum(count > max_length for count in tokens) / len(tokens) if tokens else None,
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


def count_tokens(texts: Sequence[str], tokenizer_json: str) -> list[int]:
    """Tokens of each text, special ones included, as the worker's own encoder makes them before it cuts.

    Raises:
        UsageError: the tokenizer cannot be read.
    """
    try:
        encoder = Encoder(tokenizer_json, _UNLIMITED, Truncation.HEAD)
    except BundleError as error:
        raise UsageError(str(error)) from error
    counts: list[int] = []
    with ProgressBar("counting tokens", len(texts)) as bar:
        for start in range(0, len(texts), CHUNK):
            counts += [encoded.tokens for encoded in encoder.encode(texts[start : start + CHUNK])]
            bar.update(len(counts))
    return counts


def find_tokenizer(base: str | None, tokenizer: Path | None) -> str | None:
    """The text of the tokenizer.json `tokenizer`, or of that in the directory or hub checkpoint `base`, if any.

    Raises:
        UsageError: it is not there or is no text.
    """
    if base is not None and not (Path(base) / "tokenizer.json").is_file():
        from training.encoders.base import find_base

        return find_base(base).tokenizer_json
    path = Path(base) / "tokenizer.json" if base is not None else tokenizer
    try:
        return path.read_text(encoding="utf-8") if path else None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read ({type(error).__name__}): name a tokenizer.json") from error


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
        lines += [
            f"  tokens    {_as_text(description.tokens)}",
            f"  truncated {description.truncated:.2%} of the texts are longer than {description.max_length} tokens",
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
