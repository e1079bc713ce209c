"""What a model said of each text of a file, kept while it is measured: a run that is killed goes on measuring.

A file of JSON lines, one per text in their order; no text is in it. Its name is the sum of what the answers depend on,
so that another model, text or setting never finds them.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

from consumer.bundle import TOKENIZER, Bundle
from consumer.classifier import Scored
from consumer.errors import UsageError


class KeptAnswers:
    """The answers of one variant of a bundle to `texts`.

    Args:
        directory: of the answers of all models and files; made where it is missing.
        bundle: may still be under construction: the sums of the variant's weights count, not that of its manifest.
        variant: the one that answers.
        texts: in the order of their file.

    Raises:
        UsageError: there is no such directory, and none can be made.
    """

    def __init__(self, directory: Path, bundle: Bundle, variant: str, texts: Sequence[str]) -> None:
        manifest = bundle.manifest
        # The graph beside the weights has names in it that differ from export to export.
        weights = [name for name in manifest.variants[variant].files if not name.endswith(".xml")]
        key = {
            "variant": variant,
            "files": {name: manifest.files[name].sha256 for name in [*weights, TOKENIZER]},
            "reading": manifest.model_dump(
                mode="json", include={"labels", "max_length", "truncation", "windows", "calibration"}
            ),
            "texts": texts_sha256(texts),
        }
        try:
            directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"no answers can be kept in {directory} ({error.strerror}): name another") from error
        self._path = directory / f"{variant}-{key_sha256(key)[:16]}.jsonl"

    def read(self, chunk: int, total: int) -> list[Scored | None]:
        """What is there, whole chunks of so many texts or all of the `total`; what is behind that is thrown away."""
        found = list(islice(self._lines(), total))
        if len(found) < total:
            # A batch of a chunk's rest would be padded differently, and the answers differ in their last digits.
            found = found[: len(found) // chunk * chunk]
            partial = self._path.with_suffix(".partial")
            partial.write_text(_as_lines(found), encoding="utf-8")
            partial.replace(self._path)
        return found

    def append(self, answers: Sequence[Scored | None]) -> None:
        """Keep the answers to the next texts; None where the model failed."""
        with self._path.open("a", encoding="utf-8") as file:
            file.write(_as_lines(answers))

    def _lines(self) -> Iterator[Scored | None]:
        """Up to the first line that a kill or a full disk cut off."""
        try:
            with self._path.open(encoding="utf-8", errors="replace") as file:
                for line in file:
                    told = json.loads(line)
                    yield Scored(**told) if told else None
        except (FileNotFoundError, ValueError, TypeError):
            return


def _as_lines(answers: Sequence[Scored | None]) -> str:
    return "".join(f"{json.dumps(asdict(answer) if answer else None)}\n" for answer in answers)


def texts_sha256(texts: Sequence[str]) -> str:
    """SHA-256 of `texts` in their order, in hex."""
    total = hashlib.sha256()
    for text in texts:
        encoded = text.encode()
        total.update(len(encoded).to_bytes(8, "big") + encoded)
    return total.hexdigest()


def key_sha256(key: Mapping[str, Any]) -> str:
    """SHA-256 of what answers depend on, in hex."""
    return hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
