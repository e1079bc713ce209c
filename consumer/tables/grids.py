"""Tables whose header is one of their rows: spreadsheets, csv and tsv files, for labelled reviews and for texts."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from consumer.errors import UsageError
from consumer.tables.calamine_books import other_sheets
from consumer.tables.files import format_of
from consumer.tables.headers import SAMPLE_ROWS, Header, find_header, is_filled
from consumer.tables.names import Columns
from consumer.tables.separated import csv_rows, dialect_of, surplus
from consumer.tables.table import NO_HEADER, NO_SEPARATOR, BadRow, TableOptions
from consumer.tables.workbooks import Sheet, excel_sheets

#: How the sheets of a workbook are read, by its suffix.
WORKBOOKS: dict[str, Callable[[Path], Any]] = {
    ".xlsx": excel_sheets,
    ".xlsm": excel_sheets,
    ".ods": other_sheets,
    ".xls": other_sheets,
    ".xlsb": other_sheets,
}

Rows = Iterator[tuple[int, Sequence[Any]]]


@dataclass
class Grid:
    """A table with its header found.

    `sheet` is the sheet of a workbook, None of another file. `remarks` are what was guessed; `advice` ends a refusal
    because a column is missing. `read` and `hidden` count the rows that `rows` has given, and hidden ones among them.
    """

    header: Header
    all_rows: Callable[[], Rows]
    sheet: Sheet | None = None
    remarks: tuple[str, ...] = ()
    advice: str = ""
    read: int = 0
    hidden: int = 0

    def rows(self) -> Iterator[tuple[int, Sequence[Any] | BadRow]]:
        """Number and cells of each row below the header but for blank ones at the end; a `BadRow` has too many."""
        self.read = self.hidden = 0
        blank: list[tuple[int, Sequence[Any]]] = []
        for number, cells in _numbered(self.all_rows()):
            if number <= self.header.row:
                continue
            if not any(map(is_filled, cells)):
                blank.append((number, ()))
                continue
            self.read += len(blank) + 1
            self.hidden += self.sheet is not None and number in self.sheet.hidden_rows
            yield from blank
            blank = []
            yield number, (self.sheet is None and surplus(number, cells, self.header.width)) or cells

    def remarks_after(self) -> tuple[str, ...]:
        """What is known after the rows were read to the end."""
        if not self.hidden:
            return ()
        return (f"{self.hidden} of the {self.read} rows are hidden in the spreadsheet; they are read like the others",)


def formula_rows(path: Path, title: str, column: int) -> frozenset[int]:
    """Rows of the sheet `title` of a workbook whose cell in `column` (from 0) is a formula; it is opened again."""
    with WORKBOOKS[format_of(path)](path) as sheets:
        sheet: Sheet = next(each for each in sheets if each.title == title)
        return sheet.formula_rows(column)


@contextmanager
def open_grid(path: Path, options: TableOptions, wanted: Columns | None, text: str | None = None) -> Iterator[Grid]:
    """The table in `path`, a workbook, csv or tsv file.

    Args:
        path: the file.
        options: how it is read.
        wanted: the columns that labelled reviews are read from; None: only texts are.
        text: the column of the texts, if the user named it.

    Raises:
        UsageError: it has no header, or not the wanted sheet; or another sheet seems to be meant.
    """
    find = partial(find_header, path, wanted=wanted, given=options.header_row, text=text)
    if (workbook := WORKBOOKS.get(format_of(path))) is None:
        dialect = dialect_of(path, options)

        def lines() -> Rows:
            return enumerate(csv_rows(path, dialect, options.encoding), start=1)

        header = find(_start(lines()))
        separated = "" if dialect.separator == NO_SEPARATOR else f" ({dialect.separator!r} separates the cells)"
        doubtful = not header.is_usual or len(header.names) == 1
        advice = f"; if its cells are not separated rightly{separated}, give --separator" if doubtful else ""
        yield Grid(header, lines, remarks=header.remarks, advice=_advice(header, wanted) + advice)
        return
    with workbook(path) as sheets:
        sheet, remarks = _chosen(path, sheets, options.sheet)
        start = _start(sheet.rows())
        others = [each for each in sheets if each is not sheet and not each.is_hidden]
        if options.sheet is None and others and not _has_usual(find, start):
            for other in others:
                if _has_usual(find, _start(other.rows())):
                    raise UsageError(
                        f"{path}: only one sheet is read; the first, {sheet.title!r}, has no column named as texts "
                        f"are, but {other.title!r} has: choose it with --sheet"
                    )
        header = find(start)
        advice = "; choose another sheet with --sheet" if len(sheets) > 1 else ""
        yield Grid(header, sheet.rows, sheet, (*remarks, *header.remarks), _advice(header, wanted) + advice)


def _chosen(path: Path, sheets: Sequence[Sheet], wanted: str | None) -> tuple[Sheet, tuple[str, ...]]:
    """The sheet that is read, and what the user should know of the others."""
    if not sheets:
        raise UsageError(f"{path} has no sheet with cells")
    titles = [sheet.title for sheet in sheets]
    if wanted is not None:
        if wanted in titles:
            return sheets[titles.index(wanted)], ()
        if wanted.isdecimal() and 1 <= int(wanted) <= len(sheets):
            return sheets[int(wanted) - 1], ()
        raise UsageError(
            f"{path} lacks the sheet {wanted!r}; it has {', '.join(map(repr, titles))}: choose with --sheet"
        )
    shown = [sheet for sheet in sheets if not sheet.is_hidden] or list(sheets)
    if len(sheets) == 1:
        return shown[0], ()
    first = "first" if shown[0] is sheets[0] else "first visible"
    hidden = sum(sheet.is_hidden for sheet in sheets)
    counted = f"{len(sheets)}" + (f" ({hidden} hidden)" if hidden else "")
    return shown[0], (f"only the {first} sheet, {shown[0].title!r}, of {counted} is read; choose another with --sheet",)


def _has_usual(
    find: Callable[[Sequence[tuple[int, Sequence[Any]]]], Header], start: list[tuple[int, Sequence[Any]]]
) -> bool:
    try:
        return find(start).is_usual
    except UsageError:
        return False


def _start(rows: Rows) -> list[tuple[int, Sequence[Any]]]:
    return list(islice(rows, SAMPLE_ROWS))


def _numbered(rows: Iterable[tuple[int, Sequence[Any]]]) -> Rows:
    """`rows` with those that a workbook leaves out because they are blank."""
    expected = 1
    for number, cells in rows:
        for missing in range(expected, number):
            yield missing, ()
        yield number, cells
        expected = number + 1


def _advice(header: Header, wanted: Columns | None) -> str:
    """What ends a refusal because the header names no known column."""
    if header.is_usual or header.row == NO_HEADER:
        return ""
    numbered = "--text-column 1 --label-column 2" if wanted else "--text-column 1"
    return (
        f"; if row {header.row} is not the header, give --header-row N, or --header-row none and the numbers of "
        f"columns, as in {numbered}"
    )
