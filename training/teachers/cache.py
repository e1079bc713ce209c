"""Answers of teachers, kept on disk in shards: a killed run resumes after its last shard and asks no text twice.

A shard is a safetensors file with `logits` and, if needed, `hidden` and `attention` of `SHARD` texts. Its header is the
key of its contents: the teacher's digest, the texts' SHA-256 (with that of their file, for people) and everything else
that the answers depend on. The directory is named after the hash of that key, so another teacher, text, setting or
precision never finds these answers. A shard that is damaged, or has another key in its header, is asked for again.
"""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from training.encoders.parallel import Ranks
from training.io.output import whole
from training.measure.answering.kept_answers import key_sha256, texts_sha256
from training.teachers.shards import ask_missing, joined_answers
from training.teachers.teacher import Answers, Teacher

#: Texts of one shard: a minute or so of a large teacher on a CPU.
SHARD = 256


def answers_of(teacher: Teacher, texts: Sequence[str], file_sha256: str, directory: Path, ranks: Ranks) -> Answers:
    """The teacher's answers to `texts`; those that are missing in `directory` are asked for and kept there.

    Args:
        teacher: loaded only if an answer is missing.
        texts: in the order of their file.
        file_sha256: of that file, in hex.
        directory: holds the caches of all teachers and files; all processes share it.
        ranks: the processes, which share the work.

    Raises:
        BundleError: the teacher cannot be loaded.
        GaveUp: an answer cannot be written.
    """
    key = teacher.key() | {"file": file_sha256, "texts": texts_sha256(texts)}
    return joined_answers(ask_missing(teacher, texts, _Cache(directory / key_sha256(key)[:16], key), ranks))


class _Cache:
    """The shards of one teacher and file; see `training.teachers.shards.Shards`."""

    size = SHARD

    def __init__(self, directory: Path, key: dict[str, Any]) -> None:
        self._directory, self._key = directory, key

    def read(self, start: int) -> Answers | None:
        return _read(_shard(self._directory, start), self._key)

    def write(self, start: int, answers: Answers) -> None:
        _write(_shard(self._directory, start), self._key, answers)


def _shard(cache: Path, start: int) -> Path:
    return cache / f"{start:08d}.safetensors"


def _write(path: Path, key: dict[str, Any], answers: Answers) -> None:
    tensors = {name: tensor for name, tensor in vars(answers).items() if tensor is not None}
    with whole(path, f".{os.getpid()}.partial") as partial:  # two runs may ask the same texts
        save_file(tensors, partial, metadata={"key": json.dumps(key)})


def _read(path: Path, key: dict[str, Any]) -> Answers | None:
    """The answers in a shard; None if it is missing, damaged, or has another key."""
    try:
        with safe_open(path, "np") as file:
            if json.loads((file.metadata() or {}).get("key", "null")) != key:
                return None
            wanted = [name for name in ("hidden", "attention") if key.get(name)]
            return Answers(**{name: file.get_tensor(name) for name in ("logits", *wanted)})
    except (FileNotFoundError, SafetensorError, ValueError):
        return None
