"""`review-training adopt`: a bundle from a sequence classifier that somebody else trained, without training."""

import argparse
from dataclasses import replace
from pathlib import Path

from consumer.flags import add_settings
from training.commands.options import add_table_options, read_data_options, read_settings, renames
from training.settings import AdoptSettings

EPILOG = """examples:
  review-training adopt ./my-checkpoint --out bundles/mine --texts reviews.csv
  review-training adopt OWNER/MODEL --revision v1 --out bundles/mine --test labelled.xlsx --labels 0=neg,1=pos

It needs safetensors and a tokenizer. Pickles and code of a checkpoint are never loaded.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Checkpoint, files and output; then one option for each setting."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EPILOG
    parser.add_argument(
        "checkpoint",
        metavar="CHECKPOINT",
        help="a sequence classifier of transformers: a directory, or a name on the Hugging Face hub",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="the bundle; an older one is replaced")
    parser.add_argument(
        "--revision", metavar="NAME", help="branch, tag or commit on the hub; a commit never changes (default: main)"
    )
    parser.add_argument(
        "--texts",
        type=Path,
        metavar="FILE",
        help="texts like those to be served, in a file that predict reads: they set the int8 scales and, without "
        "--test, judge int8 by its agreement with fp32",
    )
    parser.add_argument(
        "--test",
        type=Path,
        metavar="FILE",
        help="labelled texts: some judge int8 and calibrate the probabilities, the others measure the accuracy",
    )
    add_table_options(parser, labelled=False)
    parser.add_argument(
        "--label-column",
        metavar="NAME",
        help="column of the labels in --test (default: Sentiment, or another usual name)",
    )
    parser.add_argument(
        "--labels",
        type=renames,
        default={},
        metavar="OLD=NEW,...",
        help="rename the outputs of the model, by name or number, as in NEGATIVE=neg,POSITIVE=pos or 0=neg,1=pos; "
        "labels of --test with these names are renamed as well. Needed if config.json does not name the outputs",
    )
    parser.add_argument(
        "--test-labels",
        type=renames,
        default={},
        metavar="OLD=NEW,...",
        help="rename labels in --test only, as in 0=neg,1=pos",
    )
    add_settings(parser, AdoptSettings)


def run(arguments: argparse.Namespace) -> None:
    """Adopt, and print what the bundle is worth."""
    settings = read_settings(AdoptSettings, arguments)
    from training.adopt import Adoption, adopt
    from training.measure.evaluate import as_text

    options = read_data_options(arguments)
    job = Adoption(
        checkpoint=arguments.checkpoint,
        out=arguments.out,
        revision=arguments.revision,
        texts=arguments.texts,
        test=arguments.test,
        labels=arguments.labels,
        options=replace(options, table=replace(options.table, labels=_in_the_file(arguments))),
    )
    manifest, found = adopt(job, settings)
    if served := found.evaluations.get(manifest.served):
        print(as_text(served))  # noqa: T201
    print(f"{arguments.out}: {manifest.name} {manifest.version}, serves {manifest.served}")  # noqa: T201
    print(f"serve it: review-consumer run --bundle {arguments.out}")  # noqa: T201


def _in_the_file(arguments: argparse.Namespace) -> dict[str, str]:
    """The labels of --test that are renamed. A number in the file need not be the number of an output."""
    outputs: dict[str, str] = arguments.labels
    in_file: dict[str, str] = arguments.test_labels
    return {old: new for old, new in outputs.items() if not old.isdigit()} | in_file
