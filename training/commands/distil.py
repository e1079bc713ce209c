"""`review-training distil`: teach a small student what large models answer, measure it, write a bundle."""

import argparse
from pathlib import Path

from consumer.flags import add_settings
from training.commands.options import add_data_options, add_run_options, read_data_options, read_settings
from training.settings import DistilSettings, PackageSettings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Files, teachers, base and checkpoints; then one option for each setting."""
    add_run_options(parser)
    parser.add_argument(
        "--teacher",
        type=Path,
        action="append",
        required=True,
        metavar="DIR",
        help="a bundle, a sequence classifier of transformers, or nbsvm: the linear model of compare, learnt here from "
        "the training rows; may repeat: the mean of their logits is learnt",
    )
    parser.add_argument(
        "--unlabeled",
        type=Path,
        metavar="FILE",
        help="texts without labels to learn from as well: xlsx, csv, tsv, jsonl, parquet, or txt with a text a line",
    )
    parser.add_argument(
        "--unlabeled-column",
        metavar="NAME",
        help="its column of texts (default: Reviews, or another usual name, or the only column)",
    )
    parser.add_argument(
        "--base",
        metavar="DIR_OR_NAME",
        help="encoder whose layers and embeddings the student starts from: a bundle with torch weights, a directory, "
        "or a name on the Hugging Face hub (default: the first teacher that is a directory)",
    )
    parser.add_argument(
        "--teacher-cache",
        type=Path,
        metavar="DIR",
        help="answers of teachers, for any number of runs (default: OUT.teachers)",
    )
    add_data_options(parser)
    add_settings(parser, DistilSettings)
    add_settings(parser, PackageSettings)


def run(arguments: argparse.Namespace) -> None:
    """Distil and tell what came out."""
    settings, packaging = read_settings(DistilSettings, arguments), read_settings(PackageSettings, arguments)
    from training.distil import distil
    from training.encoders.parallel import only_the_first_talks
    from training.measure.evaluate import as_text

    with only_the_first_talks():
        distilled = distil(
            train_file=arguments.train,
            test_file=arguments.test,
            teachers=arguments.teacher,
            out=arguments.out,
            settings=settings,
            packaging=packaging,
            base_name=arguments.base,
            unlabeled_file=arguments.unlabeled,
            unlabeled_column=arguments.unlabeled_column,
            teacher_cache=arguments.teacher_cache,
            checkpoints=arguments.checkpoints,
            checkpoint_minutes=arguments.checkpoint_minutes,
            data_options=read_data_options(arguments),
        )
    if distilled:
        manifest, evaluation = distilled
        print(as_text(evaluation))  # noqa: T201
        print(f"{arguments.out}: {manifest.name} {manifest.version}, serves {manifest.served}")  # noqa: T201
