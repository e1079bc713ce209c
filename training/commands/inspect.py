"""`review-training inspect`: what a file of labelled reviews holds, and what it shares with another one."""

import argparse
import json
from pathlib import Path
from typing import Any

from consumer.errors import UsageError
from training.commands.options import DATA_HELP, add_data_options, count, read_data_options


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which files, how long a text may be, and how to tell."""
    parser.add_argument("file", type=Path, metavar="FILE", help=DATA_HELP)
    parser.add_argument("test", type=Path, nargs="?", metavar="FILE2", help="test file: what of it occurs in FILE")
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--base", metavar="DIR_OR_NAME", help="count the tokens of this encoder (or bundle)")
    source.add_argument("--tokenizer", type=Path, metavar="FILE", help="count the tokens of this tokenizer.json")
    parser.add_argument(
        "--max-length", type=count, metavar="N", help="limit in tokens, to see what it cuts off (default: 512)"
    )
    add_data_options(parser, leaks=False)
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of text")


def run(arguments: argparse.Namespace) -> None:
    """Read, measure and print."""
    from training.data.leaks import examples, find_leaks
    from training.data.prepare import read_and_report
    from training.io.progress import say
    from training.measure.describe import as_text, describe, find_tokenizer

    if arguments.max_length and not (arguments.base or arguments.tokenizer):
        raise UsageError("--max-length counts tokens: add --base or --tokenizer")
    options = read_data_options(arguments)
    tokenizer = find_tokenizer(arguments.base, arguments.tokenizer)
    files = [read_and_report(path, say, options.columns) for path in (arguments.file, arguments.test) if path]
    described = [describe(reviews, tokenizer, arguments.max_length or 512) for reviews in files]
    result: dict[str, Any] = {"files": [description.as_json() for description in described]}
    lines = [as_text(description) for description in described]
    if len(files) == 2:
        train, test = files
        leaks = find_leaks(train, test, options.near)
        result["leaks"] = leaks.as_json(test)
        lines += [leaks.in_words(train, test), *examples(leaks, train, test)]
    print(json.dumps(result) if arguments.json else "\n".join(lines))  # noqa: T201
