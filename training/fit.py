"""`review-training fit`: files in, bundle out; and how rows are held out, for `distil` too."""

from dataclasses import replace
from pathlib import Path

from consumer.model.manifest import Manifest
from training.data.holdout import held_out_rows
from training.data.leaks import find_leaks
from training.data.prepare import DEFAULTS, DataOptions, Prepared, check_left, check_unseen, prepare
from training.data.reviews import Reviews
from training.encoders.base import Base, check_length, find_base, load_classifier, local_directory, quiet_transformers
from training.encoders.device import best_device
from training.encoders.freezing import freeze
from training.encoders.parallel import joined, the_only_run
from training.io.output import check_directory
from training.io.progress import say
from training.measure.calibrate import hold_out
from training.measure.evaluate import Evaluation
from training.packaging.sealing import check_name, check_outside, check_replaceable
from training.plan import Plan, conclude, train
from training.settings import FitSettings, PackageSettings


def fit(
    *,
    train_file: Path,
    test_file: Path,
    base_name: str,
    out: Path,
    settings: FitSettings,
    packaging: PackageSettings,
    checkpoints: Path | None = None,
    checkpoint_minutes: float = 5.0,
    data_options: DataOptions = DEFAULTS,
) -> tuple[Manifest, Evaluation] | None:
    """Fine-tune `base_name` on `train_file` and write the bundle `out`, measured on `test_file`.

    Args:
        train_file: labelled reviews, see `training.data.reviews.read_reviews`.
        test_file: labelled reviews that only measure.
        base_name: directory or hub name of a pretrained encoder.
        out: directory of the bundle; an older bundle there is replaced.
        settings: what determines the weights.
        packaging: what determines the bundle.
        checkpoints: directory where the run keeps its state; default: beside `out`, with `.run` added.
        checkpoint_minutes: time between two checkpoints.
        data_options: how the files are read and compared.

    Returns:
        The manifest of the bundle, and the evaluation of the served variant on the whole test file; None in the
        processes beside the first, where torchrun started several.

    Raises:
        UsageError: files, base, `out` or `checkpoints` cannot be used, one of them is in `out`, or another run is in
            `checkpoints`.
        GaveUp: the state of the run cannot be written any more.
        training.loop.run.Interrupted: SIGINT came, or SIGTERM while training; what was done has been written.
    """
    quiet_transformers()
    check_replaceable(out)
    check_name(packaging.name, out)
    directory = checkpoints or out.with_name(f"{out.name}.run")
    check_directory("--checkpoints", directory)
    check_outside(
        "--out",
        out,
        [
            ("--checkpoints", directory),
            ("--train", train_file),
            ("--test", test_file),
            ("--base", local_directory(base_name)),
        ],
    )
    prepared = prepare(train_file, test_file, data_options, say)
    return fit_prepared(
        prepared,
        base=find_base(base_name),
        out=out,
        settings=settings,
        packaging=packaging,
        directory=directory,
        checkpoint_minutes=checkpoint_minutes,
        data_options=data_options,
    )


def fit_prepared(
    prepared: Prepared,
    *,
    base: Base,
    out: Path,
    settings: FitSettings,
    packaging: PackageSettings,
    directory: Path,
    checkpoint_minutes: float = 5.0,
    data_options: DataOptions,
) -> tuple[Manifest, Evaluation] | None:
    """As `fit`, on rows that are read and checked; `directory` is that of the checkpoints."""
    inherited = check_unseen([base.directory], prepared, say)
    data, calibration, validation = split(prepared, settings, data_options.near)
    say(f"base {base.name}, seed {settings.seed}")
    model = load_classifier(base, data.train.label_names, settings.seed)
    check_length(model.config, settings.max_length, "--max-length")
    freeze(model, settings.freeze)
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
    )
    with the_only_run("--checkpoints", directory):
        with joined(best_device()) as ranks:
            state = train(plan, plan.encoded(data.train), ranks)
        return conclude(plan, state, ranks) if ranks.first else None


def split(data: Prepared, settings: FitSettings, near: float) -> tuple[Prepared, Reviews | None, Reviews]:
    """`data` without the rows that are held out: those to calibrate on, None if too few, and those to validate on.

    Training rows whose similarity to one of these is at least `near` are left out, too.
    """
    train_rows, calibration = hold_out(data.train, settings.calibration_share, settings.seed)
    drawn = held_out_rows(train_rows.labels, settings.held_out, settings.seed, "validation")
    if drawn:
        purpose = "tell how it goes" if settings.select == "none" else "choose the epoch"
        say(f"{len(drawn)} of the training rows are held out: they {purpose} and are never trained on")
    others = sorted(set(range(len(train_rows))) - set(drawn))
    train, validation = train_rows.only(others), train_rows.only(drawn)
    for held in (calibration, validation):
        if held:
            train = _unlike(train, held, near)
    return replace(data, train=train), calibration, validation


def _unlike(train: Reviews, held: Reviews, near: float) -> Reviews:
    """`train` without near duplicates of what is `held` out, which would be known by heart."""
    known = find_leaks(train, held, near).train_rows
    if not known:
        return train
    say(f"{len(known)} more are left out, which nearly repeat rows that are held out")
    left = train.only(row for row in range(len(train)) if row not in known)
    check_left(left, "near duplicates of rows that are held out")
    return left
