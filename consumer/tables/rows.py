"""Rows of a file one at a time, so that it may be larger than memory: for programs that pass a file on."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from consumer.errors import UsageError
from consumer.tables.files import format_of, lines_of, open_text, refusing
from consumer.tables.formats import GRIDS, JSON, PARQUET, SUPPORTED, check_compression
from consumer.tables.grids import WORKBOOKS, open_grid
from consumer.tables.json_files import is_list, json_lines, list_text
from consumer.tables.names import Say, text_column
from consumer.tables.table import BadRow, TableOptions, check_header

#: Rows of a parquet file that are in memory at once.
BATCH = 1024

#: The only column of a file with a text a line.
LINE = "text"

#: What a package is missing for, and the extra that brings it.
_EXTRAS = {"pyarrow": "parquet", "python_calamine": "workbooks"}


@dataclass(frozen=True, slots=True)
class Row:
    """A row: `number` counts as a spreadsheet does, lines of a text file from 1, rows of a parquet file from 1.

    `content` holds the cells by the names of their columns, the JSON of a line, or why it is no row.
    """

    number: int
    content: Mapping[str, Any] | bytes | BadRow


@dataclass(frozen=True, slots=True)
class Head:
    """The columns of a table, and the one that holds the texts. A file of JSON has none of both."""

    names: tuple[str, ...] = ()
    text: str | None = None


def is_json(path: Path) -> bool:
    """Whether `path` is named as a file of JSON objects."""
    return format_of(path) in JSON


def open_rows(path: Path, options: TableOptions, column: str | None, say: Say) -> tuple[Head, Iterator[Row]]:
    """The columns of `path`, and its rows; blank ones are left out.

    Args:
        path: a spreadsheet, csv or tsv file; parquet; jsonl or json; txt with a text a line.
        options: how tables are read.
        column: name of the column that holds the texts of a table; default: one of the usual names, or the only one.
        say: receives what was guessed, and what a spreadsheet hides.

    Raises:
        UsageError: the file cannot be read, or lacks the column; the iterator raises it as well.
    """
    steps = _steps(path, options, column, say)
    return next(steps), steps  # type: ignore[return-value] # the head is the first


def _steps(path: Path, options: TableOptions, column: str | None, say: Say) -> Iterator[Head | Row]:
    with refusing(path):
        if not path.is_file():
            raise UsageError(f"{path} is a directory" if path.is_dir() else f"{path} does not exist")
        check_compression(path)
        suffix = format_of(path)
        try:
            if suffix in GRIDS:
                yield from _grid(path, options, column, say)
            elif suffix in JSON:
                yield Head()
                yield from _json(path, options)
            elif suffix == PARQUET:
                yield from _parquet(path, column, say)
            elif suffix == ".txt":
                yield Head((LINE,), LINE)
                yield from _lines(path, options)
            else:
                raise UsageError(f"{path}: supported are {SUPPORTED}, .txt; .gz, .bz2 and .xz of those that are text")
        except ModuleNotFoundError as error:
            if (extra := _EXTRAS.get(str(error.name).partition(".")[0])) is None:
                raise
            raise UsageError(
                f"{path}: {suffix} files need a package that is not installed: run pip install "
                f"'review-consumer[{extra}]', or save the file as .csv"
            ) from None


def _grid(path: Path, options: TableOptions, column: str | None, say: Say) -> Iterator[Head | Row]:
    blank = None if format_of(path) in WORKBOOKS else ""
    with open_grid(path, options, None, column) as grid:
        for remark in grid.remarks:
            say(f"{path}: {remark}")
        names = grid.header.names
        text = names[text_column(str(path), names, column, say, grid.advice)]
        kept = [(index, name) for index, name in enumerate(names) if name == text or name not in grid.header.unnamed]
        yield Head(tuple(name for _, name in kept), text)
        for number, cells in grid.rows():
            if isinstance(cells, BadRow):
                yield Row(number, cells)
            elif cells:
                yield Row(number, {name: cells[i] if i < len(cells) else blank for i, name in kept})
        for remark in grid.remarks_after():
            say(f"{path}: {remark}")


def _json(path: Path, options: TableOptions) -> Iterator[Row]:
    if is_list(path, options.encoding):
        import jiter

        from consumer.records.writing import as_json

        try:
            elements = jiter.from_json(list_text(path, options.encoding).encode(), float_mode="lossless-float")
        except ValueError as error:
            raise UsageError(
                f"{path} is not a list in JSON: {error}: give a complete file, or one object a line"
            ) from None
        for number, element in enumerate(elements, start=1):
            yield Row(number, as_json(element))
        return
    for number, line in json_lines(path, options.encoding):
        if content := line.strip(" \t\r"):
            # Bytes that are not UTF-8 go back to what they were: whoever reads the JSON names them.
            yield Row(number, content.encode("utf-8", "surrogateescape"))


def _parquet(path: Path, column: str | None, say: Say) -> Iterator[Head | Row]:
    import pyarrow.parquet

    number = 0
    with pyarrow.parquet.ParquetFile(path) as file:
        names: list[str] = file.schema_arrow.names
        check_header(path, names)
        yield Head(tuple(names), names[text_column(str(path), names, column, say)])
        for batch in file.iter_batches(BATCH, use_threads=False):
            for cells in batch.to_pylist():
                number += 1
                yield Row(number, cells)


def _lines(path: Path, options: TableOptions) -> Iterator[Row]:
    with open_text(path, options.encoding, newline="\n") as file:
        for number, line in enumerate(lines_of(path, file), start=1):
            if text := line.rstrip("\r\n"):
                yield Row(number, {LINE: text})
