"""`review-training answer`: write what a teacher answers, as data from which students learn without it."""

import argparse
from pathlib import Path

from consumer.errors import UsageError
from consumer.flags import add_settings
from training.commands.options import DATA_HELP, add_data_options, add_tests, read_data_options, read_settings
from training.settings import AnswerSettings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Teacher, files and output; then one option for each setting."""
    parser.add_argument(
        "--teacher",
        type=Path,
        required=True,
        metavar="DIR",
        help="a bundle, or a directory with a sequence classifier of transformers",
    )
    parser.add_argument(
        "--data",
        type=Path,
        nargs="+",
        action="extend",
        default=[],
        metavar="FILE",
        help=f"{DATA_HELP}. Without labels also .txt with a text a line, or a folder of .txt files with a text each",
    )
    parser.add_argument(
        "--unlabeled",
        type=Path,
        nargs="+",
        action="extend",
        default=[],
        metavar="FILE",
        help="further texts, whose labels are not read",
    )
    add_tests(parser, "whose texts get no answer")
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="directory of the answers; what is there is continued"
    )
    add_data_options(parser)
    add_settings(parser, AnswerSettings)


def run(arguments: argparse.Namespace) -> None:
    """Ask, and print what is there."""
    settings = read_settings(AnswerSettings, arguments)
    if not arguments.data and not arguments.unlabeled:
        raise UsageError("there are no texts to ask the teacher for: name files with --data")
    from training.answer import Questions, answer
    from training.encoders.parallel import only_the_first_talks

    questions = Questions(arguments.data, arguments.unlabeled, arguments.test, read_data_options(arguments))
    with only_the_first_talks():
        found = answer(questions, arguments.teacher, settings, arguments.out)
        if found:
            failed = f", {found.failed} of which it failed on" if found.failed else ""
            print(  # noqa: T201
                f"{arguments.out}: {found.texts} answers{failed}, in {found.files} files, {found.size} bytes "
                f"({found.size / found.texts:.1f} a text)"
            )
