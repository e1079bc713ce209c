"""How a model reads a text, without its weights: of a bundle, a base, or a tokenizer alone."""

from dataclasses import replace
from pathlib import Path

from consumer.errors import UsageError
from consumer.model.bundle.manifest import MANIFEST, TOKENIZER, Manifest
from consumer.model.texts.reading import Reading, Truncation
from training.data.describe import TextReading
from training.encoders.base import find_base

#: Tokens at most, if neither the user nor a bundle says how many.
USUAL_LENGTH = 512


def find_reading(base: str | None, tokenizer: Path | None, max_length: int | None) -> TextReading | None:
    """How `base` reads texts.

    Args:
        base: a bundle, whose manifest sets length, truncation and windows; or a directory or hub checkpoint with a
            tokenizer.
        tokenizer: a tokenizer.json, used if there is no `base`.
        max_length: tokens at most; None: those of the bundle, or `USUAL_LENGTH`.

    Returns:
        None if there is neither a base nor a tokenizer.

    Raises:
        UsageError: the tokenizer or the manifest is missing or cannot be read.
    """
    tokenizer_json = _tokenizer_json(base, tokenizer)
    if tokenizer_json is None:
        return None
    if base is None or not (Path(base) / MANIFEST).is_file():
        return TextReading(tokenizer_json, Reading(max_length or USUAL_LENGTH, Truncation.HEAD))
    reading = _manifest(Path(base)).reading
    return TextReading(tokenizer_json, replace(reading, max_length=max_length or reading.max_length))


def _tokenizer_json(base: str | None, tokenizer: Path | None) -> str | None:
    if base is not None and not (Path(base) / TOKENIZER).is_file():
        return find_base(base).tokenizer_json
    path = Path(base) / TOKENIZER if base is not None else tokenizer
    try:
        return path.read_text(encoding="utf-8") if path else None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read ({type(error).__name__}): name a tokenizer.json") from error


def _manifest(bundle: Path) -> Manifest:
    try:
        return Manifest.model_validate_json((bundle / MANIFEST).read_bytes())
    except (OSError, ValueError) as error:
        raise UsageError(f"{bundle / MANIFEST} cannot be read ({type(error).__name__}): name another --base") from error
