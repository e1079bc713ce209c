"""`review-training lr-find`: how high the learning rate may be."""

import argparse
import json
from pathlib import Path

from training.columns import Columns
from training.options import DATA_HELP, add_columns, add_settings, read_settings
from training.settings import RateTestSettings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """File, base and plot; then one option for each setting."""
    parser.add_argument("--train", type=Path, required=True, metavar="FILE", help=DATA_HELP)
    parser.add_argument(
        "--base",
        default="distilbert-base-uncased",
        metavar="DIR_OR_NAME",
        help="pretrained encoder: a directory, or a name on the Hugging Face hub (default: %(default)s)",
    )
    parser.add_argument(
        "--out", type=Path, default=Path("lr-find.png"), metavar="FILE", help="the plot (default: %(default)s)"
    )
    add_columns(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    add_settings(parser, RateTestSettings)


def run(arguments: argparse.Namespace) -> None:
    """Test, draw and print."""
    settings = read_settings(RateTestSettings, arguments)
    from training.base import local_directory
    from training.lr_find import find_rate
    from training.lr_plot import check_plot, plot_rate_test
    from training.output import check_not_read
    from training.progress import say

    check_plot(arguments.out)
    check_not_read("--out", arguments.out, [("--train", arguments.train), ("--base", local_directory(arguments.base))])
    test = find_rate(arguments.train, arguments.base, settings, Columns(arguments.text_column, arguments.label_column))
    plot_rate_test(test, arguments.out)
    say(f"plot: {arguments.out}")
    if arguments.json:
        print(json.dumps(test.as_json()))  # noqa: T201
    else:
        end = "where it diverged" if test.diverged else "the highest one tried"
        print(f"{len(test.rates)} steps, rates from {test.rates[0]:.1e} to {test.rates[-1]:.1e}, {end}")  # noqa: T201
        if test.steepest is None:
            print("no suggestion: the loss hardly fell; try a higher --highest-rate or more --steps")  # noqa: T201
        else:
            print(f"steepest descent at {test.steepest:.1e}: --learning-rate {test.steepest:.1e}")  # noqa: T201
            print(f"a tenth of the rate of the lowest loss: --learning-rate {test.tenth_of_lowest:.1e}")  # noqa: T201
