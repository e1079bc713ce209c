"""`review-training fit`: fine-tune an encoder, measure it, write a bundle."""

import argparse
from typing import TYPE_CHECKING

from consumer.flags import add_settings
from training.commands.options import add_base, add_data_options, add_run_options, read_settings
from training.commands.runs import job_of, show
from training.settings import FitSettings, PackageSettings

if TYPE_CHECKING:
    from consumer.model.manifest import Manifest
    from training.measure.evaluate import Evaluation


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Files, base and checkpoints; then one option for each setting."""
    add_run_options(parser, needs_test=False)
    add_base(parser)
    add_data_options(parser)
    add_settings(parser, FitSettings)
    add_settings(parser, PackageSettings)


def run(arguments: argparse.Namespace) -> None:
    """Fit, and print how good the result is."""
    from training.encoders.parallel import only_the_first_talks

    with only_the_first_talks():
        show(arguments, make(arguments))


def make(arguments: argparse.Namespace) -> "tuple[Manifest, Evaluation] | None":
    """Fit as the arguments say; see `training.fine_tuning.fit`."""
    settings, packaging = read_settings(FitSettings, arguments), read_settings(PackageSettings, arguments)
    from training.fine_tuning import fit

    return fit(arguments.train, arguments.test, arguments.base, settings, job_of(arguments, packaging))
