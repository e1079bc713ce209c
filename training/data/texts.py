"""Texts to be labelled, one by one, out of files and standard input; of any length, except for lists in json files."""

import io
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from consumer.errors import UsageError
from consumer.tables.files import format_of, lines_of, open_text, refusing
from consumer.tables.formats import GRIDS, JSON, PARQUET, SUPPORTED, check_compression
from consumer.tables.grids import WORKBOOKS, open_grid
from consumer.tables.json_files import json_values
from consumer.tables.names import Say, guessed_text_column, text_column
from consumer.tables.table import GUESSED, BadRow, TableOptions, check_header
from training.io.names import check_utf8

STDIN = "-"

#: Rows of a parquet file that are in memory at once.
_BATCH = 1024


@dataclass(frozen=True, slots=True)
class Row:
    """One text and where it stands: `row` counts lines from 1, in a table as a spreadsheet does.

    `text` is None if the row has none; `reason` says why if it is not simply empty. `others` are the other cells of the
    row, by the names of their columns.
    """

    source: str
    row: int
    text: Any
    reason: str | None = None
    others: dict[str, Any] = field(default_factory=dict)


def read_texts(
    source: str,
    column: str | None,
    say: Say = lambda _: None,
    options: TableOptions = GUESSED,
    *,
    with_others: bool = True,
) -> Iterator[Row]:
    """The texts of the file `source`, or of standard input (`-`, a text a line), in order, one at a time.

    A byte that is not UTF-8 becomes half a surrogate pair, which `Predictor` gives a reason for.

    Args:
        source: a spreadsheet, csv or tsv file; parquet; jsonl or json with objects or strings; txt with a text a line.
        column: name of the column or field that holds the text; default: one of `TEXT_NAMES`, or the only one.
        say: receives what was guessed, and what a spreadsheet hides.
        options: how tables are read.
        with_others: whether the other cells of a row are wanted.

    Raises:
        UsageError: the file cannot be read, lacks the column, or has a name that is not UTF-8.
    """
    check_utf8(source)
    if source == STDIN:
        piped = io.TextIOWrapper(sys.stdin.buffer, options.encoding or "utf-8-sig", "surrogateescape", newline="\n")
        try:
            yield from _lines(source, lines_of(Path("standard input"), piped))
        finally:
            piped.detach()
        return
    path = Path(source)
    suffix = format_of(path)
    with refusing(path):
        if path.is_dir():
            raise UsageError(f"{source} is a directory: give a file named {SUPPORTED}, .txt")
        if not path.is_file():
            raise UsageError(f"{source} does not exist")
        check_compression(path)
        if suffix in GRIDS:
            yield from _grid(path, column, say, options)
        elif suffix in JSON:
            yield from _json(path, column, say, options)
        elif suffix == PARQUET:
            yield from _parquet(path, column, say, with_others)
        elif suffix == ".txt":
            with open_text(path, options.encoding, newline="\n") as file:
                yield from _lines(source, lines_of(path, file))
        else:
            raise UsageError(f"{source}: supported are {SUPPORTED}, .txt; pipe in anything else, one text per line")


def _lines(source: str, lines: Iterable[str]) -> Iterator[Row]:
    for number, line in enumerate(lines, start=1):
        yield Row(source, number, line.rstrip("\r\n"))


def _json(path: Path, column: str | None, say: Say, options: TableOptions) -> Iterator[Row]:
    """One field holds the texts of the whole file, as for `fit`, so it is read through first.

    Where an object lacks it, another field that is called like one is not its text.
    """
    source = str(path)
    values = json_values(path, options)
    names = dict.fromkeys(name for _, value in values if isinstance(value, dict) for name in value)
    name = guessed_text_column(source, list(names), column, say)
    absent = f"no field {column or name or 'of texts (as Reviews)'}"
    for number, value in json_values(path, options):
        text, reason, others = value, None, dict[str, Any]()
        if isinstance(value, BadRow):
            text, reason = None, "not JSON"
        elif isinstance(value, dict):
            others = {key: cell for key, cell in value.items() if key != name}
            text, reason = (value[name], None) if name in value else (None, absent)
        yield Row(source, number, text, reason, others)


def _grid(path: Path, column: str | None, say: Say, options: TableOptions) -> Iterator[Row]:
    """A formula without a stored result is an empty cell."""
    source = str(path)
    no_text = "no text, or a formula" if format_of(path) in WORKBOOKS else None
    with open_grid(path, options, None, column) as grid:
        for remark in grid.remarks:
            say(f"{source}: {remark}")
        names = grid.header.names
        place = text_column(source, names, column, say, grid.advice)
        others = [(i, name) for i, name in enumerate(names) if i != place and name not in grid.header.unnamed]
        for number, cells in grid.rows():
            if isinstance(cells, BadRow):
                yield Row(source, number, None, cells.reason)
                continue
            text = cells[place] if place < len(cells) else None
            found = {name: cells[i] for i, name in others if i < len(cells)}
            yield Row(source, number, text, no_text if text in ("", None) else None, found)
        for remark in grid.remarks_after():
            say(f"{source}: {remark}")


def _parquet(path: Path, column: str | None, say: Say, with_others: bool) -> Iterator[Row]:
    import pyarrow.parquet

    source, number = str(path), 0
    with pyarrow.parquet.ParquetFile(path) as file:
        names: list[str] = file.schema_arrow.names
        check_header(path, names)
        text = names[text_column(source, names, column, say)]
        for batch in file.iter_batches(_BATCH, columns=names if with_others else [text]):
            for cells in batch.to_pylist():
                number += 1
                yield Row(source, number, cells.pop(text), None, cells)
