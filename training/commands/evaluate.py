"""`review-training evaluate`: measure a bundle on a file of labelled reviews."""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from consumer.errors import UsageError
from consumer.tables.options import count
from training.commands.options import DATA_HELP, add_data_options, amount, read_data_options

if TYPE_CHECKING:
    from training.measure.reports.report import Report

#: Rows on which ways of reading are compared: accuracy is then known to about a point, and differences better.
CURVE_ROWS = 2000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Bundle, data and output."""
    parser.add_argument("--bundle", type=Path, required=True, metavar="DIR", help="the bundle to measure")
    parser.add_argument("--data", type=Path, required=True, metavar="FILE", help=DATA_HELP)
    parser.add_argument(
        "--train", type=Path, metavar="FILE", help="what the bundle was trained on: check --data for leaks"
    )
    parser.add_argument("--variant", metavar="NAME", help="precision variant (default: the one that is served)")
    parser.add_argument("--limit", type=count, metavar="N", help="measure on N rows, drawn with a fixed seed")
    add_data_options(parser)
    parser.add_argument(
        "--keep-answers",
        type=Path,
        metavar="DIR",
        help="keep the model's answers in DIR, without the texts, so that the same command resumes after a kill",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    parser.add_argument("--report", type=Path, metavar="FILE.html", help="also write everything as one HTML page")
    parser.add_argument(
        "--reading-curve",
        action="store_true",
        help="also compare ways of reading, head, head and tail and windows at 128 to 512 tokens: accuracy over "
        "reviews/s. This asks the model about 15 times; a cascade is refused",
    )
    parser.add_argument(
        "--curve-rows",
        type=count,
        metavar="N",
        help="compare them on N of the rows (default: 2000; needs --reading-curve)",
    )
    parser.add_argument(
        "--top-losses",
        type=amount,
        default=5,
        metavar="N",
        help="show the N most confident mistakes, with their text (default: %(default)s)",
    )


def run(arguments: argparse.Namespace) -> None:
    """Measure and print."""
    report = make(arguments)
    try:  # the page first: the reader of stdout may be gone
        write_page(arguments, report)
    finally:
        print(json.dumps(report.as_json(), allow_nan=False) if arguments.json else report.as_text())  # noqa: T201


def make(arguments: argparse.Namespace) -> "Report":
    """Measure as the arguments say; see `training.measure.reports.report.evaluate_file`."""
    if arguments.curve_rows and not arguments.reading_curve:
        raise UsageError("--curve-rows needs --reading-curve: add it, or leave --curve-rows out")
    from training.io.output import check_directory, check_file, check_not_read
    from training.measure.reports.report import evaluate_file

    page: Path | None = arguments.report
    if page:
        check_file("--report", page)
        read = [("--bundle", arguments.bundle), ("--data", arguments.data), ("--train", arguments.train)]
        check_not_read("--report", page, read)
    if arguments.keep_answers:
        check_directory("--keep-answers", arguments.keep_answers)
    return evaluate_file(
        arguments.bundle,
        arguments.data,
        variant=arguments.variant,
        limit=arguments.limit,
        losses=arguments.top_losses,
        train_file=arguments.train,
        options=read_data_options(arguments),
        keep=arguments.keep_answers,
        curve_rows=(arguments.curve_rows or CURVE_ROWS) if arguments.reading_curve else None,
    )


def write_page(arguments: argparse.Namespace, report: "Report") -> None:
    """Write `report` as one HTML page, if one was asked for."""
    from training.io.output import writing
    from training.io.progress import say
    from training.measure.reports.html import as_html

    page: Path | None = arguments.report
    if page:
        with writing("--report", page):
            page.write_text(as_html(report), encoding="utf-8")
        say(f"report written to {page}")
