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
from training.data.one_file import MOST_TEST_SHARE, TEST_SHARE
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


def add_run_options(parser: argparse.ArgumentParser, *, needs_test: bool = True) -> None:
    """Files, bundle and checkpoints of a command that trains; one that `needs_test` cannot hold out a share instead."""
    parser.add_argument("--train", type=Path, required=True, metavar="FILE", help=DATA_HELP)
    if needs_test:
        parser.add_argument("--test", type=Path, required=True, metavar="FILE", help="the same; it only measures")
    else:
        add_optional_test(parser)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="the bundle; an older one is replaced")
    parser.add_argument("--checkpoints", type=Path, metavar="DIR", help="state of the run (default: OUT.run)")
    parser.add_argument(
        "--checkpoint-minutes", type=float, default=5.0, metavar="MINUTES", help="between two (default: %(default)s)"
    )
    parser.add_argument(
        "--report-to",
        choices=("none", "tensorboard"),
        default="none",
        help="tensorboard: also write loss and learning rate of each step as event files, into tensorboard/ in "
        "--checkpoints (default: %(default)s)",
    )


def add_optional_test(parser: argparse.ArgumentParser) -> None:
    """The file that measures, or how much of --train is held out if there is none."""
    parser.add_argument(
        "--test",
        type=Path,
        metavar="FILE",
        help="the same; it only measures (default: a share of --train, held out)",
    )
    parser.add_argument(
        "--test-share",
        type=share,
        metavar="SHARE",
        help="without --test, share of the rows of each label that is held out of --train and only measures "
        f"(default: {TEST_SHARE})",
    )


def add_base(parser: argparse.ArgumentParser) -> None:
    """The encoder that training starts from."""
    parser.add_argument(
        "--base",
        default="distilbert-base-uncased",
        metavar="DIR_OR_NAME",
        help="pretrained encoder: a directory, or a name on the Hugging Face hub (default: %(default)s)",
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
    """What was given of the options above.

    Raises:
        UsageError: of --test and --test-share, one excludes the other; or there is no share to measure on.
    """
    return DataOptions(
        test_share=_test_share(arguments),
        columns=Columns(arguments.text_column, arguments.label_column),
        near=getattr(arguments, "near_duplicate", DEFAULTS.near),
        max_overlap=getattr(arguments, "max_overlap", DEFAULTS.max_overlap),
        drop_leaked=getattr(arguments, "drop_leaked", DEFAULTS.drop_leaked),
        table=read_table_options(arguments),
    )


def _test_share(arguments: argparse.Namespace) -> float | None:
    """The share to hold out if a command that can do so has no --test; None for the others."""
    if "test_share" not in arguments:
        return None
    given: float | None = arguments.test_share
    if getattr(arguments, "folds", None) is not None:
        if given is not None:
            raise UsageError("--test-share holds rows out to measure on, and --folds measures on all: give one of them")
        if arguments.test is None and arguments.drop_leaked:
            raise UsageError("--drop-leaked needs --test: folds share no texts")
        return None
    if arguments.test is not None:
        if given is not None:
            raise UsageError("--test-share holds rows out of --train if there is no --test: give one of them")
        return None
    if getattr(arguments, "drop_leaked", False):
        raise UsageError("--drop-leaked needs --test: a share that is held out of --train has no leaks")
    if given is not None and not 0 < given <= MOST_TEST_SHARE:
        raise UsageError(f"--test-share {given:g} is not above 0 and at most {MOST_TEST_SHARE}")
    return given or TEST_SHARE


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
