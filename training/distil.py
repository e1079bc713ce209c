"""`review-training distil`: teachers, labelled files and texts without labels in, the bundle of a small student out."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from consumer.errors import UsageError
from training.data.prepare import LearntFrom, Prepared, check_unseen, prepare
from training.data.reviews import Reviews
from training.data.unlabeled import read_unlabeled, unlike_held_out
from training.encoders.attention import attention_shown, check_attention
from training.encoders.base import local_directory, quiet_transformers
from training.encoders.device import best_device
from training.encoders.objective import UNLABELED
from training.encoders.parallel import Ranks, joined, the_only_run
from training.encoders.student import make_student, student_shape
from training.encoders.vocabulary import read_alike
from training.fine_tuning import split
from training.io.progress import say
from training.loop.run import Lesson, begin, train, within_memory
from training.loop.state import RunState
from training.loop.step import TrainingRows, label_weights
from training.loop.tensorboard import watching
from training.packaging.record import BaseRecord
from training.plan import Job, Made, Plan, conclude
from training.settings import DistilSettings
from training.teachers.answered import FromFiles, answers_to, check_none_measures, read_answers
from training.teachers.asking import ask_all, mean_answers
from training.teachers.distillation import Distillation, Taught, add_map, drop_map
from training.teachers.find import find_teacher
from training.teachers.linear import NBSVM, nbsvm_digest, nbsvm_logits
from training.teachers.sources import Sources, check_tokenizers, student_base
from training.teachers.teacher import Answers, Teacher


class Class(NamedTuple):
    """A student and its teachers, all checked; `texts` are those of `files` to train on, labelled ones first.

    `answered` are the answers of teachers that are not here. `whole_tokenizer` is that of the base, from which the
    vocabulary of the student was reduced.
    """

    plan: Plan
    teachers: list[Teacher]
    answered: FromFiles
    files: list[Reviews]
    texts: tuple[str, ...]
    whole_tokenizer: str


def distil(train_file: Path, test_file: Path, sources: Sources, settings: DistilSettings, job: Job) -> Made | None:
    """Train a student on the answers of teachers to the training texts, and write its bundle.

    Args:
        train_file: labelled reviews, see `training.data.reviews.read_reviews`.
        test_file: labelled reviews that only measure.
        sources: teachers, base, and texts without labels.
        settings: what determines the student and its weights.
        job: where the bundle and the state of the run go, and how files are read.

    Returns:
        What was made; None in the processes of torchrun after the first.

    Raises:
        UsageError: files, teachers, base, student or directories cannot be used, one is inside the bundle, or another
            run uses the directory of the checkpoints.
        BundleError: a teacher is damaged.
        GaveUp: answers of a teacher or the state of the run cannot be written any more.
        training.loop.run.Interrupted: SIGINT came, or SIGTERM while training; the work so far has been saved.
    """
    quiet_transformers()
    # 1. Check everything that the user can have got wrong: asking the teachers may take a night.
    found = _check(train_file, test_file, sources, settings, job)
    with the_only_run("--checkpoints", job.directory):
        with joined(best_device()) as ranks:
            start = begin(settings, found.plan.saving, ranks)
            # 2. Gather the answers of all teachers.
            answers = _gather(found, sources, start, ranks)
            # 3. Teach them to the student.
            state = _teach(found, answers, settings, start, ranks)
        return conclude(found.plan, state, ranks)


def _check(train_file: Path, test_file: Path, sources: Sources, settings: DistilSettings, job: Job) -> Class:
    """Find and check files, teachers and base, and make the untrained student.

    Raises:
        UsageError: as `distil`.
        BundleError: a teacher is damaged.
    """
    models = sources.models
    read = [("--train", train_file), ("--test", test_file), ("--unlabeled", sources.unlabeled_file)]
    read += [("--base", local_directory(sources.base_name)), *(("--teacher", path) for path in models)]
    read += [("--answers", path) for path in sources.answers]
    job.check([("--teacher-cache", sources.cache_of(job.out))], read)
    sources.check(settings)
    base = student_base(sources)
    shape = student_shape(settings, base)
    prepared = prepare(train_file, test_file, job.data_options, say)
    labels = prepared.train.label_names
    absent = read_answers(sources.answers, labels, say)
    told = [LearntFrom(teacher.header.teacher, teacher.header.trained_on) for teacher in absent]
    inherited = check_unseen([base.directory, *models], prepared, say, told)
    teachers = [
        find_teacher(
            path,
            labels,
            settings,
            hidden=settings.hidden_weight > 0 and place == 0,
            attention=settings.attention_weight > 0 and place == 0,
        )
        for place, path in enumerate(models)
    ]
    if settings.attention_weight:
        check_tokenizers(models[0], base)
    unlabeled = _read_unlabeled(sources, prepared, job)
    rows = split(prepared, settings, job.data_options.near)
    if unlabeled:
        unlabeled = unlike_held_out(unlabeled, (rows.calibration, rows.validation), job.data_options.near, say)
    texts = rows.data.train.texts + (unlabeled.texts if unlabeled else ())
    check_none_measures(absent, prepared.test, (rows.calibration, rows.validation))
    answered = answers_to(absent, rows.data.train, unlabeled.texts if unlabeled else (), sources, say)
    model, own_base = make_student(base, shape, labels=labels, texts=texts, settings=settings)
    records = [BaseRecord(name=teacher.name, sha256=teacher.digest) for teacher in teachers]
    records += [teacher.record for teacher in absent]
    records += [BaseRecord(name=NBSVM, sha256=nbsvm_digest(prepared.train.sha256))] if sources.nbsvm else []
    plan = Plan.checked(
        model,
        own_base,
        rows,
        settings,
        job,
        inherited=inherited,
        teachers=tuple(records),
        unlabeled=unlabeled,
        answers_sha256=answered.sha256,
    )
    if settings.attention_weight:
        check_attention(model, base.name)
    size = sum(parameter.numel() for parameter in model.parameters())
    say(f"student of {base.name}: {shape.layers} layers x {shape.width}, {size / 1e6:.1f} M parameters")
    files = [prepared.train, *([unlabeled] if unlabeled else [])]
    return Class(plan, teachers, answered, files, texts, base.tokenizer_json)


def _gather(found: Class, sources: Sources, start: RunState, ranks: Ranks) -> Answers:
    """The mean answers of all teachers to `found.texts`; NaN if one of them has no answer.

    Raises:
        UsageError: nbsvm has too few rows to train on, or the GPU ran out of memory.
        GaveUp: an answer cannot be kept.
        training.loop.run.Interrupted: SIGINT came; the answers so far are kept.
    """
    plan, settings = found.plan, found.plan.settings
    labelled = plan.rows.data.train
    # nbsvm first, since it may refuse: better before the night than after it.
    linear = [nbsvm_logits(labelled, found.texts[len(labelled) :], settings.seed)] if sources.nbsvm else []
    teachers = [teacher.of_run(start.settled) for teacher in found.teachers]
    with within_memory(settings, ranks):
        labels, cache = labelled.label_names, sources.cache_of(plan.job.out)
        asked = ask_all(teachers, found.files, found.texts, cache, ranks, labels=labels)
    answers = mean_answers([*linear, *found.answered.logits], asked)
    if answers.attention is not None:
        alike = read_alike(found.texts, found.whole_tokenizer, plan.base.tokenizer_json, settings.reading)
        if not alike.all():
            say(f"{(~alike).sum()} texts teach no attention: the student's vocabulary lacks some of their tokens")
        answers.attention[~alike] = 0
    return answers


def _teach(found: Class, answers: Answers, settings: DistilSettings, start: RunState, ranks: Ranks) -> RunState:
    """Train the student on `answers`; raises as `training.loop.run.train`."""
    plan = found.plan
    rows, taught = _lesson(plan, answers, found.answered)
    torch.manual_seed(settings.seed)
    mapped = add_map(plan.model, taught.hidden.shape[1] if taught.hidden is not None else None)
    plan.model.to(ranks.device)
    objective = Distillation(taught, settings, label_weights(plan.model, rows, settings), mapped)
    lesson = Lesson(rows, plan.encoded(plan.rows.validation), objective)
    watched = watching(plan.job.report_to, plan.job.directory, start, ranks)
    with attention_shown(plan.model, objective.attention), watched as watch:
        state = train(plan.model, lesson, settings, plan.saving, start=start, ranks=ranks, watch=watch)
    drop_map(plan.model)
    return state


def _lesson(plan: Plan, answers: Answers, from_files: FromFiles) -> tuple[TrainingRows, Taught]:
    """The rows to train on, labelled ones first, and the answers to them.

    Rows that a teacher failed on are left out. Of those that lack an answer in `from_files`, only some are learned.
    """
    encoded = plan.encoded(plan.rows.data.train)
    reviews, labels = list(encoded.reviews), list(encoded.labels)
    if plan.unlabeled:
        reviews += plan.encoder.encode(plan.unlabeled.texts)
        labels += [UNLABELED] * len(plan.unlabeled)
    finite = np.isfinite(answers.logits).all(axis=1)
    if not finite.any():
        raise UsageError(
            "a teacher failed on every text: try it with review-training predict, or choose another --teacher"
        )
    if failed := int((~finite & ~from_files.missing).sum()):
        say(f"{failed} texts are left out: a teacher failed on them")
    good = np.flatnonzero(finite | from_files.by_label)
    rows = TrainingRows([reviews[row] for row in good], [labels[row] for row in good], encoded.pad_id)
    hidden = None if answers.hidden is None else torch.from_numpy(answers.hidden[good])
    attention = None if answers.attention is None else torch.from_numpy(answers.attention[good])
    return rows, Taught(torch.from_numpy(answers.logits[good]), hidden, attention)


def _read_unlabeled(sources: Sources, prepared: Prepared, job: Job) -> Reviews | None:
    if not sources.unlabeled_file:
        return None
    return read_unlabeled(sources.unlabeled_file, sources.unlabeled_column, prepared, job.data_options, say)
