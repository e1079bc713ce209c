"""`review-training fit`: files in, bundle out; and how rows are held out, for `distil` too."""

from dataclasses import replace
from pathlib import Path

from training.data.holdout import held_out_rows
from training.data.leaks import find_leaks
from training.data.one_file import prepare_either
from training.data.prepare import Prepared, check_left, check_unseen
from training.data.reviews import Reviews
from training.encoders.base import Base, find_base, load_classifier, local_directory, quiet_transformers
from training.encoders.device import best_device
from training.encoders.parallel import joined, the_only_run
from training.io.progress import say
from training.loop.few_steps import few_steps
from training.loop.run import Lesson, begin, train
from training.loop.tensorboard import watching
from training.measure.calibrate import hold_out
from training.plan import Job, Made, Plan, Split, conclude
from training.settings import FitSettings


def fit(train_file: Path, test_file: Path | None, base_name: str, settings: FitSettings, job: Job) -> Made | None:
    """Fine-tune `base_name` on `train_file` and write a bundle, measured on `test_file`.

    Args:
        train_file: labelled reviews, see `training.data.reviews.read_reviews`.
        test_file: labelled reviews that only measure; None: a share of `train_file` is held out to do so.
        base_name: directory or hub name of a pretrained encoder.
        settings: what determines the weights.
        job: where the bundle and the state of the run go, and how files are read.

    Returns:
        What was made; None in the processes of torchrun after the first.

    Raises:
        UsageError: files, base or directories cannot be used, one of them is inside the bundle, or another run uses
            the directory of the checkpoints.
        GaveUp: the state of the run cannot be written any more.
        training.loop.run.Interrupted: SIGINT came, or SIGTERM while training; the work so far has been saved.
    """
    quiet_transformers()
    job.check([], [("--train", train_file), ("--test", test_file), ("--base", local_directory(base_name))])
    prepared = prepare_either(train_file, test_file, settings.seed, job.data_options, say)
    return fit_prepared(prepared, find_base(base_name), settings, job)


def fit_prepared(prepared: Prepared, base: Base, settings: FitSettings, job: Job) -> Made | None:
    """As `fit`, on rows that have been read and checked."""
    return carry_out(planned(prepared, base, settings, job))


def planned(prepared: Prepared, base: Base, settings: FitSettings, job: Job) -> Plan:
    """The plan of a run on rows that have been read and checked, its model loaded.

    Raises:
        UsageError: the base was trained on what measures, or cannot be used with these rows and settings.
    """
    inherited = check_unseen([base.directory], prepared, say)
    rows = split(prepared, settings, job.data_options.near)
    say(f"base {base.name}, seed {settings.seed}")
    if warning := few_steps(len(rows.data.train), settings):
        say(warning)
    model = load_classifier(base, rows.data.train.label_names, settings.seed)
    return Plan.checked(model, base, rows, settings, job, inherited=inherited)


def carry_out(plan: Plan) -> Made | None:
    """Train what is planned, or resume it, and write its bundle; see `fit`."""
    rows, settings, job = plan.rows, plan.settings, plan.job
    with the_only_run("--checkpoints", job.directory):
        with joined(best_device()) as ranks:
            start = begin(settings, plan.saving, ranks)
            lesson = Lesson(plan.encoded(rows.data.train), plan.encoded(rows.validation))
            with watching(job.report_to, job.directory, start, ranks) as watch:
                state = train(
                    plan.model.to(ranks.device), lesson, settings, plan.saving, start=start, ranks=ranks, watch=watch
                )
        return conclude(plan, state, ranks)


def split(data: Prepared, settings: FitSettings, near: float) -> Split:
    """Hold rows out of the training rows of `data`: some to calibrate on, and some to validate on.

    Training rows whose similarity to one of these is at least `near` are left out too.
    """
    train_rows, calibration = hold_out(data.train, settings.calibration_share, settings.seed)
    drawn = held_out_rows(train_rows.labels, settings.held_out, settings.seed, "validation")
    if drawn:
        purpose = "to monitor the training" if settings.select == "none" else "to choose the epoch"
        say(f"{len(drawn)} of the training rows are held out {purpose} and never trained on")
    others = sorted(set(range(len(train_rows))) - set(drawn))
    left, validation = train_rows.only(others), train_rows.only(drawn)
    for held in (calibration, validation):
        if held:
            left = _unlike(left, held, near)
    return Split(replace(data, train=left), calibration, validation)


def _unlike(train_rows: Reviews, held: Reviews, near: float) -> Reviews:
    """`train_rows` without near duplicates of the `held` out rows, which the model would memorise."""
    known = find_leaks(train_rows, held, near).train_rows
    if not known:
        return train_rows
    say(f"{len(known)} more are left out: near duplicates of rows that are held out")
    left = train_rows.only(row for row in range(len(train_rows)) if row not in known)
    check_left(left, "near duplicates of rows that are held out")
    return left
