"""What may be shown on a terminal: any text, on one of any encoding."""

import os
import re
import select
import sys
from io import TextIOWrapper
from pathlib import Path

#: Characters that would steer a terminal, or turn the reading direction.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def printable(text: str) -> str:
    """`text` without the characters that steer a terminal."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text.replace("\r\n", "\n"))


def replace_closed_streams() -> None:
    """Where a program was started without a standard stream, let it be an empty one, not None."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))  # noqa: SIM115 - for as long as we run


def somebody_reads() -> bool:
    """Whether the pipes that take standard output and errors, if any, still have readers."""
    poll = select.poll()
    for stream in (sys.stdout, sys.stderr):
        poll.register(stream.fileno(), select.POLLOUT)
    return not any(event & select.POLLERR for _, event in poll.poll(0))


def discard_output() -> None:
    """Let nothing be flushed, at the end, into a pipe that nobody reads any more."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def escape_what_cannot_be_shown() -> None:
    """Let an emoji on a terminal that has none be an escape, where it would end the program."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # not what a test puts in its place
            stream.reconfigure(errors="backslashreplace")
