"""Asks a teacher for the answers that are not kept yet, shard by shard, in all processes of a run."""

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

import numpy as np

from training.encoders.parallel import Ranks
from training.io.progress import ProgressBar
from training.teachers.teacher import Answers, Asked, Teacher

#: Texts that the teacher gets at once, after which the progress is shown.
ASKED_AT_ONCE = 256

#: Seconds between two checks for the shards of the other processes.
LOOK_SECONDS = 1.0


class Shards(Protocol):
    """Where answers are kept, those to `size` texts together; `start` is the number of the first of them."""

    size: int

    def read(self, start: int) -> Answers | None:
        """The answers that are kept; None if there are none, or if they are damaged."""
        ...

    def write(self, start: int, answers: Answers) -> None:
        """Keep `answers`, all or none of them."""
        ...


def ask_missing(teacher: Teacher, texts: Sequence[str], shards: Shards, ranks: Ranks) -> list[Answers]:
    """The teacher's answers to `texts`, one for each shard; those that are missing are asked for and kept.

    Args:
        teacher: loaded only if an answer is missing. The texts of a shard are sorted by length, which saves padding.
        texts: the same in every process, in the same order.
        shards: where the answers are kept; all processes share it.
        ranks: the processes, which share the work.

    Raises:
        BundleError: the teacher cannot be loaded.
        GaveUp: an answer cannot be written.
    """
    starts = range(0, len(texts), shards.size)
    missing = [start for start in starts if shards.read(start) is None]
    # By the number of the shard, not its index among the missing: another process may find fewer missing.
    if mine := [start for start in missing if start // shards.size % ranks.size == ranks.rank]:
        done = len(texts) - _rows(texts, missing, shards.size)
        title = f"asking the teacher {teacher.name}"
        with teacher.loaded(ranks.device) as ask, ProgressBar(title, len(texts), done) as bar:
            for start in mine:
                part = texts[start : start + shards.size]
                before = done

                def show(count: int, before: int = before) -> None:
                    bar.update(min(before + count * ranks.size, len(texts)))

                shards.write(start, _ask_sorted(ask, part, show))
                done = min(done + len(part) * ranks.size, len(texts))
    # Not a collective call, which times out after minutes: one process may wait for hours for another.
    while any(shards.read(start) is None for start in missing):
        time.sleep(LOOK_SECONDS)
    return [answers for start in starts if (answers := shards.read(start)) is not None]


def joined_answers(shards: Sequence[Answers]) -> Answers:
    """The answers of all `shards`; each has the same tensors as the first."""
    names = [name for name, tensor in vars(shards[0]).items() if tensor is not None]
    return Answers(**{name: np.concatenate([getattr(shard, name) for shard in shards]) for name in names})


def _ask_sorted(ask: Asked, texts: Sequence[str], show: Callable[[int], None]) -> Answers:
    """The answers to `texts`, in their order; `show` receives how many of them are done."""
    if len(texts) <= ASKED_AT_ONCE:  # the model itself sorts what it gets
        answers = ask(texts)
        show(len(texts))
        return answers
    order = sorted(range(len(texts)), key=lambda row: len(texts[row]), reverse=True)
    parts: list[Answers] = []
    for start in range(0, len(order), ASKED_AT_ONCE):
        parts.append(ask([texts[row] for row in order[start : start + ASKED_AT_ONCE]]))
        show(min(start + ASKED_AT_ONCE, len(texts)))
    found = joined_answers(parts)
    back = np.argsort(order)
    return Answers(**{name: tensor[back] for name, tensor in vars(found).items() if tensor is not None})


def _rows(texts: Sequence[str], starts: Iterable[int], size: int) -> int:
    return sum(min(size, len(texts) - start) for start in starts)
