"""Asks all teachers of a student, and turns their answers into one."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from consumer.model.engines.base import Logits
from training.data.reviews import Reviews
from training.encoders.parallel import Ranks
from training.loop.run import Interrupted
from training.teachers.cache import answers_of
from training.teachers.shards import joined_answers
from training.teachers.teacher import Answers, Teacher


def ask_all(
    teachers: Sequence[Teacher],
    files: Sequence[Reviews],
    texts: Sequence[str],
    cache: Path,
    ranks: Ranks,
    *,
    labels: Sequence[str],
) -> list[Answers]:
    """Each teacher's answers to `texts`, which all come from `files`; the logits are those of `labels`, in this order.

    It asks for all texts of a file, including those held out with this seed, which another seed may not hold out.

    Raises:
        Interrupted: SIGINT came; the answers so far are kept in `cache`.
    """
    rows = {text: row for row, text in enumerate(text for file in files for text in file.texts)}
    order = [rows[text] for text in texts]
    found: list[Answers] = []
    for teacher in teachers:
        try:
            parts = [answers_of(teacher, file.texts, file.sha256, cache, ranks) for file in files]
        except KeyboardInterrupt:
            raise Interrupted("stopped while teachers are asked; the same command resumes there") from None
        whole = joined_answers(parts)
        ordered = {name: tensor[order] for name, tensor in vars(whole).items() if tensor is not None}
        ordered["logits"] = ordered["logits"][:, [teacher.labels.index(label) for label in labels]]
        found.append(Answers(**ordered))
    return found


def mean_answers(linear: Sequence[Logits], asked: Sequence[Answers]) -> Answers:
    """The mean of all logits, each known up to a constant for each text, with the other answers of the first asked."""
    logits = [*linear, *(answers.logits for answers in asked)]
    mean = np.asarray(np.mean([one - one.mean(axis=1, keepdims=True) for one in logits], axis=0))
    return replace(asked[0], logits=mean) if asked else Answers(mean)
