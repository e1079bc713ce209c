"""`review-training adapt`: train an encoder further on texts without labels, before fine-tuning."""

import argparse
from pathlib import Path

from consumer.flags import add_settings
from training.commands.options import add_base, add_data_options, add_tests, read_data_options, read_settings
from training.settings import AdaptSettings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Base, texts, output and checkpoints; then one option for each setting."""
    add_base(parser)
    parser.add_argument(
        "--texts",
        type=Path,
        nargs="+",
        action="extend",
        required=True,
        metavar="FILE",
        help="texts, labelled or not: a spreadsheet (.xlsx, .ods, ...), .csv, .tsv, .jsonl, .json, .parquet or .txt "
        "with a text a line, a folder of .txt files with a text each, or one with pos/ and neg/",
    )
    add_tests(parser, "whose texts are left out")
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="the adapted encoder; an older one there is replaced"
    )
    parser.add_argument("--checkpoints", type=Path, metavar="DIR", help="state of the run (default: OUT.run)")
    parser.add_argument(
        "--checkpoint-minutes", type=float, default=5.0, metavar="MINUTES", help="between two (default: %(default)s)"
    )
    add_data_options(parser)
    add_settings(parser, AdaptSettings)


def run(arguments: argparse.Namespace) -> None:
    """Adapt, and print the perplexity before and after."""
    settings = read_settings(AdaptSettings, arguments)
    from training.adapt import adapt
    from training.adaptation.texts import Work
    from training.encoders.parallel import only_the_first_talks

    work = Work(
        texts=arguments.texts,
        tests=arguments.test,
        out=arguments.out,
        checkpoints=arguments.checkpoints,
        checkpoint_minutes=arguments.checkpoint_minutes,
        options=read_data_options(arguments),
    )
    with only_the_first_talks():
        result = adapt(arguments.base, settings, work)
        if result:
            print(f"{arguments.out}: {result.in_words()}")  # noqa: T201
