"""Output that is safe on a terminal: any text, any encoding."""

import os
import re
import select
import sys
from io import TextIOWrapper
from pathlib import Path

#: Characters that control a terminal or change the reading direction.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def printable(text: str) -> str:
    """`text` without the characters that control a terminal."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text.replace("\r\n", "\n"))


def replace_closed_streams() -> None:
    """Replace standard streams that are missing, which are None, with empty ones."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))  # noqa: SIM115 - for as long as we run


def output_is_read() -> bool:
    """Whether the pipes that take standard output and errors, if any, still have readers."""
    poll = select.poll()
    for stream in (sys.stdout, sys.stderr):
        poll.register(stream.fileno(), select.POLLOUT)
    return not any(event & select.POLLERR for _, event in poll.poll(0))


def discard_output() -> None:
    """Discard what would be flushed at exit into a pipe without a reader."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def escape_what_cannot_be_shown() -> None:
    """Print an escape for a character that the terminal's encoding lacks, instead of ending the program."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # not what a test puts in its place
            stream.reconfigure(errors="backslashreplace")
