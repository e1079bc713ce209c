"""Command line of the worker: `review-consumer COMMAND --help` lists each setting with its default and unit."""

import argparse
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from consumer.errors import GaveUp, ReviewsError

#: Command: the module with its `add_arguments` and `run`, and what it does.
COMMANDS = {
    "run": ("consumer.run", "label reviews until stopped"),
    "kafka": ("consumer.local.command", "run a real Kafka on this machine, for development"),
    "demo": ("consumer.demo.command", "see it work: a real Kafka, a sample of reviews, a worker"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit codes are those of consumer/errors.py, and 130 for Ctrl-C outside the worker."""
    try:
        return _run(sys.argv[1:] if argv is None else list(argv))
    except ReviewsError as error:
        print(f"review-consumer: {error}", file=sys.stderr)  # noqa: T201
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        # A bug of ours: say where it is, not what it says, for the message may hold a piece of a review.
        frames = reversed(traceback.extract_tb(error.__traceback__))
        places = " < ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in frames)
        message = f"unexpected {type(error).__name__} at {places}; start again, and please report this"
        print(f"review-consumer: {message}", file=sys.stderr)  # noqa: T201
        return GaveUp.exit_code


def _run(arguments: Sequence[str]) -> int:
    """Imports happen in here, where Ctrl-C is a quiet end as well."""
    parser = argparse.ArgumentParser(
        prog="review-consumer",
        description="Labels reviews from a Kafka topic with a fine-tuned DistilBERT, exactly once, in micro-batches.",
        epilog="exit codes: 0 stopped or drained; 2 wrong usage or settings; 3 bundle refused; "
        "4 Kafka unusable at start; 5 gave up while running, restart me",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    chosen: Any = None
    for name, (module, text) in COMMANDS.items():
        command = commands.add_parser(name, help=text)
        if [name] == arguments[:1]:
            # Only the command that is asked for is imported: help and typing mistakes are answered at once.
            chosen = import_module(module)
            chosen.add_arguments(command)
    parsed = parser.parse_args(arguments)
    return int(chosen.run(parsed))


if __name__ == "__main__":
    sys.exit(main())
