"""Workbooks of Excel (.xlsx, .xlsm): their sheets, and the rows of a sheet with what only the spreadsheet shows."""

import mmap
import warnings
import zipfile
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from consumer.errors import UsageError
from consumer.tables.table import Percentage

#: What files begin with that Excel encrypted, and workbooks of before 2007.
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"

#: Namespace of the Strict variant, in which openpyxl finds no sheet.
_STRICT = b"http://purl.oclc.org/ooxml/"

#: Bytes that a workbook may have when it is unpacked; a small file can hold any number of them.
LARGEST_WORKBOOK = 2**32

#: First and last row, first and last column, all from 1.
Range = tuple[int, int, int, int]


class Sheet(Protocol):
    """A sheet of a workbook."""

    @property
    def title(self) -> str:
        """Its name."""
        ...

    @property
    def is_hidden(self) -> bool:
        """Whether Excel does not show it."""
        ...

    def rows(self) -> Iterator[tuple[int, list[Any]]]:
        """The number of each row and its cells, from the first column; blank ones are None."""
        ...

    @property
    def hidden_rows(self) -> AbstractSet[int]:
        """Numbers of the rows, of those that were read, that a filter or a person has hidden."""
        ...

    @property
    def merged(self) -> tuple[Range, ...]:
        """Cells that are shown as one, whose content is in the first; known after `rows` has come to its end."""
        ...

    def formula_rows(self, column: int) -> frozenset[int]:
        """Numbers of the rows whose cell in `column` (from 0) is a formula."""
        ...


@contextmanager
def excel_sheets(path: Path) -> Iterator[list[Sheet]]:
    """The sheets of a workbook that have cells.

    Raises:
        UsageError: it is encrypted, in the Strict variant, of before 2007, or too large.
    """
    _check(path)
    import openpyxl

    with quiet():
        workbook = openpyxl.load_workbook(path, read_only=True, data_only=True)
    try:
        # A chart may have a sheet of its own.
        yield [ExcelSheet(workbook, sheet) for sheet in workbook.worksheets]
    finally:
        workbook.close()


@contextmanager
def quiet() -> Iterator[None]:
    """Without the warnings of openpyxl, which are about formats and rules that matter to no reader of texts."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="openpyxl")
        yield


class ExcelSheet:
    """A sheet that is read with openpyxl's own parser.

    Its public `iter_rows` trusts the stored size of the sheet, which other programs get wrong, and knows neither hidden
    rows nor merged cells unless the whole workbook is in memory.
    """

    def __init__(self, workbook: Any, sheet: Any) -> None:
        self._workbook, self._sheet = workbook, sheet
        self._hidden: set[int] = set()
        self._merged: tuple[Range, ...] = ()

    @property
    def title(self) -> str:
        """See `Sheet`."""
        return str(self._sheet.title)

    @property
    def is_hidden(self) -> bool:
        """See `Sheet`."""
        return bool(self._sheet.sheet_state != "visible")

    @property
    def hidden_rows(self) -> AbstractSet[int]:
        """See `Sheet`."""
        return self._hidden

    @property
    def merged(self) -> tuple[Range, ...]:
        """See `Sheet`."""
        return self._merged

    def rows(self) -> Iterator[tuple[int, list[Any]]]:
        """See `Sheet`."""
        for number, cells in self._parsed(data_only=True):
            row: list[Any] = []
            for cell in cells:
                row += [None] * (cell["column"] - len(row))
                row[cell["column"] - 1] = self._value(cell)
            yield number, row

    def formula_rows(self, column: int) -> frozenset[int]:
        """See `Sheet`."""
        return frozenset(
            number
            for number, cells in self._parsed(data_only=False)
            if any(cell["data_type"] == "f" and cell["column"] == column + 1 for cell in cells)
        )

    def _parsed(self, *, data_only: bool) -> Iterator[tuple[int, list[dict[str, Any]]]]:
        from openpyxl.worksheet._reader import WorkSheetParser

        book, sheet = self._workbook, self._sheet
        with sheet._get_source() as source:
            formats: dict[str, Any] = {
                "epoch": book.epoch,
                "date_formats": book._date_formats,
                "timedelta_formats": book._timedelta_formats,
            }
            parser: Any = WorkSheetParser(source, sheet._shared_strings, data_only=data_only, **formats)
            rows = parser.parse()
            while True:
                with quiet():
                    row = next(rows, None)
                if row is None:
                    break
                attributes = parser.row_dimensions.pop(str(row[0]), {})
                if attributes.get("hidden") in ("1", "true"):
                    self._hidden.add(row[0])
                yield row
            cells = parser.merged_cells.mergeCell if parser.merged_cells else ()
            self._merged = tuple((each.min_row, each.max_row, each.min_col, each.max_col) for each in cells)

    def _value(self, cell: dict[str, Any]) -> Any:
        from openpyxl.utils.escape import unescape

        value, kind = cell["value"], cell["data_type"]
        if kind == "e":  # as #N/A: the formula has no result
            return None
        if isinstance(value, str):
            # openpyxl leaves the escapes of characters that XML cannot hold: a carriage return in a cell is "_x000D_".
            # (In the table of shared strings it takes out what protects a text that really says so, which then becomes
            # one as well.)
            return unescape(value)
        if kind == "n" and value is not None and cell["style_id"] in self._percentages:
            return Percentage(value)
        return value

    @cached_property
    def _percentages(self) -> frozenset[int]:
        """Styles that show a number as a percentage."""
        from openpyxl.styles.numbers import BUILTIN_FORMATS

        book = self._workbook
        formats = {number: str(name) for number, name in BUILTIN_FORMATS.items()}
        formats |= {164 + number: str(name) for number, name in enumerate(book._number_formats)}
        return frozenset(
            number for number, style in enumerate(book._cell_styles) if "%" in formats.get(style.numFmtId, "")
        )


def _check(path: Path) -> None:
    with path.open("rb") as file:
        if file.read(len(_OLE)) == _OLE:
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                is_encrypted = content.find("EncryptedPackage".encode("utf-16-le")) >= 0
            if is_encrypted:
                raise UsageError(f"{path} is protected by a password: save it without one")
            raise UsageError(f"{path} is in Excel's format of before 2007: name it .xls, or save it as .xlsx")
    with zipfile.ZipFile(path) as archive:
        if sum(part.file_size for part in archive.infolist()) > LARGEST_WORKBOOK:
            raise UsageError(f"{path} unpacks to more than {LARGEST_WORKBOOK} bytes: save it as .csv")
        try:
            with archive.open("xl/workbook.xml") as part:
                is_strict = _STRICT in part.read(2**14)
        except KeyError:
            return
    if is_strict:
        raise UsageError(f"{path} is Strict Open XML: save it as an ordinary Excel workbook (.xlsx)")
