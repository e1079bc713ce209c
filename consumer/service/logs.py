"""Log lines on stderr: JSON for machines, text for people. Coordinates and codes, never content."""

import json
import logging
import os
import sys
from datetime import UTC, datetime
from typing import Literal

from rich.console import Console
from rich.logging import RichHandler

#: Between two lines of kafka-python with the same template.
REPEAT_SECONDS = 10.0
#: So many templates are told apart; more only where some are made of what they tell.
TEMPLATES = 500


class JsonFormatter(logging.Formatter):
    """One JSON object a line; `json.dumps` escapes line breaks, so no value can forge a second line."""

    def format(self, record: logging.LogRecord) -> str:
        """Render `record`."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        return json.dumps(line, ensure_ascii=False)


class _Terminal(Console):
    def on_broken_pipe(self) -> None:
        """Nobody reads any more: rich would end the thread that logs, whichever that is."""
        self.quiet = True


class NotAgain(logging.Filter):
    """Of what kafka-python repeats while brokers are in trouble, up to a hundred times a second, a line every while."""

    def __init__(self) -> None:
        super().__init__()
        self._said: dict[str, tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether `record` is from elsewhere, or the first of its template for some seconds; it counts the others."""
        if not record.name.startswith("kafka."):
            return True
        said, left_out = self._said.get(record.msg, (0.0, 0))
        if 0 <= record.created - said < REPEAT_SECONDS:  # a clock that was set back silences nothing
            self._said[record.msg] = said, left_out + 1
            return False
        if len(self._said) >= TEMPLATES:
            self._said.clear()
        self._said[record.msg] = record.created, 0
        if left_out:
            record.msg, record.args = f"{record.getMessage()} ({left_out} more like it before)", ()
        return True


def is_json() -> bool:
    """Whether log lines are JSON; not before `set_up`."""
    return any(isinstance(handler.formatter, JsonFormatter) for handler in logging.getLogger().handlers)


def write_unlocked(level: int, message: str) -> None:
    """Write a line past the locks of `logging` and of stderr: in a signal handler, or while another thread has them.

    Raises:
        OSError: nobody reads stderr any more.
    """
    if sys.stderr is None:  # closed before the process began
        return
    record = logging.LogRecord("consumer", level, "", 0, message, (), None)
    line = JsonFormatter().format(record) if is_json() else message
    os.write(sys.stderr.fileno(), f"{line}\n".encode(errors="backslashreplace"))


def set_up(style: Literal["auto", "json", "text"], level: str) -> None:
    """Send all logging to stderr. kafka-python stays at WARNING: below that it logs keys and values."""
    handler: logging.Handler
    if style == "text" or (style == "auto" and sys.stderr and sys.stderr.isatty()):
        handler = RichHandler(console=_Terminal(stderr=True), show_path=False, rich_tracebacks=False)
        handler.setFormatter(logging.Formatter("%(message)s", datefmt="[%X]"))
    else:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(JsonFormatter())
    handler.addFilter(NotAgain())
    handler.setLevel(level)  # kafka-python's warnings are let through below, for what they tell of a failed connection
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.getLogger("kafka").setLevel(logging.WARNING)
