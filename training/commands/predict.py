"""`review-training predict`: label the texts of files or of standard input."""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which bundle, which texts, where to."""
    parser.add_argument("--bundle", type=Path, required=True, metavar="DIR", help="the bundle that labels")
    parser.add_argument(
        "files",
        nargs="*",
        metavar="FILE",
        help="xlsx, csv or tsv with a header, parquet, jsonl, or txt with a text a line; - or nothing: standard input, "
        "a text a line",
    )
    parser.add_argument(
        "--text-column",
        metavar="NAME",
        help="column or field with the text (default: Reviews, or another usual name, or the only column)",
    )
    parser.add_argument("--variant", metavar="NAME", help="precision variant (default: the one that is served)")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write to this file, whole or not at all")
    parser.add_argument(
        "--format",
        choices=("jsonl", "csv", "text"),
        help="jsonl and csv say file, row, label, score and probabilities; text is label, tab, score "
        "(default: by the name of --out, else text)",
    )


def run(arguments: argparse.Namespace) -> None:
    """Label and tell how many."""
    from training.io.progress import say
    from training.measure.labelling import label_files

    say(
        label_files(
            arguments.bundle,
            arguments.files,
            arguments.text_column,
            arguments.variant,
            out=arguments.out,
            format_name=arguments.format,
        )
    )
