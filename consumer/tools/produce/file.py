"""The file that is sent: read twice, first to check every row and then to send it, so it must not change meanwhile."""

import hashlib
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from consumer.errors import UsageError
from consumer.records.fault import Detail, Fault
from consumer.records.parse import Limits, parse, read_json
from consumer.records.record import Record
from consumer.service.logs import visible
from consumer.settings import WorkerSettings
from consumer.tables.files import refusing
from consumer.tables.headers import SAMPLE_ROWS
from consumer.tables.names import Say, guessed_text_column
from consumer.tables.rows import Head, Row, is_json, open_rows
from consumer.tools.produce.mapping import Mapping
from consumer.tools.produce.messages import Message, Messages, Refusal


def tell(remark: str) -> None:
    """A line on stderr, for people."""
    sys.stderr.write(f"{visible(remark)}\n")


class InputFile:
    """A file and how its rows become messages.

    Raises:
        UsageError: it cannot be read, or lacks a column.
    """

    def __init__(self, path: Path, mapping: Mapping, settings: WorkerSettings) -> None:
        self._path, self._mapping, self._settings = path, mapping, settings
        self._state = self._stat()

    def digest(self) -> str:
        """SHA-256 of its bytes, in hexadecimal digits."""
        with refusing(self._path), self._path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def check_unchanged(self) -> None:
        """Raise `UsageError` if the file is another one than at the start."""
        if self._stat() != self._state:
            raise UsageError(
                f"{self._path} changed while it was read: what was sent so far stays sent; the rest needs a complete "
                "file that nobody writes to"
            )

    def messages(self, say: Say = lambda _: None) -> Iterator[Message | Refusal]:
        """What becomes of each row, in order."""
        head, rows = open_rows(self._path, self._mapping.table, self._mapping.text, say)
        if is_json(self._path):
            head = self._head_of_json(say)
        messages = Messages(self._mapping, self._settings, head)
        for row in rows:
            yield messages.of(row)
        if messages.unseen:
            names = ", ".join(map(repr, sorted(messages.unseen)))
            raise UsageError(f"{self._path}: no object has a field {names}")

    def _head_of_json(self, say: Say) -> Head:
        rows: Iterator[Row] = open_rows(self._path, self._mapping.table, None, say)[1]
        return head_of_json(islice(rows, SAMPLE_ROWS), self._mapping, self._settings, str(self._path), say)

    def _stat(self) -> tuple[int, ...]:
        try:
            found = self._path.stat()
        except OSError as error:
            raise UsageError(f"{self._path} cannot be read ({error.strerror})") from error
        if not self._path.is_file():
            raise UsageError(f"{self._path} is no file: it is read twice, so save what comes from a pipe first")
        return found.st_ino, found.st_size, found.st_mtime_ns


def head_of_json(rows: Iterable[Row], mapping: Mapping, settings: WorkerSettings, source: str, say: Say) -> Head:
    """Where the texts of a file of JSON are, by its first `rows`; no field if they are where the worker looks."""
    if mapping.text is not None:
        return Head() if mapping.text == settings.text_field else Head(text=mapping.text)
    limits = Limits.of(settings)
    names: dict[str, None] = {}
    for row in rows:
        if not isinstance(row.content, bytes) or not isinstance(fields := read_json(row.content), dict):
            continue
        found = parse(Record("", 0, 0, -1, None, row.content), limits)
        if not isinstance(found, Fault) or found.detail is not Detail.MISSING:
            return Head()
        names |= dict.fromkeys(fields)
    return Head(text=guessed_text_column(source, list(names), None, say))


@dataclass(slots=True)
class Checked:
    """What the first reading found.

    Attributes:
        messages: number of rows that can be sent.
        last: number of the last row, of either kind.
        reasons: number of refused rows by their reason.
    """

    messages: int = 0
    last: int = 0
    reasons: Counter[str] = field(default_factory=Counter)

    @property
    def refused(self) -> int:
        """Number of rows that the worker or the brokers would refuse."""
        return self.reasons.total()
