"""Where the texts come from: arguments, a file or standard input. What is no text is a `Fault`, as in the worker."""

import csv
import io
import os
import stat
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from consumer.errors import UsageError
from consumer.model.text import is_blank
from consumer.records.fault import Detail, Fault, Reason
from consumer.records.parse import Limits, ParsedReview, parse
from consumer.records.record import Record
from consumer.service.logs import visible

#: Rows of a table that are labelled at once.
ROWS = 256
#: What one read takes from a file or a pipe, bytes.
READ_BYTES = 65_536
#: What is looked at to see what kind of file it is, bytes.
BEGINNING_BYTES = 1024
#: How a file begins that is none of ours, and what to do with it.
_OTHER_FILES = {
    b"PK\x03\x04": "is a spreadsheet or another archive; save it as CSV, or use review-training predict",
    b"PAR1": "is a Parquet file; use review-training predict",
    b"\x1f\x8b": "is compressed; decompress it first, as in: gunzip -c FILE | review-consumer label",
    b"\xff\xfe": "is UTF-16; save it as UTF-8",
    b"\xfe\xff": "is UTF-16; save it as UTF-8",
}


@dataclass(frozen=True, slots=True)
class Given:
    """One text: `row` counts arguments, lines or rows of a table from 1. With a `fault`, it cannot be labelled."""

    row: int
    text: str
    fault: Fault | None = None


#: Groups of texts, each as soon as it is there.
Groups = Iterator[Sequence[Given]]


def checked(row: int, text: str | bytes | None, limits: Limits) -> Given:
    """`text` as the worker would take it: UTF-8, not blank, not longer than it may be; None if it is missing."""
    if text is None:
        return Given(row, "", Fault(Reason.INVALID_TEXT, Detail.MISSING))
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
def of_file(name: str | None, kind: str | None, limits: Limits) -> Iterator[Groups]:
    """The texts of the file `name`, or of standard input.

    Args:
        name: None or "-" is standard input.
        kind: a key of `KINDS`; None: by the name of the file, else lines.
        limits: of the text, and the name of its column or field.

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
    except UnicodeDecodeError as error:
        raise UsageError(f"{shown} is not UTF-8; save it as UTF-8") from error
    except csv.Error as error:
        raise UsageError(f"{shown} is not valid CSV ({error}); write quotes within a quoted text twice") from error


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


def of_lines(stream: BinaryIO, limits: Limits) -> Groups:
    """A text a line, as soon as a line is there: whoever types or follows a log sees each label at once."""
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


def of_table(stream: BinaryIO, limits: Limits, delimiter: str = ",") -> Groups:
    """The column `text_field` of each row; rows are counted without the header."""
    csv.field_size_limit(4 * limits.max_text_characters)  # the limit of a text is checked row by row
    text = io.TextIOWrapper(stream, encoding="utf-8-sig", newline="")
    try:
        header = text.readline()
        if delimiter == "," and ";" in header and "," not in header:
            delimiter = ";"  # as spreadsheets write it where the comma is the decimal point
        (names,) = csv.reader([header], delimiter=delimiter) if header.strip() else ([],)
        if limits.text_field not in names:
            raise UsageError(
                f"there is no column {limits.text_field}; set --text-field to the one with the texts, of "
                f"{', '.join(map(visible, names)) or 'none: the first line is empty'}"
            )
        rows = enumerate(csv.DictReader(text, names, delimiter=delimiter), 1)
        while group := list(islice(rows, ROWS)):
            yield [checked(row, fields[limits.text_field], limits) for row, fields in group]
    finally:
        text.detach()


KINDS: dict[str, Callable[[BinaryIO, Limits], Groups]] = {
    "lines": of_lines,
    "jsonl": of_json_lines,
    "csv": of_table,
    "tsv": lambda stream, limits: of_table(stream, limits, "\t"),
}
BY_SUFFIX = {".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv", ".tsv": "tsv"}


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
