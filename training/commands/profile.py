"""`review-training profile`: what is usual for a bundle and its texts, so that the worker notices if that changes."""

import argparse
from pathlib import Path

from consumer.tables.options import count
from training.commands.options import add_table_options, read_table_options


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Bundle, texts, and how many of them."""
    parser.description = (
        "Measure what texts of its own kind and the answers of a bundle are like, and put that into the bundle as "
        "profile.json. The worker compares live reviews with it (see docs/drift.md). Weights and answers stay as they "
        "are; the digest of the bundle changes."
    )
    parser.add_argument("--bundle", type=Path, required=True, metavar="DIR", help="the bundle; a profile is replaced")
    parser.add_argument(
        "--data",
        type=Path,
        required=True,
        metavar="FILE",
        help="texts like those to come that the bundle was not trained on: a test file, or reviews of your own. They "
        "need no labels. A spreadsheet (.xlsx, .ods, ...), csv, tsv, jsonl, json, parquet, or txt with a text a line",
    )
    parser.add_argument(
        "--limit",
        type=count,
        default=10_000,
        metavar="N",
        help="measure on N texts, drawn with a fixed seed (default: %(default)s)",
    )
    parser.add_argument(
        "--members", action="store_true", help="also profile each member of a cascade, for whoever serves it alone"
    )
    parser.add_argument(
        "--keep-answers",
        type=Path,
        metavar="DIR",
        help="keep the model's answers in DIR, without the texts, so that the same command resumes after a kill",
    )
    add_table_options(parser, labelled=False)


def run(arguments: argparse.Namespace) -> None:
    """Measure, write, and print what was found."""
    from training.data.prepare import DataOptions
    from training.io.output import check_directory
    from training.measure.profile import as_text
    from training.packaging.profile import Order, profile

    if arguments.keep_answers:
        check_directory("--keep-answers", arguments.keep_answers)
    order = Order(
        bundle=arguments.bundle,
        data=arguments.data,
        limit=arguments.limit,
        members=arguments.members,
        text_column=arguments.text_column,
        keep=arguments.keep_answers,
        options=DataOptions(table=read_table_options(arguments)),
    )
    for name, found in profile(order).items():
        print(as_text(name, found))  # noqa: T201
