"""`review-training distil`: train a small student on the answers of large models, measure it, write a bundle."""

import argparse
from pathlib import Path

from consumer.flags import add_settings
from training.commands.options import add_data_options, add_run_options, read_settings, share
from training.commands.runs import job_of, show
from training.settings import MAX_UNANSWERED, DistilSettings, PackageSettings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Files, teachers, base and checkpoints; then one option for each setting."""
    add_run_options(parser)
    parser.add_argument(
        "--teacher",
        type=Path,
        action="append",
        default=[],
        metavar="DIR",
        help="a bundle, a sequence classifier of transformers, or nbsvm: the linear model of compare, trained here on "
        "the training rows; may be repeated, to train on the mean of all logits, and left out with --answers",
    )
    parser.add_argument(
        "--answers",
        type=Path,
        nargs="+",
        action="extend",
        default=[],
        metavar="DIR_OR_FILE",
        help="answers of teachers that review-training answer wrote, instead of the teachers or beside others",
    )
    parser.add_argument(
        "--max-unanswered",
        type=share,
        default=MAX_UNANSWERED,
        metavar="SHARE",
        help="refuse when more of the texts to train on than this share have no answer in --answers; the others are "
        "left out (default: %(default)s)",
    )
    parser.add_argument(
        "--label-unanswered",
        action="store_true",
        help="learn the label alone of rows that have no answer in --answers, however many they are",
    )
    parser.add_argument(
        "--unlabeled",
        type=Path,
        metavar="FILE",
        help="texts without labels to train on as well, in a file that predict reads",
    )
    parser.add_argument(
        "--unlabeled-column",
        metavar="NAME",
        help="column of the texts in --unlabeled (default: Reviews, or another usual name, or the only column)",
    )
    parser.add_argument(
        "--base",
        metavar="DIR_OR_NAME",
        help="encoder whose layers and embeddings the student starts from: a bundle with torch weights, a directory, "
        "or a name on the Hugging Face hub (default: the first --teacher that is a directory)",
    )
    parser.add_argument(
        "--teacher-cache",
        type=Path,
        metavar="DIR",
        help="where answers of teachers are kept, for any number of runs (default: OUT.teachers)",
    )
    add_data_options(parser)
    add_settings(parser, DistilSettings)
    add_settings(parser, PackageSettings)


def run(arguments: argparse.Namespace) -> None:
    """Distil, and print how good the result is."""
    settings, packaging = read_settings(DistilSettings, arguments), read_settings(PackageSettings, arguments)
    from training.distil import distil
    from training.encoders.parallel import only_the_first_talks
    from training.teachers.sources import Sources

    sources = Sources(
        teachers=arguments.teacher,
        base_name=arguments.base,
        unlabeled_file=arguments.unlabeled,
        unlabeled_column=arguments.unlabeled_column,
        cache=arguments.teacher_cache,
        answers=arguments.answers,
        max_unanswered=arguments.max_unanswered,
        label_unanswered=arguments.label_unanswered,
    )
    with only_the_first_talks():
        job = job_of(arguments, packaging)
        show(arguments, distil(arguments.train, arguments.test, sources, settings, job))
