"""The last warnings and errors of the log, for the page: our own lines, with coordinates and codes, no content."""

import logging
from collections import deque
from dataclasses import dataclass
from types import TracebackType
from typing import Self

#: Lines that are kept.
LINES = 10
#: Longer lines are cut.
LINE_CHARACTERS = 500


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the log; `time` is in seconds since 1970."""

    time: float
    level: str
    message: str


class RecentLines(logging.Handler):
    """Keeps them while it is open. A context manager; lines of other libraries are left to the log."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._lines: deque[Line] = deque(maxlen=LINES)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one line."""
        self._lines.append(Line(record.created, record.levelname, record.getMessage()[:LINE_CHARACTERS]))

    def newest_first(self) -> list[Line]:
        """The lines that are kept."""
        return list(self._lines)[::-1]

    def __enter__(self) -> Self:
        logging.getLogger("consumer").addHandler(self)
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        logging.getLogger("consumer").removeHandler(self)
