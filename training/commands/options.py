"""Settings models as command-line options, and back."""

import argparse
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from consumer.errors import UsageError
from consumer.model.reading import Truncation
from training.data.columns import Columns
from training.data.leaks import LEAST_SIMILARITY
from training.data.prepare import DEFAULTS, DataOptions

Settings = TypeVar("Settings", bound=BaseModel)

DATA_HELP = "labelled reviews: a file named .xlsx, .csv, .tsv, .jsonl or .parquet, or a directory with pos/ and neg/"


def add_settings(parser: argparse.ArgumentParser, model: type[BaseModel]) -> None:
    """One option for each field of `model`, with its default in the help."""
    for name, field in model.model_fields.items():
        parser.add_argument(f"--{name.replace('_', '-')}", **_option(field))


def read_settings(model: type[Settings], arguments: argparse.Namespace) -> Settings:
    """The fields of `model` that were given, checked.

    Raises:
        UsageError: with one line for each wrong setting.
    """
    try:
        return model.model_validate({k: v for k, v in vars(arguments).items() if k in model.model_fields})
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, item['loc'])) or 'settings'}: {item['msg'].removeprefix('Value error, ')}"
            for item in error.errors()
        )
        raise UsageError(f"{problems} (see review-training {arguments.command} --help)") from None


def add_columns(parser: argparse.ArgumentParser) -> None:
    """Where in a file of labelled reviews texts and labels are."""
    parser.add_argument(
        "--text-column", metavar="NAME", help="column of the texts (default: Reviews, or another usual name)"
    )
    parser.add_argument(
        "--label-column", metavar="NAME", help="column of the labels (default: Sentiment, or another usual name)"
    )


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """Files, bundle and checkpoints of a command that trains."""
    parser.add_argument("--train", type=Path, required=True, metavar="FILE", help=DATA_HELP)
    parser.add_argument("--test", type=Path, required=True, metavar="FILE", help="the same; it only measures")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="the bundle; an older one is replaced")
    parser.add_argument("--checkpoints", type=Path, metavar="DIR", help="state of the run (default: OUT.run)")
    parser.add_argument(
        "--checkpoint-minutes", type=float, default=5.0, metavar="MINUTES", help="between two (default: %(default)s)"
    )


def add_data_options(parser: argparse.ArgumentParser, *, leaks: bool = True) -> None:
    """How files of labelled reviews are read and, with `leaks`, what becomes of texts that two of them share."""
    add_columns(parser)
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
        near=arguments.near_duplicate,
        max_overlap=getattr(arguments, "max_overlap", DEFAULTS.max_overlap),
        drop_leaked=getattr(arguments, "drop_leaked", DEFAULTS.drop_leaked),
    )


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


def count(text: str) -> int:
    """A number of things, at least one, as argparse reads it."""
    if (number := int(text)) < 1:
        raise ValueError
    return number


def _option(field: FieldInfo) -> dict[str, Any]:
    """How argparse reads one setting; its values are checked by pydantic."""
    default = ",".join(field.default) if isinstance(field.default, tuple) else field.default
    option: dict[str, Any] = {"default": argparse.SUPPRESS, "help": f"{field.description}".replace("%", "%%")}
    if default is not None:
        option["help"] += f" (default: {getattr(default, 'value', default)})"
    if field.annotation is Truncation:
        return option | {"choices": [choice.value for choice in Truncation]}
    if get_origin(field.annotation) is Literal:
        return option | {"choices": get_args(field.annotation)}
    if isinstance(field.default, tuple):
        return option | {"type": lambda text: tuple(text.split(",")), "metavar": "NAMES"}
    kinds = get_args(field.annotation) or (field.annotation,)  # the kinds of `int | None`
    return option | {"metavar": "N" if int in kinds else "NUMBER" if float in kinds else "TEXT"}
