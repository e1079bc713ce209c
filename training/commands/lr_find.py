"""`review-training lr-find`: find the highest learning rate that works."""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from consumer.flags import add_settings
from training.commands.options import DATA_HELP, add_base, add_table_options, read_data_options, read_settings
from training.settings import RateTestSettings

if TYPE_CHECKING:
    from training.loop.lr_find import RateTest


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """File, base and plot; then one option for each setting."""
    parser.add_argument("--train", type=Path, required=True, metavar="FILE", help=DATA_HELP)
    add_base(parser)
    parser.add_argument(
        "--out", type=Path, default=Path("lr-find.png"), metavar="FILE", help="the plot (default: %(default)s)"
    )
    add_table_options(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    add_settings(parser, RateTestSettings)


def run(arguments: argparse.Namespace) -> None:
    """Test, plot and print."""
    read_settings(RateTestSettings, arguments)  # what is wrong with them is said first
    from training.encoders.base import local_directory
    from training.io.output import check_not_read
    from training.io.progress import say
    from training.loop.lr_plot import check_plot, plot_rate_test

    check_plot(arguments.out)
    check_not_read("--out", arguments.out, [("--train", arguments.train), ("--base", local_directory(arguments.base))])
    test = make(arguments)
    try:  # the plot first: the reader of stdout may be gone
        plot_rate_test(test, arguments.out)
        say(f"plot: {arguments.out}")
    finally:
        print(json.dumps(test.as_json()) if arguments.json else test.as_text())  # noqa: T201


def make(arguments: argparse.Namespace) -> "RateTest":
    """Test as the arguments say; see `training.loop.lr_find.find_rate`."""
    settings = read_settings(RateTestSettings, arguments)
    from training.loop.lr_find import find_rate

    return find_rate(arguments.train, arguments.base, settings, read_data_options(arguments))
