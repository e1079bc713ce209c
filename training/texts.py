"""Texts to be labelled, one by one, out of files of any length and standard input."""

import csv
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from consumer.errors import UsageError

STDIN = "-"

#: Columns that hold the text when none is named, the first that is there; compared in lower case.
TEXT_COLUMNS = ("reviews", "review", "text", "texts")

SUFFIXES = (".xlsx", ".csv", ".tsv", ".jsonl", ".parquet", ".txt")

#: Bytes that some editors put before UTF-8.
_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Row:
    """One text and where it stands: `row` counts lines from 1, in a table as a spreadsheet does (the header is 1).

    `text` is None where the row holds none, and `reason` says why where it is not simply empty.
    """

    source: str
    row: int
    text: Any
    reason: str | None = None


def read_texts(source: str, column: str | None) -> Iterator[Row]:
    """The texts of the file `source`, or of standard input (`-`, a text a line), in order, one at a time.

    A byte that is not UTF-8 becomes half a surrogate pair, which `Predictor` gives a reason for.

    Args:
        source: xlsx, csv and tsv with a header row; parquet; jsonl with an object or a string a line; txt with a text a
            line.
        column: name of the column or field that holds the text; default: one of `TEXT_COLUMNS`, or the only one.

    Raises:
        UsageError: the file cannot be read, or lacks the column.
    """
    if source == STDIN:
        yield from _lines(source, sys.stdin.buffer)
        return
    path = Path(source)
    if not path.is_file():
        raise UsageError(f"{source} does not exist")
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise UsageError(f"{source}: known are {', '.join(SUFFIXES)}; pipe anything else in as one text a line")
    try:
        if suffix == ".xlsx":
            yield from _xlsx(source, column)
            return
        if suffix == ".parquet":
            yield from _parquet(source, column)
            return
        with path.open("rb") as file:
            if file.read(2) in (b"\xff\xfe", b"\xfe\xff"):
                raise UsageError(f"{source} is UTF-16: save it as UTF-8")
            file.seek(0)
            if suffix == ".txt":
                yield from _lines(source, file)
            elif suffix == ".jsonl":
                yield from _jsonl(source, file, column)
            else:
                yield from _csv(source, file, "\t" if suffix == ".tsv" else ",", column)
    except OSError as error:
        raise UsageError(f"{source} cannot be read ({error.strerror})") from error


def text_column(source: str, names: Sequence[Any], wanted: str | None) -> int:
    """Which of the columns `names` holds the text.

    Raises:
        UsageError: `wanted` is not among them, or nothing tells which one it is.
    """
    found = ", ".join(repr(name) for name in names if name is not None) or "none"
    if wanted is not None:
        if wanted not in names:
            raise UsageError(f"{source} lacks the column {wanted!r}; it has {found}")
        return names.index(wanted)
    lowered = [str(name).strip().lower() for name in names]
    for candidate in TEXT_COLUMNS:
        if candidate in lowered:
            return lowered.index(candidate)
    if len(names) == 1:
        return 0
    raise UsageError(f"{source} has the columns {found}: say with --text-column which one holds the text")


def _decoded(lines: Iterable[bytes]) -> Iterator[str]:
    for number, line in enumerate(lines):
        yield (line.removeprefix(_MARK) if number == 0 else line).decode("utf-8", errors="surrogateescape")


def _lines(source: str, file: Iterable[bytes]) -> Iterator[Row]:
    for number, line in enumerate(_decoded(file), start=1):
        yield Row(source, number, line.rstrip("\r\n"))


def _jsonl(source: str, file: Iterable[bytes], column: str | None) -> Iterator[Row]:
    names = (column,) if column is not None else TEXT_COLUMNS
    for number, line in enumerate(_decoded(file), start=1):
        try:
            value = json.loads(line) if line.strip() else None
        except (ValueError, RecursionError):
            yield Row(source, number, None, "not JSON")
            continue
        if isinstance(value, dict):
            fields = value if column is not None else {key.lower(): field for key, field in value.items()}
            name = next((name for name in names if name in fields), None)
            if name is None:
                yield Row(source, number, None, f"no field {' or '.join(names)}")
                continue
            value = fields[name]
        yield Row(source, number, value)


def _csv(source: str, file: Iterable[bytes], separator: str, column: str | None) -> Iterator[Row]:
    csv.field_size_limit(sys.maxsize)  # the default refuses texts over 128 KiB
    rows = csv.reader(_decoded(file), delimiter=separator)
    place = None
    number = 1
    try:
        for number, cells in enumerate(rows, start=1):
            if place is None:
                place = text_column(source, cells, column)
            else:
                yield Row(source, number, cells[place] if place < len(cells) else None)
    except csv.Error as error:
        raise UsageError(
            f"{source} cannot be read after row {number} ({error}): is it a {separator!r} file?"
        ) from error
    if place is None:
        raise UsageError(f"{source} is empty: needed is a header row")


def _parquet(source: str, column: str | None) -> Iterator[Row]:
    """A batch at a time; rows count from 1, for there is no header row."""
    import pyarrow
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(source) as file:
            names = file.schema_arrow.names
            name = names[text_column(source, names, column)]
            number = 0
            for batch in file.iter_batches(columns=[name]):
                for number, text in enumerate(batch.column(0).to_pylist(), start=number + 1):  # noqa: B020
                    yield Row(source, number, text)
    except pyarrow.ArrowException as error:
        raise UsageError(
            f"{source} cannot be read as .parquet ({type(error).__name__}): give a complete file"
        ) from error


def _xlsx(source: str, column: str | None) -> Iterator[Row]:
    """The first sheet. A formula counts as the result that is stored with it; without one its cell is empty."""
    import openpyxl

    try:
        # Cell by cell: the sheet of a large file does not fit in memory as objects.
        with closing(openpyxl.load_workbook(source, read_only=True, data_only=True)) as workbook:
            place = None
            for number, cells in enumerate(workbook.worksheets[0].iter_rows(values_only=True), start=1):
                if place is None:
                    place = text_column(source, cells, column)
                    continue
                text = cells[place] if place < len(cells) else None
                yield Row(source, number, text, "no text, or a formula" if text is None else None)
    except UsageError:
        raise
    except Exception as error:  # zip, XML and key errors of three libraries
        raise UsageError(f"{source} cannot be read as .xlsx ({type(error).__name__}): give a complete file") from error
    if place is None:
        raise UsageError(f"{source} is empty: needed is a header row")
