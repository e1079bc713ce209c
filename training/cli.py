"""Command line of training: `review-training COMMAND --help` lists each setting with its default."""

import errno
import importlib.util
import sys
from collections.abc import Sequence

from consumer.errors import GaveUp, ReviewsError, UsageError
from consumer.flags import Version
from consumer.usage import Parser, add_commands
from training.io.terminal import (
    discard_output,
    escape_what_cannot_be_shown,
    output_is_read,
    replace_closed_streams,
)

#: Command: the module with its `add_arguments` and `run`, and the help text.
COMMANDS = {
    "inspect": (
        "training.commands.inspect",
        "show what a file of labelled reviews contains, and what two files share",
    ),
    "fit": ("training.commands.fit", "fine-tune an encoder, measure it and write a bundle"),
    "distil": ("training.commands.distil", "distil large models into a small student, measure it and write a bundle"),
    "answer": (
        "training.commands.answer",
        "write what a teacher answers to texts, as data from which distil learns without it",
    ),
    "adapt": ("training.commands.adapt", "train an encoder further on texts without labels, before fine-tuning"),
    "cascade": (
        "training.commands.cascade",
        "put models in a row, each answering what the one before is not sure of, measure them and write a bundle",
    ),
    "adopt": (
        "training.commands.adopt",
        "make a bundle from a classifier that was trained elsewhere, without training, and measure it",
    ),
    "restore": ("training.commands.restore", "make a base of a bundle that was kept without its torch weights"),
    "lr-find": ("training.commands.lr_find", "find a learning rate: a range test with a plot"),
    "evaluate": ("training.commands.evaluate", "measure a bundle on a file of labelled reviews"),
    "calibrate": ("training.commands.calibrate", "calibrate the probabilities of a bundle"),
    "profile": ("training.commands.profile", "measure what is usual for a bundle, so that the worker notices drift"),
    "predict": ("training.commands.predict", "label the texts of files or standard input"),
    "explain": ("training.commands.explain", "show which words decided the label of a text"),
    "clean": ("training.commands.clean", "show what finished runs keep beside their bundles, and remove it"),
    "compare": (
        "training.commands.compare",
        "train small models, BERT and DistilBERT on the same rows, and measure them",
    ),
}

#: Exit code of a program that SIGPIPE ends; Python turns the signal into an exception.
OUTPUT_CLOSED = 141

#: What the training extra installs; nothing here runs without all of it.
NEEDED = (
    "torch",
    "transformers",
    "pandas",
    "openpyxl",
    "nncf",
    "safetensors",
    "datasketch",
    "lingua",
    "matplotlib",
    "jinja2",
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command. Exit codes: those of consumer/errors.py, 130 for Ctrl-C, and `OUTPUT_CLOSED`."""
    replace_closed_streams()
    escape_what_cannot_be_shown()
    try:
        _run(sys.argv[1:] if argv is None else list(argv))
        sys.stdout.flush()
    except ReviewsError as error:
        print(f"review-training: {error}", file=sys.stderr)  # noqa: T201
        return error.exit_code
    except BrokenPipeError:
        if output_is_read():
            raise  # one of our own pipes, not standard output
        discard_output()
        return OUTPUT_CLOSED
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        print(f"review-training: the disk is full: free some space and run it again ({error})", file=sys.stderr)  # noqa: T201
        return GaveUp.exit_code
    except KeyboardInterrupt as stopped:
        print(f"review-training: {str(stopped) or 'stopped'}", file=sys.stderr)  # noqa: T201
        return 130
    return 0


def _run(arguments: Sequence[str]) -> None:
    parser = Parser(
        prog="review-training",
        description="Turns a spreadsheet of labelled reviews into the model bundle that review-consumer serves.",
        epilog="exit codes: 0 done; 2 wrong usage, files or settings; 3 model bundle refused; "
        "5 failed while running, run it again; 130 Ctrl-C; 141 the pipe that read its output was closed",
    )
    parser.add_argument("--version", action=Version)
    modules = add_commands(parser, COMMANDS, arguments[:1], described=True)
    parsed = parser.parse_args(arguments)
    check_installed()
    modules[parsed.command].run(parsed)


def check_installed() -> None:
    """Raise `UsageError` if a part of the training extra is missing."""
    if any(importlib.util.find_spec(name) is None for name in NEEDED):
        raise UsageError("training is not installed: run make env-training or pip install 'review-consumer[training]'")


if __name__ == "__main__":
    sys.exit(main())
