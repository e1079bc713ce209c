"""`review-training inspect`: what a file of labelled reviews holds, and what it shares with another one."""

import argparse
import json
from pathlib import Path
from typing import Any

from consumer.errors import UsageError
from consumer.tables.options import count
from training.commands.options import DATA_HELP, add_data_options, read_data_options


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Files, tokenizer and token limit, output format."""
    parser.add_argument("file", type=Path, metavar="FILE", help=DATA_HELP)
    parser.add_argument(
        "test", type=Path, nargs="?", metavar="FILE2", help="test file: report which of its texts also occur in FILE"
    )
    source = parser.add_mutually_exclusive_group()
    source.add_argument(
        "--base",
        metavar="DIR_OR_NAME",
        help="count tokens as this encoder does; for a bundle, also with its length, truncation and windows",
    )
    source.add_argument("--tokenizer", type=Path, metavar="FILE", help="count tokens with this tokenizer.json")
    parser.add_argument(
        "--max-length",
        type=count,
        metavar="N",
        help="token limit, to see how many texts are longer (default: that of the bundle, else 512)",
    )
    add_data_options(parser, leaks=False)
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of text")


def run(arguments: argparse.Namespace) -> None:
    """Read, measure and print."""
    from training.data.describe import as_text, describe
    from training.data.leaks import examples, find_leaks
    from training.data.prepare import read_and_report
    from training.encoders.reading import find_reading
    from training.io.progress import say

    if arguments.max_length and not (arguments.base or arguments.tokenizer):
        raise UsageError("--max-length counts tokens: add --base or --tokenizer")
    options = read_data_options(arguments)
    reading = find_reading(arguments.base, arguments.tokenizer, arguments.max_length)
    files = [read_and_report(path, say, options) for path in (arguments.file, arguments.test) if path]
    described = [describe(reviews, reading) for reviews in files]
    result: dict[str, Any] = {"files": [description.as_json() for description in described]}
    lines = [as_text(description) for description in described]
    if len(files) == 2:
        train, test = files
        leaks = find_leaks(train, test, options.near)
        result["leaks"] = leaks.as_json(test)
        lines += [leaks.in_words(train, test), *examples(leaks, train, test)]
    print(json.dumps(result) if arguments.json else "\n".join(lines))  # noqa: T201
