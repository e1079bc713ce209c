"""`review-training calibrate`: a copy of a bundle whose probabilities mean what they say."""

import argparse
from pathlib import Path

from consumer.errors import UsageError
from training.commands.options import add_data_options, read_data_options


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Bundle, data, output and the accuracy wanted of sure predictions."""
    parser.add_argument("--bundle", type=Path, required=True, metavar="DIR", help="the bundle to calibrate")
    parser.add_argument(
        "--data", type=Path, required=True, metavar="FILE", help="labelled reviews that it was not trained or tested on"
    )
    parser.add_argument(
        "--train", type=Path, metavar="FILE", help="what the bundle was trained on: check --data for leaks"
    )
    add_data_options(parser)
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="the calibrated copy; a bundle that is there is replaced"
    )
    parser.add_argument(
        "--precision",
        type=float,
        default=0.98,
        metavar="SHARE",
        help="accuracy wanted among the predictions that are not marked unsure (default: %(default)s)",
    )


def run(arguments: argparse.Namespace) -> None:
    """Calibrate and print the result."""
    if not 0 < arguments.precision < 1:
        raise UsageError("--precision is a share between 0 and 1, such as 0.98")
    from training.measure.calibrate import as_line
    from training.packaging.calibrated_copy import calibrated_copy

    manifest = calibrated_copy(
        arguments.bundle,
        arguments.data,
        arguments.out,
        arguments.precision,
        train_file=arguments.train,
        options=read_data_options(arguments),
    )
    if manifest.calibration:
        print(as_line(manifest.calibration))  # noqa: T201
    print(f"{arguments.out}: {manifest.name} {manifest.version}, serves {manifest.served}")  # noqa: T201
