"""`review-training predict`: label the texts of files or of standard input."""

import argparse
from pathlib import Path

from training.commands.options import add_table_options, read_table_options


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Bundle, texts, output."""
    parser.add_argument("--bundle", type=Path, required=True, metavar="DIR", help="the bundle to label with")
    parser.add_argument(
        "files",
        nargs="*",
        metavar="FILE",
        help="a spreadsheet (.xlsx, .ods, ...), csv, tsv, parquet, jsonl, json, or txt with a text a line; - or "
        "nothing: standard input, a text a line",
    )
    add_table_options(parser, labelled=False)
    parser.add_argument("--variant", metavar="NAME", help="precision variant (default: the one that is served)")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write to this file, whole or not at all")
    parser.add_argument(
        "--format",
        choices=("jsonl", "csv", "tsv", "xlsx", "parquet", "text"),
        help="text is label, tab, score; the others have file, row, label, score, probabilities, unsure and the other "
        "columns of the input (default: by the name of --out, else text)",
    )
    parser.add_argument("--with-text", action="store_true", help="write the text as well")


def run(arguments: argparse.Namespace) -> None:
    """Label and report how many."""
    from training.io.progress import say
    from training.measure.answering.label_files import label_files

    say(
        label_files(
            arguments.bundle,
            arguments.files,
            arguments.text_column,
            arguments.variant,
            out=arguments.out,
            format_name=arguments.format,
            with_text=arguments.with_text,
            options=read_table_options(arguments),
        )
    )
