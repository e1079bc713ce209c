"""Command line of the worker: `review-consumer COMMAND --help` lists each setting with its default and unit."""

import argparse
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from consumer.errors import GaveUp, ReviewsError


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit codes are those of consumer/errors.py, and 130 for Ctrl-C outside the worker."""
    try:
        return _run(argv)
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


def _run(argv: Sequence[str] | None) -> int:
    """Imports stand here, where Ctrl-C is a quiet end as well."""
    parser = argparse.ArgumentParser(
        prog="review-consumer",
        description="Labels reviews from a Kafka topic with a fine-tuned DistilBERT, exactly once, in micro-batches.",
        epilog="exit codes: 0 stopped or drained; 2 wrong usage or settings; 3 bundle refused; "
        "4 Kafka unusable at start; 5 gave up while running, restart me",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    from consumer import demo, run
    from consumer.local import command as kafka

    run.add_arguments(commands.add_parser("run", help="label reviews until stopped", **run.PARSER))
    kafka.add_arguments(commands.add_parser("kafka", help="run a real Kafka on this machine, for development"))
    demo.add_arguments(commands.add_parser("demo", help="see it work: a real Kafka, a sample of reviews, a worker"))
    actions = {"run": run.run, "kafka": kafka.run, "demo": demo.run}
    arguments = parser.parse_args(argv)
    return actions[arguments.command](arguments)


if __name__ == "__main__":
    sys.exit(main())
