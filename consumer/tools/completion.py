"""`review-consumer completion`: a script that completes commands and flags. The shell runs no Python at a Tab."""

import argparse
import re
import sys
from pathlib import Path
from typing import Any

from consumer.errors import UsageError

SHELLS = ("bash", "zsh", "fish")
_CHOICES = re.compile(r"\{(.+)\}")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which shell."""
    parser.description = "Print a completion script for a shell: of commands, flags, their values, and files."
    parser.epilog = (
        "write the output to a file: ~/.local/share/bash-completion/completions/review-consumer for bash, "
        "_review-consumer in a directory of $fpath for zsh, ~/.config/fish/completions/review-consumer.fish for fish. "
        "Do it again after an upgrade. Exit codes: 0 done; 2 wrong usage"
    )
    parser.add_argument("shell", choices=SHELLS, metavar="{" + ",".join(SHELLS) + "}", help="the shell")


def run(arguments: argparse.Namespace) -> int:
    """Print the script for the parser of all commands, which `arguments.parser` holds."""
    sys.stdout.write(script(arguments.parser, arguments.shell))
    return 0


def script(parser: argparse.ArgumentParser, shell: str) -> str:
    """The completion of `parser` and its commands in `shell`."""
    import shtab

    if shell not in shtab.SUPPORTED_SHELLS:
        raise UsageError(f"this version of shtab completes no {shell}; upgrade it")
    _describe(parser)
    return str(shtab.complete(parser, shell)) + "\n"


def _describe(parser: argparse.ArgumentParser) -> None:
    """Tell shtab what flags take: their metavars name choices and files, because pydantic checks the values."""
    import shtab

    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for short in action._choices_actions:
                command = action.choices[short.dest]
                command.description = short.help  # a line; its own description is a paragraph
                _describe(command)
            continue
        takes: Any = action
        found = _CHOICES.fullmatch(action.metavar) if isinstance(action.metavar, str) else None
        if found and action.choices is None:
            action.choices = [each for each in found[1].split(",") if each != "TIME"]
        elif action.metavar == "DIR":
            takes.complete = shtab.DIRECTORY
        elif action.metavar == "FILE" or action.type is Path:
            takes.complete = shtab.FILE
