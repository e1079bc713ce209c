"""Command line of the worker: `review-consumer COMMAND --help` lists each setting with its default and unit."""

import argparse
import logging
import signal
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
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
    arguments = sys.argv[1:] if argv is None else list(argv)
    if arguments[:1] == ["run"]:
        stop_before_it_begins()
    try:
        return _run(arguments)
    except ReviewsError as error:
        tell(str(error))
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        # A bug of ours: say where it is, not what it says, for the message may hold a piece of a review.
        frames = reversed(traceback.extract_tb(error.__traceback__))
        places = " < ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in frames)
        message = f"unexpected {type(error).__name__} at {places}; start again, and please report this"
        tell(message)
        return GaveUp.exit_code


def stop_before_it_begins() -> None:
    """Until the worker has a loop to stop. As process 1 of a container a signal without a handler would be ignored."""

    def stop(*_: object) -> None:
        # Nobody may be left to read it, or the signal may have come in the middle of another line.
        with suppress(OSError, RuntimeError):
            print("review-consumer: stopped before it began", file=sys.stderr)  # noqa: T201
        sys.exit(0)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)


def tell(last_words: str) -> None:
    """Say why the program ends, in the log where its lines are JSON."""
    from consumer.service import logs

    if logs.is_json():
        logging.getLogger("consumer").critical(last_words)
    else:
        with suppress(OSError):  # the exit code tells as much where nobody reads
            print(f"review-consumer: {last_words}", file=sys.stderr)  # noqa: T201


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
