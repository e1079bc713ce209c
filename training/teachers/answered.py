"""Teachers that are not here: their answers, out of the files that `review-training answer` wrote, for a student."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from consumer.errors import UsageError
from consumer.model.engines.base import Logits
from training.data.duplicates import Digests, digests
from training.data.reviews import Reviews
from training.packaging.record import BaseRecord
from training.teachers.answer_files import SHARDS, Header, read_columns, read_header
from training.teachers.sources import Sources

Say = Callable[[str], None]


@dataclass(frozen=True)
class AbsentTeacher:
    """The answers of one teacher: `digests`, ascending, of all texts that it was asked for, and its logits.

    `logits` (texts, labels) are in the order of `header.labels`; NaN if the teacher failed.
    """

    header: Header
    digests: Digests
    logits: npt.NDArray[np.float32]

    @property
    def record(self) -> BaseRecord:
        """The teacher, for the record of the student."""
        return BaseRecord(name=self.header.teacher, sha256=self.header.teacher_sha256)

    def has(self, wanted: Digests) -> npt.NDArray[np.bool_]:
        """For each digest, whether there is an answer."""
        return np.isin(wanted, self.digests)

    def answers(self, wanted: Digests, labels: Sequence[str]) -> Logits:
        """The logits of `labels`, (digests, labels); NaN if there is no answer."""
        found: Logits = np.full((len(wanted), len(labels)), np.nan, dtype=np.float32)
        known = self.has(wanted)
        order = [self.header.labels.index(label) for label in labels]
        found[known] = self.logits[np.searchsorted(self.digests, wanted[known])][:, order]
        return found


@dataclass(frozen=True)
class FromFiles:
    """Answers to the texts of a student: of each teacher the `logits` (texts, labels), NaN if there are none.

    `missing` (texts,) is set if one of the teachers has no answer, and `by_label` for those of them that teach their
    label alone; the others are left out.
    """

    logits: Sequence[Logits]
    missing: npt.NDArray[np.bool_]
    by_label: npt.NDArray[np.bool_]

    @property
    def sha256(self) -> str | None:
        """Of all this, however it is cut into files; None if there are no teachers."""
        if not self.logits:
            return None
        total = hashlib.sha256(self.by_label.tobytes())
        for each in self.logits:
            total.update(np.where(np.isnan(each), np.inf, each).astype("<f4").tobytes())
        return total.hexdigest()


def read_answers(paths: Sequence[Path], labels: Sequence[str], say: Say) -> list[AbsentTeacher]:
    """The answers in `paths`, files or directories of them, one entry for each teacher.

    Files are of one teacher if it is the same model, however much it read of a text. The first answer to a text counts.

    Raises:
        UsageError: a path has no answers, or a file is damaged or has answers for other labels.
    """
    parts: dict[str, list[tuple[Header, Digests, npt.NDArray[np.float32]]]] = {}
    for path in [file for given in paths for file in _files(given)]:
        header = read_header(path)
        try:
            if header is None:
                raise pa.ArrowInvalid
            if set(header.labels) != set(labels):
                raise UsageError(
                    f"{path} has answers for {', '.join(header.labels)}, but the training file has "
                    f"{', '.join(labels)}: ask a teacher that was trained for these labels"
                )
            parts.setdefault(header.teacher_sha256, []).append((header, *read_columns(path, header.labels)))
        except (OSError, pa.ArrowException) as error:
            raise UsageError(f"{path} is damaged: remove it and repeat the command that wrote it") from error
    teachers: list[AbsentTeacher] = []
    for shards in parts.values():
        found, first = np.unique(np.concatenate([digests for _, digests, _ in shards]), return_index=True)
        logits = np.concatenate([logits for _, _, logits in shards])[first]
        header = shards[0][0]
        say(f"answers of {header.teacher} to {len(found)} texts, in {len(shards)} files")
        teachers.append(AbsentTeacher(header, found, logits))
    return teachers


def check_none_measures(teachers: Sequence[AbsentTeacher], test: Reviews, held: Sequence[Reviews | None]) -> None:
    """Check that no answer is to a text that measures the student.

    Args:
        teachers: that answered.
        test: the rows to measure on.
        held: rows held out of the training file.

    Raises:
        UsageError: there is such an answer.
    """
    for teacher in teachers:
        header = teacher.header
        if asked := int(teacher.has(digests(test.texts)).sum()):
            raise UsageError(
                f"the answers of {header.teacher} include {asked} of the {len(test)} texts of {test.path.name}, which "
                f"measures the student: ask again with --test {test.path.name}"
            )
        if asked := sum(int(teacher.has(digests(part.texts)).sum()) for part in held if part):
            drawn = header.held_out
            how = (
                f"with --seed {drawn.seed} --calibration-share {drawn.calibration_share:g} --validation-share "
                f"{drawn.validation_share:g}"
                if drawn
                else "without the training file"
            )
            raise UsageError(
                f"the answers of {header.teacher} include {asked} rows that are held out here; it was asked {how}: "
                "give distil the same options and files, or ask again with those of distil"
            )


def answers_to(
    teachers: Sequence[AbsentTeacher], rows: Reviews, unlabeled: Sequence[str], sources: Sources, say: Say
) -> FromFiles:
    """The answers of `teachers` to the texts that a student learns from: those of `rows`, then the `unlabeled`.

    Args:
        teachers: that answered.
        rows: labelled; the order of their labels is that of the logits.
        unlabeled: texts.
        sources: how many texts may be unanswered, and what becomes of them.
        say: receives how many are.

    Raises:
        UsageError: there are more.
    """
    wanted = digests((*rows.texts, *unlabeled))
    missing = np.zeros(len(wanted), dtype=np.bool_)
    for teacher in teachers:
        without = ~teacher.has(wanted)
        if without.any():
            say(f"{without.sum()} of {len(wanted)} texts have no answer of {teacher.header.teacher}")
        missing |= without
    share = float(missing.mean())
    if share > sources.max_unanswered and not sources.label_unanswered:
        raise UsageError(
            f"{missing.sum()} of {len(wanted)} texts to train on ({share:.1%}) have no answer, more than "
            f"{sources.max_unanswered:.1%}: ask the teacher for them with review-training answer, raise "
            "--max-unanswered, or learn their labels alone with --label-unanswered"
        )
    by_label = missing & (np.arange(len(wanted)) < len(rows)) & sources.label_unanswered
    if missing.any():
        say(f"{by_label.sum()} of them teach their label alone, {(missing & ~by_label).sum()} are left out")
    logits = [teacher.answers(wanted, rows.label_names) for teacher in teachers]
    return FromFiles(logits, missing, by_label)


def _files(path: Path) -> list[Path]:
    if not path.exists():
        raise UsageError(
            f"--answers {path} does not exist: name files or directories that review-training answer wrote"
        )
    found = sorted(path.glob(SHARDS)) if path.is_dir() else [path]
    if not found:
        raise UsageError(f"--answers {path} has no files named {SHARDS}: name what review-training answer wrote")
    return found
