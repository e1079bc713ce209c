"""`review-training fit`: fine-tune an encoder, measure it, write a bundle."""

import argparse
from typing import TYPE_CHECKING

from consumer.errors import UsageError
from consumer.flags import add_settings
from training.commands.options import add_base, add_data_options, add_run_options, amount, read_settings
from training.commands.runs import job_of, show, tell_leftovers
from training.settings import FitSettings, PackageSettings

if TYPE_CHECKING:
    from training.cross_validation.run import Outcome
    from training.plan import Made


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Files, base and checkpoints; then one option for each setting."""
    add_run_options(parser, needs_test=False)
    parser.add_argument(
        "--folds",
        type=amount,
        metavar="K",
        help="cross-validate first: train K models, each on K-1 parts of --train, and measure each on the part it has "
        "not seen; then train the final model on all rows, so K+1 trainings. --test then measures the final model; "
        "without it the out-of-fold answers do, and no share is held out. The figures and the answer to each row go "
        "to OUT.folds",
    )
    parser.add_argument(
        "--folds-only",
        action="store_true",
        help="end with the figures of --folds, without a bundle; --test then only takes its texts out of the folds",
    )
    add_base(parser)
    add_data_options(parser)
    add_settings(parser, FitSettings)
    add_settings(parser, PackageSettings)


def run(arguments: argparse.Namespace) -> None:
    """Fit, and print how good the result is."""
    from training.encoders.parallel import only_the_first_talks

    with only_the_first_talks():
        if arguments.folds is None:
            show(arguments, make(arguments))
            return
        from training.cross_validation.results import table

        outcome = make_in_folds(arguments)
        print(table(outcome.record))  # noqa: T201
        if outcome.made:
            print()  # noqa: T201
            show(arguments, outcome.made)
        else:
            tell_leftovers(arguments)


def make(arguments: argparse.Namespace) -> "Made | None":
    """Fit as the arguments say, without folds; see `training.fine_tuning.fit`."""
    settings, packaging = read_settings(FitSettings, arguments), read_settings(PackageSettings, arguments)
    if arguments.folds_only:
        raise UsageError("--folds-only needs --folds, the number of them")
    from training.fine_tuning import fit

    return fit(arguments.train, arguments.test, arguments.base, settings, job_of(arguments, packaging))


def make_in_folds(arguments: argparse.Namespace) -> "Outcome":
    """Cross-validate and fit as the arguments say; see `training.cross_validation.run.fit_in_folds`."""
    settings, packaging = read_settings(FitSettings, arguments), read_settings(PackageSettings, arguments)
    from training.cross_validation.run import Folds, fit_in_folds

    return fit_in_folds(
        arguments.train,
        arguments.test,
        arguments.base,
        settings,
        job_of(arguments, packaging),
        folds=Folds(arguments.folds, arguments.folds_only),
    )
