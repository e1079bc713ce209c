"""What a model said of each text of a file, kept while it is measured, so that a killed run resumes.

A file of JSON lines, one per text in their order; no text is in it. Its name is the sum of what the answers depend on,
so that another model, text or setting never finds them. Every line has the number of its row: what two processes wrote
at the same time, one among the other's, is not taken for answers to the rows where it stands.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

from consumer.errors import UsageError
from consumer.model.bundle.manifest import TOKENIZER
from consumer.model.cascade.bundle import CascadeBundle
from consumer.model.labeller import Scored
from consumer.model.opening import AnyBundle
from training.io.output import storing, whole


class KeptAnswers:
    """The answers of one variant of a bundle to `texts`.

    Args:
        directory: of the answers of all models and files; made where it is missing.
        bundle: of a model, or a cascade. May still be under construction: the sums of the variant's weights count, not
            that of its manifest.
        variant: the one that answers.
        texts: in the order of their file.

    Raises:
        UsageError: there is no such directory, and none can be made.
    """

    def __init__(self, directory: Path, bundle: AnyBundle, variant: str, texts: Sequence[str]) -> None:
        key = _key(bundle, variant) | {"texts": texts_sha256(texts)}
        try:
            directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"no answers can be kept in {directory} ({error.strerror}): name another") from error
        self._path = directory / f"{variant}-{key_sha256(key)[:16]}.jsonl"
        self._rows = 0

    def read(self, chunk: int, total: int) -> list[Scored | None]:
        """What is there, whole chunks of so many texts or all of the `total`; what is behind that is thrown away."""
        found = list(islice(self._lines(), total))
        if len(found) < total:
            # A batch of a chunk's rest would be padded differently, and the answers differ in their last digits.
            found = found[: len(found) // chunk * chunk]
            with whole(self._path, f".{os.getpid()}.partial") as partial:  # two processes may ask the same
                partial.write_bytes(_as_lines(found, 0))
        self._rows = len(found)
        return found

    def append(self, answers: Sequence[Scored | None]) -> None:
        """Keep the answers to the next texts; None if the model failed."""
        # Unbuffered: one write, so that lines of another process never end up inside.
        with storing(self._path), self._path.open("ab", buffering=0) as file:
            file.write(_as_lines(answers, self._rows))
        self._rows += len(answers)

    def _lines(self) -> Iterator[Scored | None]:
        """Up to the first line that a kill or a full disk cut off, or that is of another row."""
        try:
            with self._path.open(encoding="utf-8", errors="replace") as file:
                for row, line in enumerate(file):
                    told = json.loads(line)
                    if told["row"] != row:
                        return
                    yield None if told["answer"] is None else Scored(**told["answer"])
        except (FileNotFoundError, ValueError, TypeError, KeyError):
            return


def _key(bundle: AnyBundle, variant: str) -> dict[str, Any]:
    """All of `bundle` that the answers of `variant` depend on."""
    if isinstance(bundle, CascadeBundle):
        members = zip(bundle.manifest.members, bundle.members, strict=True)
        return {"members": [_key(each, member.variant) | {"below": member.below} for member, each in members]}
    manifest = bundle.manifest
    # The graph beside the weights has names in it that differ from export to export.
    weights = [name for name in manifest.variants[variant].files if not name.endswith(".xml")]
    return {
        "variant": variant,
        "files": {name: manifest.files[name].sha256 for name in [*weights, TOKENIZER]},
        "reading": manifest.model_dump(
            mode="json", include={"format", "labels", "max_length", "truncation", "windows", "calibration"}
        ),
    }


def _as_lines(answers: Sequence[Scored | None], first: int) -> bytes:
    lines = ({"row": row, "answer": answer and asdict(answer)} for row, answer in enumerate(answers, first))
    return "".join(f"{json.dumps(line)}\n" for line in lines).encode()


def texts_sha256(texts: Sequence[str]) -> str:
    """SHA-256 of `texts` in their order, in hex."""
    total = hashlib.sha256()
    for text in texts:
        encoded = text.encode()
        total.update(len(encoded).to_bytes(8, "big") + encoded)
    return total.hexdigest()


def rows_sha256(texts: Sequence[str], labels: Sequence[str]) -> str:
    """SHA-256 of `texts` and their `labels` in their order, in hex."""
    return texts_sha256([*texts, *labels])


def key_sha256(key: Mapping[str, Any]) -> str:
    """SHA-256 of what answers depend on, in hex."""
    return hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
