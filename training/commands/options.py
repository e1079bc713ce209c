"""Options that several commands share, and the way back from options to settings models."""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from consumer.errors import UsageError
from consumer.flags import given, problems
from consumer.tables.names import Columns
from consumer.tables.options import add_reading, count, reading
from consumer.tables.table import TableOptions
from training.data.columns import as_label
from training.data.leaks import LEAST_SIMILARITY
from training.data.prepare import DEFAULTS, DataOptions

Settings = TypeVar("Settings", bound=BaseModel)

DATA_HELP = (
    "labelled reviews: a spreadsheet (.xlsx, .ods, ...), .csv, .tsv, .jsonl, .json or .parquet file, or a directory "
    "with pos/ and neg/"
)


def read_settings(model: type[Settings], arguments: argparse.Namespace) -> Settings:
    """The fields of `model` that were given, checked.

    Raises:
        UsageError: with one line for each wrong setting.
    """
    try:
        return model.model_validate(given(model, arguments))
    except ValidationError as error:
        raise UsageError(f"{problems(error)} (see review-training {arguments.command} --help)") from None


def add_table_options(parser: argparse.ArgumentParser, *, labelled: bool = True) -> None:
    """Where in a file texts and, if it is `labelled`, labels are, and what to do if the file is not read rightly."""
    usual = "Reviews, or another usual name" + ("" if labelled else ", or the only column")
    parser.add_argument("--text-column", metavar="NAME", help=f"column of the texts (default: {usual})")
    if labelled:
        parser.add_argument(
            "--label-column", metavar="NAME", help="column of the labels (default: Sentiment, or another usual name)"
        )
        parser.add_argument(
            "--labels",
            type=renames,
            default={},
            metavar="OLD=NEW,...",
            help="rename labels in every file, as in positive=pos,1=pos",
        )
    add_reading(parser)


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """Files, bundle and checkpoints of a command that trains."""
    parser.add_argument("--train", type=Path, required=True, metavar="FILE", help=DATA_HELP)
    parser.add_argument("--test", type=Path, required=True, metavar="FILE", help="the same; it only measures")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="the bundle; an older one is replaced")
    parser.add_argument("--checkpoints", type=Path, metavar="DIR", help="state of the run (default: OUT.run)")
    parser.add_argument(
        "--checkpoint-minutes", type=float, default=5.0, metavar="MINUTES", help="between two (default: %(default)s)"
    )


def add_tests(parser: argparse.ArgumentParser, becomes: str) -> None:
    """The files that measure models later, or the word that there are none; `becomes` tells what follows from that."""
    group = parser.add_mutually_exclusive_group(required=True)
    group.add_argument(
        "--test",
        type=Path,
        nargs="+",
        action="extend",
        default=[],
        metavar="FILE",
        help=f"labelled reviews that measure models later, {becomes}; exact and near duplicates count too",
    )
    group.add_argument("--no-test", action="store_true", help="there is no such file")


def add_data_options(parser: argparse.ArgumentParser, *, leaks: bool = True) -> None:
    """How files of labelled reviews are read and, with `leaks`, what becomes of texts that two of them share."""
    add_table_options(parser)
    parser.add_argument(
        "--near-duplicate",
        type=similarity,
        default=DEFAULTS.near,
        metavar="SIMILARITY",
        help="Jaccard similarity of their word 5-grams, 0.5 to 1, from which two texts are near duplicates "
        "(default: %(default)s)",
    )
    if leaks:
        parser.add_argument(
            "--max-overlap",
            type=share,
            default=DEFAULTS.max_overlap,
            metavar="SHARE",
            help="refuse when more test texts than this share occur, exactly or nearly, in the training file "
            "(default: %(default)s)",
        )
        parser.add_argument(
            "--drop-leaked", action="store_true", help="measure without the test texts that occur in the training file"
        )


def read_data_options(arguments: argparse.Namespace) -> DataOptions:
    """What was given of the options above."""
    return DataOptions(
        columns=Columns(arguments.text_column, arguments.label_column),
        near=getattr(arguments, "near_duplicate", DEFAULTS.near),
        max_overlap=getattr(arguments, "max_overlap", DEFAULTS.max_overlap),
        drop_leaked=getattr(arguments, "drop_leaked", DEFAULTS.drop_leaked),
        table=read_table_options(arguments),
    )


def read_table_options(arguments: argparse.Namespace) -> TableOptions:
    """How tables are read, as given on the command line."""
    return replace(reading(arguments), labels=getattr(arguments, "labels", {}))


def renames(text: str) -> dict[str, str]:
    """Old labels to new ones, as argparse reads them."""
    pairs = [part.split("=") for part in text.split(",")]
    if any(len(pair) != 2 or not all(map(str.strip, pair)) for pair in pairs):
        raise ValueError
    return {as_label(old): as_label(new) for old, new in pairs}


def share(text: str) -> float:
    """A number from 0 to 1, as argparse reads it."""
    if not 0 <= (number := float(text)) <= 1:
        raise ValueError
    return number


def similarity(text: str) -> float:
    """A similarity that the leak check can find, as argparse reads it."""
    if (number := share(text)) < LEAST_SIMILARITY:
        raise ValueError
    return number


def amount(text: str) -> int:
    """A number of things, none allowed, as argparse reads it."""
    return 0 if text == "0" else count(text)
