"""Command line of the worker: `review-consumer COMMAND --help` lists each setting with its unit and default."""

import logging
import os
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from consumer.errors import GaveUp, ReviewsError
from consumer.flags import Version
from consumer.service.signals import stop_before_it_begins
from consumer.usage import Parser, add_commands

#: Command: the module with its `add_arguments` and `run`, and what it does.
COMMANDS = {
    "run": ("consumer.run", "label reviews until stopped"),
    "label": ("consumer.tools.label", "label texts without Kafka: arguments, a file or standard input"),
    "check": ("consumer.tools.check.command", "check everything that must hold before go-live, and say what to do"),
    "kafka": ("consumer.local.command", "run a real Kafka on this machine, for development"),
    "produce": ("consumer.tools.produce.command", "send the rows of a file to the input topic, each exactly once"),
    "tail": ("consumer.tools.tail.command", "show labelled reviews, or dead letters, as they come"),
    "dlq": ("consumer.tools.dlq.command", "count, list, show, replay and export dead letters"),
    "schema": ("consumer.tools.schema", "print a JSON Schema of the settings file, or of a contract"),
    "completion": ("consumer.tools.completion", "print a completion script for bash, zsh or fish"),
    "demo": ("consumer.demo.command", "see it work: start a real Kafka and a worker, send a sample of reviews"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command. Exit codes: those of consumer/errors.py, and 130 for Ctrl-C outside the worker."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    if arguments[:1] == ["run"]:
        stop_before_it_begins()
    try:
        return _run(arguments)
    except ReviewsError as error:
        report(str(error))
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader of a pipe, such as `head`, has what it wanted. Python would report the pipe again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        # A bug of ours: report where it is, not its message, which may contain a piece of a review.
        frames = reversed(traceback.extract_tb(error.__traceback__))
        places = " < ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in frames)
        report(f"unexpected {type(error).__name__} at {places}; start again, and please report this")
        return GaveUp.exit_code


def report(last_words: str) -> None:
    """Report why the program ends: as a log line if the log is JSON, else as text on stderr."""
    from consumer.service import logs

    if logs.is_json():
        logging.getLogger("consumer").critical(last_words)
    else:
        with suppress(OSError):  # the reader is gone; the exit code still says it
            print(f"review-consumer: {logs.visible(last_words)}", file=sys.stderr)  # noqa: T201


def _run(arguments: Sequence[str]) -> int:
    """Import in here, so that Ctrl-C is handled during imports as well."""
    parser = Parser(
        prog="review-consumer",
        description="Labels reviews from a Kafka topic with a fine-tuned DistilBERT, exactly once, in micro-batches.",
        epilog="exit codes: 0 stopped or drained; 2 wrong usage or settings; 3 model bundle refused; "
        "4 Kafka cannot be used as configured; 5 failed while running, restart it; 130 Ctrl-C",
    )
    parser.add_argument("--version", action=Version)
    first = arguments[:1]
    modules = add_commands(parser, COMMANDS, list(COMMANDS) if first == ["completion"] else first)
    parsed = parser.parse_args(arguments)
    parsed.parser = parser
    return int(modules[parsed.command].run(parsed))


if __name__ == "__main__":
    sys.exit(main())
