"""Where the texts come from: arguments, a file or standard input. What is no text is a `Fault`, as in the worker."""

import io
import logging
import os
import stat
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from consumer.errors import UsageError
from consumer.model.texts.cleaning import is_blank
from consumer.records.fault import Detail, Fault, Reason
from consumer.records.parse import Limits, ParsedReview, parse
from consumer.records.record import Record
from consumer.service.logs import visible
from consumer.tables.files import format_of
from consumer.tables.formats import GRIDS, PARQUET
from consumer.tables.rows import Row, open_rows
from consumer.tables.table import TableOptions
from consumer.tables.text_values import NO_TEXT, text_or_reason

log = logging.getLogger(__name__)

#: Rows of a table that are labelled at once.
ROWS = 256
#: What one read takes from a file or a pipe, bytes.
READ_BYTES = 65_536
#: What is looked at to see what kind of file it is, bytes.
BEGINNING_BYTES = 1024
#: How a file begins that is none of ours, and what to do with it.
_OTHER_FILES = {
    b"PK\x03\x04": "is a spreadsheet or another archive; give it as --file with a name that ends in .xlsx",
    b"PAR1": "is a Parquet file; give it as --file with a name that ends in .parquet",
    b"\x1f\x8b": "is compressed; decompress it first, as in: gunzip -c FILE | review-consumer label",
    b"\xff\xfe": "is UTF-16; save it as UTF-8",
    b"\xfe\xff": "is UTF-16; save it as UTF-8",
}


@dataclass(frozen=True, slots=True)
class Given:
    """One text: `row` counts arguments or lines from 1, rows of a table as a spreadsheet does.

    With a `fault`, it cannot be labelled; `detail` is what the fault itself does not say.
    """

    row: int
    text: str
    fault: Fault | None = None
    detail: str = ""


#: Groups of texts, each as soon as it is there.
Groups = Iterator[Sequence[Given]]


def checked(row: int, text: str | bytes, limits: Limits) -> Given:
    """`text` as the worker would take it: UTF-8, not blank, not longer than it may be."""
    try:
        decoded = text.decode() if isinstance(text, bytes) else text
        decoded.encode()  # an argument that is not UTF-8 has lone surrogates
    except UnicodeError:
        return Given(row, "", Fault(Reason.INVALID_TEXT, Detail.INVALID_UTF8))
    if is_blank(decoded):
        return Given(row, decoded, Fault(Reason.EMPTY_TEXT))
    fault = Fault(Reason.TEXT_TOO_LONG) if len(decoded) > limits.max_text_characters else None
    return Given(row, decoded, fault)


def of_arguments(texts: Sequence[str], limits: Limits) -> Groups:
    """The texts of the command line.

    Raises:
        UsageError: the only one is the name of a file.
    """
    if len(texts) == 1 and len(texts[0]) < 256 and Path(texts[0]).is_file():
        raise UsageError("the text is the name of a file; to label the texts in it, write --file before its name")
    return iter([[checked(row, text, limits) for row, text in enumerate(texts, 1)]])


@contextmanager
def of_stream(name: str | None, kind: str | None, limits: Limits) -> Iterator[Groups]:
    """The texts of the text file `name`, or of standard input.

    Args:
        name: None or "-" is standard input.
        kind: a key of `KINDS`; None: by the name of the file, else lines.
        limits: of the text, and the name of its field.

    Raises:
        UsageError: it cannot be read, or is not of this kind.
    """
    shown = "standard input" if name in {None, "-"} else visible(str(name))
    try:
        with open_bytes(name) as stream:
            kind = kind or BY_SUFFIX.get(Path(name or "").suffix.lower(), "lines")
            if is_regular(stream):  # a pipe may have nothing yet
                check_beginning(shown, stream.peek(BEGINNING_BYTES)[:BEGINNING_BYTES])
            yield KINDS[kind](stream, limits)
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            raise
        raise UsageError(f"{shown} cannot be read ({error.strerror}); name a readable file") from error


