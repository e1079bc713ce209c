"""Answers of teachers, kept on disk in shards: a killed run resumes after its last shard and asks no text twice.

A shard is a safetensors file with `logits` and, if needed, `hidden` and `attention` of `SHARD` texts. Its header is the
key of its contents: the teacher's digest, the texts' SHA-256 (with that of their file, for people) and everything else
that the answers depend on. The directory is named after the hash of that key, so another teacher, text, setting or
precision never finds these answers. A shard that is damaged, or has another key in its header, is asked for again.
"""

import json
import os
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from training.encoders.parallel import Ranks
from training.io.output import whole
from training.io.progress import ProgressBar
from training.measure.kept_answers import key_sha256, texts_sha256
from training.teachers.teacher import Answers, Teacher

#: Texts of one shard: a minute or so of a large teacher on a CPU.
SHARD = 256

#: Seconds between two checks for the shards of the other processes.
LOOK_SECONDS = 1.0


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
    cache = directory / key_sha256(key)[:16]
    starts = range(0, len(texts), SHARD)
    missing = [start for start in starts if _read(_shard(cache, start), key) is None]
    # By the number of the shard, not its index among the missing: another process may find fewer missing.
    if mine := [start for start in missing if start // SHARD % ranks.size == ranks.rank]:
        done = len(texts) - _rows(texts, missing)
        title = f"asking the teacher {teacher.name}"
        with teacher.loaded(ranks.device) as ask, ProgressBar(title, len(texts), done) as bar:
            for start in mine:
                part = texts[start : start + SHARD]
                _write(_shard(cache, start), key, ask(part))
                done = min(done + len(part) * ranks.size, len(texts))
                bar.update(done)
    # Not a collective call, which times out after minutes: one process may wait for hours for another.
    while any(_read(_shard(cache, start), key) is None for start in missing):
        time.sleep(LOOK_SECONDS)
    shards = [_read(_shard(cache, start), key) for start in starts]
    return joined_answers([shard for shard in shards if shard is not None])


def _rows(texts: Sequence[str], starts: Iterable[int]) -> int:
    return sum(min(SHARD, len(texts) - start) for start in starts)


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


def joined_answers(shards: Sequence[Answers]) -> Answers:
    """The answers of all `shards`; each has the same tensors as the first."""
    names = [name for name, tensor in vars(shards[0]).items() if tensor is not None]
    return Answers(**{name: np.concatenate([getattr(shard, name) for shard in shards]) for name in names})
