"""`review-training evaluate`: measure a bundle on a file of labelled reviews."""

import argparse
import json
from pathlib import Path

from training.options import count


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which bundle, on what, and how to tell."""
    parser.add_argument("--bundle", type=Path, required=True, metavar="DIR", help="the bundle to measure")
    parser.add_argument("--data", type=Path, required=True, metavar="FILE", help="xlsx or csv with Reviews, Sentiment")
    parser.add_argument("--variant", metavar="NAME", help="precision variant (default: the one that is served)")
    parser.add_argument("--limit", type=count, metavar="N", help="measure on the first N rows")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of text")


def run(arguments: argparse.Namespace) -> None:
    """Measure and print."""
    from training.evaluate import as_text, evaluate_file

    evaluation = evaluate_file(arguments.bundle, arguments.data, arguments.variant, arguments.limit)
    print(json.dumps(evaluation.as_json()) if arguments.json else as_text(evaluation))  # noqa: T201
