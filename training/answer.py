"""`review-training answer`: a teacher and files of texts in, its answers out, as data from which students learn."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from consumer.errors import UsageError
from consumer.flags import version
from consumer.model.bundle.manifest import Source
from training.data.corpus import check_no_test_file, is_labelled, read_corpus, without_repeats, without_tests
from training.data.duplicates import digests, without_duplicates
from training.data.prepare import (
    DEFAULTS,
    DataOptions,
    Prepared,
    check_not_trained_on,
    learnt_from,
    prepare_rows,
    read_and_report,
)
from training.data.reviews import Reviews
from training.data.unlabeled import unlike_held_out
from training.encoders.base import quiet_transformers
from training.encoders.device import best_device, decide_precision
from training.encoders.parallel import LOCK, Ranks, joined, the_only_run
from training.fine_tuning import split
from training.io.output import check_directory, check_not_read
from training.io.progress import say
from training.loop.run import Interrupted, within_memory
from training.loop.state import Decided
from training.measure.answering.kept_answers import texts_sha256
from training.settings import AnswerSettings
from training.teachers.answer_files import SHARDS, AnswerFiles, Header, HeldOut, read_header
from training.teachers.find import check_labels, find_teacher
from training.teachers.shards import ask_missing
from training.teachers.teacher import Teacher


@dataclass(frozen=True)
class Questions:
    """The files of a call.

    Args:
        data: files and folders of texts. Those with labels are training files of students.
        unlabeled: further ones, whose labels are not read.
        tests: labelled files that measure students.
        options: how they are read and compared.
    """

    data: Sequence[Path]
    unlabeled: Sequence[Path] = ()
    tests: Sequence[Path] = ()
    options: DataOptions = DEFAULTS


class Answered(NamedTuple):
    """What is in the files of answers: texts, those that the teacher failed on, files, and their bytes together."""

    texts: int
    failed: int
    files: int
    size: int


def answer(questions: Questions, teacher_path: Path, settings: AnswerSettings, out: Path) -> Answered | None:
    """Ask the teacher in `teacher_path`, and write its answers into the directory `out`, shard by shard.

    No row that a student would hold out gets an answer, and no text of a test file.

    Returns:
        What is in `out`; None in the processes of torchrun after the first.

    Raises:
        UsageError: a file, the teacher or `out` cannot be used, `out` has answers of another call, or another run is
            active there.
        BundleError: the teacher is damaged.
        GaveUp: answers cannot be written any more.
        training.loop.run.Interrupted: SIGINT came; the shards so far are kept.
    """
    quiet_transformers()
    read = [("--data", path) for path in (*questions.data, *questions.unlabeled)]
    read += [("--test", path) for path in questions.tests] + [("--teacher", teacher_path)]
    check_directory("--out", out)
    check_not_read("--out", out, read)
    teacher = find_teacher(teacher_path, None, settings.of_student, hidden=False)
    parts, tests = _texts(questions, teacher, settings)
    texts = [text for part in parts for text in part.texts]
    with the_only_run("--out", out), joined(best_device()) as ranks:
        try:
            teacher = teacher.of_run(_decided(teacher, settings, out, ranks))
            files = AnswerFiles(out, _header(teacher, parts, tests, settings), digests(texts))
            if there := files.count():
                say(f"{there} files of answers are there: the teacher is asked for the other texts")
            with within_memory(settings.of_student, ranks):
                shards = ask_missing(teacher, texts, files, ranks)
        except KeyboardInterrupt:
            raise Interrupted("stopped while the teacher is asked; the same command resumes there") from None
        finally:
            if ranks.first:
                (out / LOCK).unlink(missing_ok=True)  # what is left are answers alone
        if not ranks.first:
            return None
    failed = sum(int(np.isnan(shard.logits).any(axis=1).sum()) for shard in shards)
    return Answered(len(texts), failed, len(shards), files.size_in_bytes())


def _texts(questions: Questions, teacher: Teacher, settings: AnswerSettings) -> tuple[list[Reviews], list[Reviews]]:
    """The rows to ask for, one entry for each file that has some, labelled files first; and the test files."""
    options = questions.options
    tests = [read_and_report(path, say, options, learned=False) for path in questions.tests]
    trained = learnt_from(teacher.path)
    for test in tests:
        check_not_trained_on(test, *trained)
    labelled = [path for path in questions.data if is_labelled(path, options)]
    plain = [path for path in questions.data if path not in labelled]
    asked: list[Reviews] = []
    held: list[Reviews] = []
    for path in labelled:
        rows = read_and_report(path, say, options)
        check_labels(teacher, rows.label_names)
        for test in tests:
            check_no_test_file(rows, test)
        left, held_out = _without_held_out(rows, tests, settings, options)
        asked.append(left)
        held += held_out
    for path in (*plain, *questions.unlabeled):
        left = without_tests(read_corpus(path, options, say), tests, options, say)
        asked.append(unlike_held_out(left, held, options.near, say) if len(left) else left)
    # Rows that one training file holds out may be in another one.
    found = [part for part in without_repeats(asked, [rows.texts for rows in held], say) if len(part)]
    if not found:
        raise UsageError("no text is left to ask the teacher for: give other files with --data")
    for part in found:
        say(f"{part.path.name}: {len(part)} texts to answer")
    return found, tests


def _without_held_out(
    rows: Reviews, tests: Sequence[Reviews], settings: AnswerSettings, options: DataOptions
) -> tuple[Reviews, list[Reviews]]:
    """The rows that a student of `rows` learns from, whichever of the `tests` measures it; and those that it holds out.

    They are drawn from what is left beside a test file, as `distil` does.
    """
    student = settings.of_student
    prepared = [prepare_rows(rows, test, options, say) for test in tests]
    if not tests:
        prepared = [Prepared(without_duplicates(rows)[0], rows.only(()))]
    splits = [split(each, student, options.near) for each in prepared]
    learned = set(splits[0].data.train.texts).intersection(*(set(each.data.train.texts) for each in splits[1:]))
    first = splits[0].data.train
    held = [part for each in splits for part in (each.calibration, each.validation) if part]
    return first.only(row for row, text in enumerate(first.texts) if text in learned), held


def _decided(teacher: Teacher, settings: AnswerSettings, out: Path, ranks: Ranks) -> Decided:
    """What the answers that are there were computed with, or else what the first process decides."""
    for path in sorted(out.glob(SHARDS)):
        header = read_header(path)
        if header and header.teacher_sha256 == teacher.digest:
            there = header.settings
            precision = there.get("precision", "fp32") if settings.precision == "auto" else settings.precision
            return Decided(precision, there["variant"] != teacher.variant)
    wanted = "fp32" if teacher.variant else settings.precision  # a bundle computes as it serves
    precision = decide_precision(wanted, ranks.device, ranks)
    return Decided(precision, ranks.of_first(ranks.device.type == "cuda"))


def _header(teacher: Teacher, parts: Sequence[Reviews], tests: Sequence[Reviews], settings: AnswerSettings) -> Header:
    texts = [text for part in parts for text in part.texts]
    return Header(
        version=version(),
        teacher=teacher.name,
        teacher_sha256=teacher.digest,
        labels=teacher.labels,
        settings={name: value for name, value in teacher.key().items() if name not in ("teacher", "labels", "hidden")},
        temperature=teacher.scaling.temperature,
        sharpening=teacher.scaling.sharpening,
        trained_on=learnt_from(teacher.path).sources,
        data=tuple(_source(part) for part in parts),
        tests=tuple(_source(part) for part in tests),
        held_out=HeldOut(
            seed=settings.seed,
            calibration_share=settings.calibration_share,
            validation_share=settings.validation_share,
        )
        if any(part.labels[0] for part in parts)
        else None,
        texts=len(texts),
        texts_sha256=texts_sha256(texts),
        shard_rows=settings.shard_rows,
        numbers=settings.numbers,
    )


def _source(part: Reviews) -> Source:
    return Source(file=part.path.name, sha256=part.sha256, rows=len(part))
