"""Texts to be labelled, one by one, out of files and standard input; of any length, but for xlsx and parquet."""

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from consumer.errors import UsageError
from training.data.columns import TEXT_NAMES, find_column
from training.data.readers import read_table
from training.data.streams import check_encoding, csv_rows, json_lines, quoting_of, separator_of, surplus
from training.data.table import BadRow, check_header
from training.io.names import check_utf8

STDIN = "-"

SUFFIXES = (".xlsx", ".csv", ".tsv", ".jsonl", ".parquet", ".txt")


@dataclass(frozen=True, slots=True)
class Row:
    """One text and where it stands: `row` counts lines from 1, in a table as a spreadsheet does (the header is 1).

    `text` is None if the row has none; `reason` says why if it is not simply empty. `others` are the other cells of the
    row, by the names of their columns.
    """

    source: str
    row: int
    text: Any
    reason: str | None = None
    others: dict[str, Any] = field(default_factory=dict)


def read_texts(source: str, column: str | None, say: Callable[[str], None] = lambda _: None) -> Iterator[Row]:
    """The texts of the file `source`, or of standard input (`-`, a text a line), in order, one at a time.

    A byte that is not UTF-8 becomes half a surrogate pair, which `Predictor` gives a reason for.

    Args:
        source: xlsx, csv and tsv with a header row; parquet; jsonl with an object or a string a line; txt with a text a
            line.
        column: name of the column or field that holds the text; default: one of `TEXT_NAMES`, or the only one.
        say: receives the name of the column if it was guessed among several.

    Raises:
        UsageError: the file cannot be read, lacks the column, or has a name that is not UTF-8.
    """
    check_utf8(source)
    if source == STDIN:
        yield from _lines(source, sys.stdin.buffer)
        return
    path = Path(source)
    suffix = path.suffix.lower()
    try:
        if path.is_dir():
            raise UsageError(f"{source} is a directory: give a file named {', '.join(SUFFIXES)}")
        if not path.is_file():
            raise UsageError(f"{source} does not exist")
        if suffix not in SUFFIXES:
            raise UsageError(f"{source}: supported are {', '.join(SUFFIXES)}; pipe in anything else, one text per line")
        if suffix in (".xlsx", ".parquet"):
            yield from _table(source, column, say)
            return
        if suffix == ".txt":
            check_encoding(path)
            with path.open("rb") as file:
                yield from _lines(source, file)
            return
        yield from (_jsonl if suffix == ".jsonl" else _csv)(source, column, say)
    except OSError as error:
        raise UsageError(f"{source} cannot be read ({error.strerror})") from error


def text_column(source: str, names: Sequence[str], wanted: str | None, say: Callable[[str], None]) -> int:
    """Which of the columns `names` holds the text; tells `say` if it was guessed among several.

    Raises:
        UsageError: `wanted` is not among them, or nothing tells which one it is.
    """
    name = _guessed(source, names, wanted, say)
    if name is not None:
        return names.index(name)
    found = ", ".join(map(repr, names)) or "none"
    if wanted is not None:
        raise UsageError(f"{source} lacks the column {wanted!r}; it has {found}")
    if len(names) == 1:
        return 0
    raise UsageError(f"{source} has the columns {found}: name the column of texts with --text-column")


def _guessed(source: str, names: Sequence[str], wanted: str | None, say: Callable[[str], None]) -> str | None:
    name = find_column(names, wanted, TEXT_NAMES)
    if name is not None and wanted is None and len(names) > 1:
        say(f"{source}: texts are read from {name!r}; choose another column with --text-column")
    return name


def _lines(source: str, file: Iterable[bytes]) -> Iterator[Row]:
    for number, line in enumerate(file, start=1):
        text = line.decode("utf-8-sig" if number == 1 else "utf-8", errors="surrogateescape")
        yield Row(source, number, text.rstrip("\r\n"))


def _jsonl(source: str, column: str | None, say: Callable[[str], None]) -> Iterator[Row]:
    """One field holds the texts of the whole file, as for `fit`, so it is read through first.

    Where an object lacks it, another field that is called like one is not its text.
    """
    path = Path(source)
    names = dict.fromkeys(name for _, value in json_lines(path) if isinstance(value, dict) for name in value)
    name = _guessed(source, list(names), column, say)
    absent = f"no field {column or name or 'of texts (as Reviews)'}"
    for number, value in json_lines(path):
        text, reason, others = value, None, dict[str, Any]()
        if isinstance(value, BadRow):
            text, reason = None, "not JSON"
        elif isinstance(value, dict):
            others = {key: cell for key, cell in value.items() if key != name}
            text, reason = (value[name], None) if name in value else (None, absent)
        yield Row(source, number, text, reason, others)


def _csv(source: str, column: str | None, say: Callable[[str], None]) -> Iterator[Row]:
    path = Path(source)
    place, names = None, list[str]()
    rows = csv_rows(path, separator_of(path), quoting_of(path))
    for number, cells in enumerate(rows, start=1):
        if place is None:
            if not any(cells):
                continue
            check_header(path, cells)
            place, names = text_column(source, cells, column, say), cells
        else:
            bad = surplus(number, cells, len(names))
            text = cells[place] if place < len(cells) and not bad else None
            others = {} if bad else dict(zip(names, cells, strict=False))
            others.pop(names[place], None)
            others.pop("", None)
            yield Row(source, number, text, bad.reason if bad else None, others)
    if place is None:
        raise UsageError(f"{source} is empty: it needs a header row")


def _table(source: str, column: str | None, say: Callable[[str], None]) -> Iterator[Row]:
    """Read at once; of a workbook the first sheet, where a formula without a stored result is an empty cell."""
    table = read_table(Path(source))
    names = list(table.columns)
    chosen = names[text_column(source, names, column, say)]
    others = [name for name in names if name != chosen]
    formula = "no text, or a formula" if source.lower().endswith(".xlsx") else None
    for index, (place, text) in enumerate(zip(table.places, table.columns[chosen], strict=True)):
        cells = {name: None if (cell := table.columns[name][index]) == "" else cell for name in others}
        yield Row(source, int(place), text, formula if text in ("", None) else None, cells)
