"""What may be shown on a terminal: any text, on one of any encoding."""

import re
import sys
from io import TextIOWrapper

#: Characters that would steer a terminal, or turn the reading direction.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def printable(text: str) -> str:
    """`text` without the characters that steer a terminal."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text.replace("\r\n", "\n"))


def escape_what_cannot_be_shown() -> None:
    """Let an emoji on a terminal that has none be an escape, where it would end the program."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # not what a test puts in its place
            stream.reconfigure(errors="backslashreplace")
