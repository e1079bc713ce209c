"""`review-training fit`: fine-tune an encoder, measure it, write a bundle."""

import argparse

from consumer.flags import add_settings
from training.commands.options import add_data_options, add_run_options, read_data_options, read_settings
from training.settings import FitSettings, PackageSettings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Files, base and checkpoints; then one option for each setting."""
    add_run_options(parser)
    parser.add_argument(
        "--base",
        default="distilbert-base-uncased",
        metavar="DIR_OR_NAME",
        help="pretrained encoder: a directory, or a name on the Hugging Face hub (default: %(default)s)",
    )
    add_data_options(parser)
    add_settings(parser, FitSettings)
    add_settings(parser, PackageSettings)


def run(arguments: argparse.Namespace) -> None:
    """Fit and tell what came out."""
    settings, packaging = read_settings(FitSettings, arguments), read_settings(PackageSettings, arguments)
    from training.encoders.parallel import only_the_first_talks
    from training.fit import fit
    from training.measure.evaluate import as_text

    with only_the_first_talks():
        fitted = fit(
            train_file=arguments.train,
            test_file=arguments.test,
            base_name=arguments.base,
            out=arguments.out,
            settings=settings,
            packaging=packaging,
            checkpoints=arguments.checkpoints,
            checkpoint_minutes=arguments.checkpoint_minutes,
            data_options=read_data_options(arguments),
        )
    if fitted:
        manifest, evaluation = fitted
        print(as_text(evaluation))  # noqa: T201
        print(f"{arguments.out}: {manifest.name} {manifest.version}, serves {manifest.served}")  # noqa: T201
