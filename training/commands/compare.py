"""`review-training compare`: small models, BERT, DistilBERT and bundles on the same data."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from consumer.flags import add_settings
from consumer.tables.options import count
from training.baselines.settings import BaselineSettings
from training.commands.options import (
    DATA_HELP,
    add_data_options,
    add_optional_test,
    read_data_options,
    read_settings,
)
from training.settings import FitSettings

if TYPE_CHECKING:
    from training.comparison.results import Comparison


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Files and models; then one option for each setting: of the small models, and of bert and distilbert."""
    parser.add_argument("--train", type=Path, required=True, metavar="FILE", help=DATA_HELP)
    add_optional_test(parser)
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="results and models; results already there are kept"
    )
    for name in ("bert", "distilbert"):
        parser.add_argument(
            f"--base-{name}",
            metavar="DIR_OR_NAME",
            help=f"pretrained encoder for {name}: a directory, or a name on the Hugging Face hub; without it {name} is "
            "left out",
        )
    parser.add_argument(
        "--bundle",
        type=Path,
        action="append",
        default=[],
        metavar="DIR",
        help="measure this bundle too; repeatable",
    )
    parser.add_argument("--vectors", type=Path, metavar="FILE", help="pretrained word vectors for bigru, text format")
    parser.add_argument("--limit", type=count, metavar="N", help="draw N rows of each file (default: all)")
    add_data_options(parser)
    add_settings(parser, BaselineSettings)
    add_settings(parser, FitSettings)


def run(arguments: argparse.Namespace) -> None:
    """Compare and print the table."""
    from training.comparison.report import PICTURE, TABLE, claims, table
    from training.io.progress import say

    comparison = make(arguments)
    print(table(comparison))  # noqa: T201
    if comparison.distilbert_against_bert:
        print("\n" + claims(comparison, comparison.distilbert_against_bert))  # noqa: T201
    say(f"{arguments.out}: {TABLE}, {PICTURE}, compare.json")


def make(arguments: argparse.Namespace) -> "Comparison":
    """Compare as the arguments say; see `training.comparison.compare.compare`."""
    settings, encoders = read_settings(BaselineSettings, arguments), read_settings(FitSettings, arguments)
    from training.comparison.compare import compare

    return compare(
        train_file=arguments.train,
        test_file=arguments.test,
        out=arguments.out,
        settings=settings,
        encoder_settings=encoders,
        bases={"bert": arguments.base_bert, "distilbert": arguments.base_distilbert},
        bundles=arguments.bundle,
        vectors=arguments.vectors,
        limit=arguments.limit,
        options=read_data_options(arguments),
    )