def is_regular(stream: io.BufferedReader) -> bool:
    """Whether it is a file on a disk, not a pipe or a terminal."""
    return stat.S_ISREG(os.fstat(stream.fileno()).st_mode)


def check_beginning(shown: str, beginning: bytes) -> None:
    """Check that the file does not begin as one does that cannot be read here.

    Raises:
        UsageError: what to do with it instead.
    """
    for magic, problem in _OTHER_FILES.items():
        if beginning.startswith(magic):
            raise UsageError(f"{shown} {problem}")
    if b"\0" in beginning:
        raise UsageError(f"{shown} is not a text file; name one in UTF-8")


@contextmanager
def open_bytes(name: str | None) -> Iterator[io.BufferedReader]:
    """The file, or standard input, which stays open."""
    if name is None or name == "-":
        if sys.stdin is None:
            raise UsageError("there is no standard input; give texts as arguments, or set --file")
        yield sys.stdin.buffer  # type: ignore[misc]
        return
    with Path(name).open("rb") as file:
        yield file


def is_table(name: str | None, kind: str | None) -> bool:
    """Whether the texts are a column of the file `name`."""
    return kind is None and name not in {None, "-"} and format_of(Path(str(name))) in {*GRIDS, PARQUET}


def of_lines(stream: BinaryIO, limits: Limits) -> Groups:
    """One text per line, as soon as a line is there: whoever types or follows a log sees each label at once."""
    first = 1
    for lines in _lines(stream, limits):
        yield [checked(row, line.removesuffix(b"\r"), limits) for row, line in enumerate(lines, first)]
        first += len(lines)


def of_json_lines(stream: BinaryIO, limits: Limits) -> Groups:
    """The field `text_field` of each line, read as the worker reads the value of a record; empty lines are none."""
    first = 1
    for lines in _lines(stream, limits):
        yield [_of_json(row, line, limits) for row, line in enumerate(lines, first) if line.strip()]
        first += len(lines)


def of_table(path: Path, column: str | None, options: TableOptions, limits: Limits) -> Groups:
    """The texts in a column of a spreadsheet, csv, tsv or parquet file, read as `produce` and training read it.

    Raises:
        UsageError: the file cannot be read, or lacks the column.
    """
    head, rows = open_rows(path, options, column, log.warning)

    def groups() -> Groups:
        while group := list(islice(rows, ROWS)):
            yield [_of_row(row, str(head.text), limits) for row in group]

    return groups()


KINDS: dict[str, Callable[[BinaryIO, Limits], Groups]] = {"lines": of_lines, "jsonl": of_json_lines}
BY_SUFFIX = {".jsonl": "jsonl", ".ndjson": "jsonl"}


def _of_row(row: Row, column: str, limits: Limits) -> Given:
    if not isinstance(row.content, Mapping):
        return Given(row.number, "", Fault(Reason.INVALID_TEXT), str(getattr(row.content, "reason", "")))
    text, why = text_or_reason(row.content[column])
    if text is not None:
        return checked(row.number, text, limits)
    if why == NO_TEXT:
        return Given(row.number, "", Fault(Reason.EMPTY_TEXT))
    return Given(row.number, "", Fault(Reason.INVALID_TEXT), why or "")


def _of_json(row: int, line: bytes, limits: Limits) -> Given:
    review = parse(Record("", 0, row, -1, None, line), limits)
    return Given(row, review.text) if isinstance(review, ParsedReview) else Given(row, "", review)


def _lines(stream: BinaryIO, limits: Limits) -> Iterator[list[bytes]]:
    """What each read completes. Of a line that is too long, only so much is kept that this shows."""
    most = max(limits.max_record_bytes, 4 * limits.max_text_characters)
    rest, is_first = b"", True
    while chunk := stream.read1(READ_BYTES):  # type: ignore[attr-defined]
        *whole, rest = (rest + chunk).split(b"\n")
        if whole and is_first:
            whole[0], is_first = whole[0].removeprefix(b"\xef\xbb\xbf"), False
        if whole:
            yield whole
        rest = rest[: most + 1]
    if rest:
        yield [rest.removeprefix(b"\xef\xbb\xbf") if is_first else rest]
