"""Log lines on stderr: JSON for machines, text for people. Coordinates and codes, never content."""

import json
import logging
import os
import re
import sys
import unicodedata
from datetime import UTC, datetime
from typing import Literal

from rich.console import Console
from rich.logging import RichHandler

#: Between two lines of kafka-python with the same template.
REPEAT_SECONDS = 10.0
#: Between two lines of a library with the same template, by what the names of its loggers begin with. A collector of
#: traces may be away for days without harm.
_REPEATS = {"kafka.": REPEAT_SECONDS, "opentelemetry.": 60.0, "urllib3.": 60.0}
#: The most templates that are distinguished.
TEMPLATES = 500
#: What differs between two lines that kafka-python formats itself: addresses of objects, and numbers.
_VARYING = re.compile(r"0x[0-9a-f]+|\d+")
#: Control characters, invisible format characters (those that turn the reading direction among them), line and
#: paragraph separators, halves of surrogate pairs.
_INVISIBLE = {"Cc", "Cf", "Zl", "Zp", "Cs"}


def visible(text: str, keep: str = "") -> str:
    """`text` without what steers a terminal or reorders what is shown: such characters are escaped.

    It is one line, unless `keep` has the line break as a character that stays.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        _escape(each) if unicodedata.category(each) in _INVISIBLE and each not in keep else each for each in text
    )


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


class JsonFormatter(logging.Formatter):
    """One JSON object a line, in ASCII: no value can forge a second line, or hide what a line says."""

    def format(self, record: logging.LogRecord) -> str:
        """Render `record`; tracebacks are left out, for they may hold a piece of a review."""
        return json.dumps(
            {
                "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
                "level": record.levelname,
                "logger": record.name,
                "message": record.getMessage(),
            }
        )


class TextFormatter(logging.Formatter):
    """The message alone, on one line; `RichHandler` puts time and level in front."""

    def format(self, record: logging.LogRecord) -> str:
        """Render `record`; tracebacks are left out, as in JSON."""
        return visible(record.getMessage())


class _Terminal(Console):
    def on_broken_pipe(self) -> None:
        """The reader is gone: rich would end the thread that logs, whichever that is."""
        self.quiet = True


class RepeatFilter(logging.Filter):
    """Thins out what libraries repeat: kafka-python up to a hundred times a second while brokers are in trouble."""

    def __init__(self) -> None:
        super().__init__()
        self._last: dict[str, tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether `record` is ours, or the first of its template for so many seconds; it counts the others."""
        seconds = next((each for prefix, each in _REPEATS.items() if record.name.startswith(prefix)), None)
        if seconds is None:
            return True
        template = _VARYING.sub("#", str(record.msg))
        shown, left_out = self._last.get(template, (0.0, 0))
        if 0 <= record.created - shown < seconds:  # a clock that was set back silences nothing
            self._last[template] = shown, left_out + 1
            return False
        if len(self._last) >= TEMPLATES:
            self._last.clear()
        self._last[template] = record.created, 0
        if left_out:
            record.msg, record.args = f"{record.getMessage()} ({left_out} more like it before)", ()
        return True


def is_json() -> bool:
    """Whether log lines are JSON; False before `set_up`."""
    return any(isinstance(handler.formatter, JsonFormatter) for handler in logging.getLogger().handlers)


def write_unlocked(level: int, message: str) -> None:
    """Write a line without the locks of `logging` and stderr: in a signal handler, or if another thread holds them.

    Raises:
        OSError: the reader of stderr is gone.
    """
    if sys.stderr is None:  # closed before the process began
        return
    record = logging.LogRecord("consumer", level, "", 0, message, (), None)
    line = (JsonFormatter() if is_json() else TextFormatter()).format(record)
    os.write(sys.stderr.fileno(), f"{line}\n".encode(errors="backslashreplace"))


def set_up(style: Literal["auto", "json", "text"], level: str) -> None:
    """Send all logging to stderr. kafka-python stays at WARNING: below that it logs keys and values."""
    handler: logging.Handler
    if style == "text" or (style == "auto" and sys.stderr and sys.stderr.isatty()):
        handler = RichHandler(console=_Terminal(stderr=True), show_path=False, rich_tracebacks=False)
        handler.setFormatter(TextFormatter(datefmt="[%X]"))
    else:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(JsonFormatter())
    handler.addFilter(RepeatFilter())
    handler.setLevel(level)  # the logger below stays at WARNING: its warnings say why a connection failed
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.getLogger("kafka").setLevel(logging.WARNING)
