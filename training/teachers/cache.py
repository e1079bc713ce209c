"""What teachers said, kept on disk in shards: a run that is killed asks on where it stopped, and no text twice.

A shard is a safetensors file with `logits` and, where wanted, `hidden` and `attention` of `SHARD` texts; its header is
the key of what it holds: the teacher's digest, the texts' SHA-256 (with that of their file, for people) and what they
depend on. The name of the directory is the sum of that key, so that another teacher, text or setting never finds these
answers; a shard with another key in its header, or damaged, is asked for anew.
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

#: Seconds between two looks at whether the other processes have written their shards.
LOOK_SECONDS = 1.0


def answers_of(teacher: Teacher, texts: Sequence[str], file_sha256: str, directory: Path, ranks: Ranks) -> Answers:
    """The teacher's answers to `texts`; those that are not in `directory` yet are asked for and kept there.

    Args:
        teacher: loaded only where something is missing.
        texts: in the order of their file.
        file_sha256: of that file, in hex.
        directory: of the caches of all teachers and files; several processes share it.
        ranks: the processes, which share the work.

    Raises:
        BundleError: the teacher cannot be loaded.
        GaveUp: an answer cannot be written.
    """
    key = teacher.key() | {"file": file_sha256, "texts": texts_sha256(texts)}
    cache = directory / key_sha256(key)[:16]
    starts = range(0, len(texts), SHARD)
    missing = [start for start in starts if _read(_shard(cache, start), key) is None]
    # By the number of the shard, not by its place among the missing: another process may find fewer of these.
    if mine := [start for start in missing if start // SHARD % ranks.size == ranks.rank]:
        done = len(texts) - _rows(texts, missing)
        title = f"asking the teacher {teacher.name}"
        with teacher.loaded(ranks.device) as ask, ProgressBar(title, len(texts), done) as bar:
            for start in mine:
                part = texts[start : start + SHARD]
                _write(_shard(cache, start), key, ask(part))
                done = min(done + len(part) * ranks.size, len(texts))
                bar.update(done)
    # Not a collective call: one process may wait for hours for another, and those give up after minutes.
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
    with whole(path, f".{os.getpid()}.partial") as partial:  # two runs may ask the same
        save_file(tensors, partial, metadata={"key": json.dumps(key)})


def _read(path: Path, key: dict[str, Any]) -> Answers | None:
    """What a shard holds; None where it is not there, damaged, or of something else."""
    try:
        with safe_open(path, "np") as file:
            if json.loads((file.metadata() or {}).get("key", "null")) != key:
                return None
            wanted = [name for name in ("hidden", "attention") if key.get(name)]
            return Answers(**{name: file.get_tensor(name) for name in ("logits", *wanted)})
    except (FileNotFoundError, SafetensorError, ValueError):
        return None


def joined_answers(shards: Sequence[Answers]) -> Answers:
    """The answers of all `shards`, of which each has what the first one has."""
    names = [name for name, tensor in vars(shards[0]).items() if tensor is not None]
    return Answers(**{name: np.concatenate([getattr(shard, name) for shard in shards]) for name in names})
