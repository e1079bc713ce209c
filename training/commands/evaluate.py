"""`review-training evaluate`: measure a bundle on a file of labelled reviews."""

import argparse
import json
from pathlib import Path

from training.options import DATA_HELP, add_data_options, count, read_data_options


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which bundle, on what, and how to tell."""
    parser.add_argument("--bundle", type=Path, required=True, metavar="DIR", help="the bundle to measure")
    parser.add_argument("--data", type=Path, required=True, metavar="FILE", help=DATA_HELP)
    parser.add_argument(
        "--train", type=Path, metavar="FILE", help="what the bundle was trained on: check --data for leaks"
    )
    parser.add_argument("--variant", metavar="NAME", help="precision variant (default: the one that is served)")
    parser.add_argument("--limit", type=count, metavar="N", help="measure on the first N rows")
    add_data_options(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of text")


def run(arguments: argparse.Namespace) -> None:
    """Measure and print."""
    from training.evaluate import as_text, evaluate_file

    evaluation = evaluate_file(
        arguments.bundle,
        arguments.data,
        arguments.variant,
        arguments.limit,
        train_file=arguments.train,
        data_options=read_data_options(arguments),
    )
    print(json.dumps(evaluation.as_json()) if arguments.json else as_text(evaluation))  # noqa: T201
