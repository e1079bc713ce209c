"""Formats that are read row by row, so that a file may be larger than memory: csv, tsv and jsonl.

Bytes that are not UTF-8 do not end the reading: they become lone surrogates (PEP 383), which
`training.data.reviews` finds in the row that holds them.
"""

import codecs
import csv
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

from consumer.errors import UsageError
from training.data.table import BadRow, Place, Table, check_header

#: Characters of the largest cell; csv's own limit of 131,072 is shorter than the longest reviews.
LARGEST_CELL = 2**31 - 1


def separator_of(path: Path) -> str:
    """What stands between the cells of a csv or tsv file."""
    if path.suffix.lower() == ".tsv":
        return "\t"
    with _opened(path, newline="") as file:
        header = next((line for line in file if line.strip()), "")
    # Spreadsheets of countries with a decimal comma separate cells by semicolons, in files named csv all the same.
    return max(",;\t", key=header.count)


def quoting_of(path: Path) -> Any:
    """Whether a csv or tsv file quotes its cells; a tsv file is read through for it."""
    if path.suffix.lower() != ".tsv":
        return csv.QUOTE_MINIMAL
    try:
        spread = any("\t" in cell and "\n" in cell for cells in csv_rows(path, "\t") for cell in cells)
    except UsageError:  # many tsv files never quote: a quotation mark is a part of the text
        return csv.QUOTE_NONE
    # Two rows of such a file whose quotation marks happen to pair up look like one, with a tab and a line break in a
    # cell. The lines of a text that is really quoted have other numbers of tabs than the header.
    is_even = spread and len({len(cells) for cells in csv_rows(path, "\t", csv.QUOTE_NONE) if cells}) == 1
    return csv.QUOTE_NONE if is_even else csv.QUOTE_MINIMAL


def csv_rows(path: Path, separator: str, quoting: Any = csv.QUOTE_MINIMAL) -> Iterator[list[str]]:
    """The cells of each row, one row at a time, the header first.

    Raises:
        UsageError: a row cannot be split: one quotation mark in a wrong place would swallow the rows behind it.
    """
    csv.field_size_limit(LARGEST_CELL)
    number = 0
    with _opened(path, newline="") as file:
        rows = csv.reader(file, delimiter=separator, quoting=quoting, strict=True)
        try:
            for cells in rows:
                number += 1
                yield cells
        except csv.Error as error:
            raise UsageError(
                f"{path} cannot be read as {path.suffix}: row {number + 1} (which ends in line {rows.line_num}): "
                f"{error}: double the quotation marks inside of a quoted text"
            ) from None


def surplus(number: int, cells: Sequence[str], columns: int) -> BadRow | None:
    """What is wrong with the row `number`, if a cell beyond its `columns` holds something."""
    if not any(cells[columns:]):
        return None
    return BadRow(number, f"{len(cells)} cells under {columns} columns: a text is not quoted")


def read_separated(path: Path) -> Table:
    """A whole csv or tsv file; rows with a filled cell beyond the header are in `broken`."""
    rows = list(csv_rows(path, separator_of(path), quoting_of(path)))
    while rows and not rows[-1]:
        rows.pop()
    blank = next((number for number, cells in enumerate(rows) if any(cells)), 0)  # rows before the header
    names = rows[blank] if rows else []
    check_header(path, names)
    places: list[Place] = []
    whole: list[list[str]] = []
    broken: list[BadRow] = []
    for number, cells in enumerate(rows[blank + 1 :], start=blank + 2):
        if bad := surplus(number, cells, len(names)):
            broken.append(bad)
        else:
            places.append(number)
            whole.append(cells + [""] * (len(names) - len(cells)))
    columns: dict[str, list[object]] = {name: [cells[i] for cells in whole] for i, name in enumerate(names)}
    return Table(columns, places, tuple(broken))


def json_lines(path: Path) -> Iterator[tuple[int, Any]]:
    """Number (from 1) and value of each line, one at a time: None of a blank one, a `BadRow` where it is no JSON."""
    with _opened(path, newline="\n") as file:
        for number, line in enumerate(file, start=1):
            try:
                yield number, json.loads(line.removesuffix("\n")) if line.strip() else None
            except json.JSONDecodeError as error:
                yield number, BadRow(number, f"no JSON: {error.msg} at character {error.colno}")
            except (ValueError, RecursionError):  # a number of thousands of digits, or thousands of brackets
                yield number, BadRow(number, "no JSON: numbers or nesting out of bounds")


def read_jsonl(path: Path) -> Table:
    """A whole jsonl file; a field that a line lacks is None, and lines without a JSON object are in `broken`."""
    places: list[Place] = []
    records: list[dict[str, object]] = []
    broken: list[BadRow] = []
    for number, value in json_lines(path):
        if isinstance(value, dict):
            places.append(number)
            records.append(value)
        elif value is not None:
            broken.append(value if isinstance(value, BadRow) else BadRow(number, "no JSON object"))
    names = dict.fromkeys(name for record in records for name in record)
    return Table({name: [record.get(name) for record in records] for name in names}, places, tuple(broken))


def check_encoding(path: Path) -> None:
    """Raise `UsageError` if `path` is text in UTF-16, as Excel's "Unicode text" is, or in UTF-32."""
    with path.open("rb") as file:
        # In little endian UTF-32 begins as UTF-16 does.
        if file.read(4).startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_BE)):
            raise UsageError(f"{path} is UTF-16 or UTF-32: save it as UTF-8")


def _opened(path: Path, newline: str) -> TextIO:
    check_encoding(path)
    return path.open(encoding="utf-8-sig", errors="surrogateescape", newline=newline)
