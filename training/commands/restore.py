"""`review-training restore`: from a bundle back to a checkpoint, to train on from it."""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The bundle and the directory."""
    parser.epilog = (
        "OUT is a --base for fit and distil, and reads texts like the bundle's tokenizer. Int8 weights are rounded, so "
        "the model is close to the one that was exported, not equal: train it before it is served. Bundles of "
        "DistilBERT and BERT models can be restored. A bundle with torch weights is a --base as it is."
    )
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", help="of a single model")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="a new directory")


def run(arguments: argparse.Namespace) -> None:
    """Restore, and print how near the model is to the bundle."""
    from training.encoders.base import quiet_transformers
    from training.restore import restore

    quiet_transformers()
    off = restore(arguments.bundle, arguments.out)
    print(f"{arguments.out}: probabilities of the golden texts within {off:.3f} of the bundle's")  # noqa: T201
