"""`review-training distil`: teachers, labelled files and texts without labels in, the bundle of a small student out."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from consumer.errors import UsageError
from consumer.model.engines.base import Logits
from consumer.model.manifest import TOKENIZER, Manifest
from training.data.prepare import DEFAULTS, DataOptions, check_unseen, prepare
from training.data.reviews import Reviews
from training.data.unlabeled import read_unlabeled, unlike_held_out
from training.encoders.base import Base, check_length, find_base, local_directory, quiet_transformers
from training.encoders.device import best_device
from training.encoders.freezing import freeze
from training.encoders.objective import UNLABELED
from training.encoders.parallel import Ranks, joined, the_only_run
from training.encoders.student import make_student, student_shape
from training.encoders.vocabulary import cut_alike, read_alike
from training.fit import split
from training.io.output import check_directory
from training.io.progress import say
from training.loop.run import Interrupted, find_start, within_memory
from training.loop.step import TrainingRows, attention_shown, check_attention, label_weights
from training.measure.evaluate import Evaluation
from training.packaging.record import BaseRecord
from training.packaging.sealing import check_name, check_outside, check_replaceable
from training.plan import Plan, conclude, train
from training.settings import DistilSettings, PackageSettings
from training.teachers.cache import answers_of, joined_answers
from training.teachers.distillation import Distillation, Taught, add_map, drop_map
from training.teachers.linear import NBSVM, nbsvm_logits
from training.teachers.teacher import Answers, Teacher, check_exists, find_teacher


def distil(
    *,
    train_file: Path,
    test_file: Path,
    teachers: Sequence[Path],
    out: Path,
    settings: DistilSettings,
    packaging: PackageSettings,
    base_name: str | None = None,
    unlabeled_file: Path | None = None,
    unlabeled_column: str | None = None,
    teacher_cache: Path | None = None,
    checkpoints: Path | None = None,
    checkpoint_minutes: float = 5.0,
    data_options: DataOptions = DEFAULTS,
) -> tuple[Manifest, Evaluation] | None:
    """Train a student on what `teachers` answer to the training texts, and write the bundle `out`.

    Args:
        train_file: labelled reviews, see `training.data.reviews.read_reviews`.
        test_file: labelled reviews that only measure.
        teachers: bundles, checkpoint directories, or `nbsvm`, which is learnt here; their logits are averaged, hidden
            states and attention are those of the first that is a directory.
        out: directory of the bundle; an older bundle there is replaced.
        settings: what determines the student and its weights.
        packaging: what determines the bundle.
        base_name: what the student is made of, a directory or hub name; default: the first teacher that is a directory.
        unlabeled_file: texts to learn from without labels, see `training.data.texts.read_texts`.
        unlabeled_column: where they are in it; default: a usual name.
        teacher_cache: directory where answers of teachers are kept, for any number of runs; default: beside `out`,
            with `.teachers` added.
        checkpoints: directory where the run keeps its state; default: beside `out`, with `.run` added.
        checkpoint_minutes: time between two checkpoints.
        data_options: how the files are read and compared.

    Returns:
        The manifest of the bundle, and the evaluation of the served variant on the whole test file; None in the
        processes beside the first, where torchrun started several.

    Raises:
        UsageError: files, teachers, base, student or one of the directories cannot be used, one is in `out`, or
            another run is in `checkpoints`.
        BundleError: a teacher is damaged.
        GaveUp: answers of a teacher or the state of the run cannot be written any more.
        training.loop.run.Interrupted: SIGINT came, or SIGTERM while training; what was done has been written.
    """
    quiet_transformers()
    check_replaceable(out)
    check_name(packaging.name, out)
    directory = checkpoints or out.with_name(f"{out.name}.run")
    # Not in there: who throws a run away may want to keep what the teachers said.
    cache = teacher_cache or out.with_name(f"{out.name}.teachers")
    check_directory("--checkpoints", directory)
    check_directory("--teacher-cache", cache)
    models = [path for path in teachers if str(path) != NBSVM]
    read = [("--train", train_file), ("--test", test_file), ("--unlabeled", unlabeled_file)]
    read += [("--base", local_directory(base_name)), *(("--teacher", path) for path in models)]
    check_outside("--out", out, [("--checkpoints", directory), ("--teacher-cache", cache), *read])
    # What a user can have got wrong is looked at before the teachers are asked, which may take a night.
    if settings.hidden_weight and not models:
        raise UsageError(f"{NBSVM} has no hidden states: name another --teacher too, or leave out --hidden-weight")
    if settings.attention_weight and not models:
        raise UsageError(f"{NBSVM} has no attention: name another --teacher too, or leave out --attention-weight")
    base = find_base(base_name) if base_name else _base_of(models)
    shape = student_shape(settings, base)
    prepared = prepare(train_file, test_file, data_options, say)
    inherited = check_unseen([base.directory, *models], prepared, say)
    labels = prepared.train.label_names
    found = [
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
        _check_tokenizer(models[0], base)
    records = [BaseRecord(name=teacher.name, sha256=teacher.digest) for teacher in found]
    if learns_nbsvm := len(models) < len(teachers):
        records.append(BaseRecord(name=NBSVM, sha256=prepared.train.sha256))
    unlabeled = (
        read_unlabeled(unlabeled_file, unlabeled_column, prepared, data_options, say) if unlabeled_file else None
    )
    data, calibration, validation = split(prepared, settings, data_options.near)
    if unlabeled:
        unlabeled = unlike_held_out(unlabeled, (calibration, validation), data_options.near, say)
    learnt = data.train.texts + (unlabeled.texts if unlabeled else ())
    original = base.tokenizer_json
    model, base = make_student(base, shape, labels=labels, texts=learnt, settings=settings)
    check_length(model.config, settings.max_length, "--max-length")
    if settings.attention_weight:
        check_attention(model, base.name)
    freeze(model, settings.freeze)
    size = sum(parameter.numel() for parameter in model.parameters())
    say(f"student of {base.name}: {shape.layers} layers x {shape.width}, {size / 1e6:.1f} M parameters")
    plan = Plan(
        model=model,
        base=base,
        data=data,
        calibration=calibration,
        validation=validation,
        settings=settings,
        packaging=packaging,
        out=out,
        directory=directory,
        save_seconds=checkpoint_minutes * 60,
        data_options=data_options,
        inherited=inherited,
        teachers=tuple(records),
        unlabeled=unlabeled,
    )
    with the_only_run("--checkpoints", directory):
        with joined(best_device()) as ranks:
            find_start(directory, plan.identity(), settings, ranks)  # for what it raises
            files = [prepared.train, *([unlabeled] if unlabeled else [])]
            # nbsvm first: what it refuses is better heard before the night.
            linear = [nbsvm_logits(data.train, learnt[len(data.train) :], settings.seed)] if learns_nbsvm else []
            with within_memory(settings, ranks):
                answers = _together(linear, _ask(found, files, learnt, cache, ranks))
            if answers.attention is not None:
                alike = read_alike(learnt, original, base.tokenizer_json, settings.reading)
                if not alike.all():
                    say(f"{(~alike).sum()} texts teach no attention: the student's vocabulary lacks tokens of theirs")
                answers.attention[~alike] = 0
            rows, taught = _lesson(plan, answers)
            width = taught.hidden.shape[1] if taught.hidden is not None else None
            torch.manual_seed(settings.seed)
            mapped = add_map(model, width)
            model.to(ranks.device)
            objective = Distillation(taught, settings, label_weights(model, rows, settings), mapped)
            with attention_shown(model, objective.attention):
                state = train(plan, rows, ranks, objective)
        drop_map(model)
        return conclude(plan, state, ranks) if ranks.first else None


def _base_of(teachers: Sequence[Path]) -> Base:
    """The first of `teachers`, which are directories, as the base of its student."""
    if not teachers:
        raise UsageError(f"{NBSVM} has no layers that a student could start from: name an encoder with --base")
    teacher = teachers[0]
    check_exists(teacher)  # else its name would be looked for on the hub
    try:
        return find_base(str(teacher))
    except UsageError:
        raise UsageError(
            f"the teacher {teacher} has no torch weights that a student could start from: name another encoder with "
            "--base, or make the bundle with --keep torch"
        ) from None


def _check_tokenizer(teacher: Path, base: Base) -> None:
    """Raise `UsageError` where `teacher` cuts texts into other tokens than `base`."""
    if not cut_alike((teacher / TOKENIZER).read_text(encoding="utf-8"), base.tokenizer_json):
        raise UsageError(
            f"the teacher {teacher} has another tokenizer than {base.name}, so that their attention cannot be "
            "compared: leave out --attention-weight, or --base"
        )


def _ask(
    teachers: Sequence[Teacher], files: Sequence[Reviews], texts: Sequence[str], cache: Path, ranks: Ranks
) -> list[Answers]:
    """Each teacher's answers to `texts`, which are all in `files`, the columns of logits as the sorted labels.

    All texts of a file are asked for, those too that are held out with this seed and not with another.
    """
    rows = {text: row for row, text in enumerate(text for file in files for text in file.texts)}
    order = [rows[text] for text in texts]
    found: list[Answers] = []
    for teacher in teachers:
        try:
            parts = [answers_of(teacher, file.texts, file.sha256, cache, ranks) for file in files]
        except KeyboardInterrupt:
            raise Interrupted("stopped while teachers are asked; the same command goes on from there") from None
        whole = joined_answers(parts)
        ordered = {name: tensor[order] for name, tensor in vars(whole).items() if tensor is not None}
        ordered["logits"] = ordered["logits"][:, np.argsort(teacher.labels)]
        found.append(Answers(**ordered))
    return found


def _together(linear: Sequence[Logits], asked: Sequence[Answers]) -> Answers:
    """The mean of all logits, each of which is known up to a constant, with what else the first of `asked` gave."""
    logits = [*linear, *(answers.logits for answers in asked)]
    mean = np.asarray(np.mean([one - one.mean(axis=1, keepdims=True) for one in logits], axis=0))
    return replace(asked[0], logits=mean) if asked else Answers(mean)


def _lesson(plan: Plan, answers: Answers) -> tuple[TrainingRows, Taught]:
    """The rows to learn from, labelled ones first, without those that a teacher failed on, and the answers to them."""
    encoded = plan.encoded(plan.data.train)
    reviews, labels = list(encoded.reviews), list(encoded.labels)
    if plan.unlabeled:
        reviews += plan.encoder.encode(plan.unlabeled.texts)
        labels += [UNLABELED] * len(plan.unlabeled)
    good = np.flatnonzero(np.isfinite(answers.logits).all(axis=1))
    if not len(good):
        raise UsageError(
            "a teacher failed on every text: ask it for some with review-training predict, or name another"
        )
    if failed := len(reviews) - len(good):
        say(f"{failed} texts are left out: a teacher failed on them")
    rows = TrainingRows([reviews[row] for row in good], [labels[row] for row in good], encoded.pad_id)
    hidden = None if answers.hidden is None else torch.from_numpy(answers.hidden[good])
    attention = None if answers.attention is None else torch.from_numpy(answers.attention[good])
    return rows, Taught(torch.from_numpy(answers.logits[good]), hidden, attention)
