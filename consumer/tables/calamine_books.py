"""Workbooks of LibreOffice and of older Excel (.ods, .xls, .xlsb), through calamine, a reader written in Rust."""

from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from consumer.errors import UsageError
from consumer.tables.workbooks import Range, Sheet


@contextmanager
def other_sheets(path: Path) -> Iterator[list[Sheet]]:
    """The sheets of a workbook that have cells.

    Raises:
        UsageError: it is protected by a password.
    """
    import python_calamine as calamine

    try:
        workbook = calamine.load_workbook(path)
    except calamine.PasswordError:
        raise UsageError(f"{path} is protected by a password: save it without one") from None
    kept = calamine.SheetTypeEnum.WorkSheet
    yield [CalamineSheet(workbook, sheet) for sheet in workbook.sheets_metadata if sheet.typ == kept]


class CalamineSheet:
    """A sheet of which calamine tells the values, but neither formulas nor which rows are hidden."""

    hidden_rows: AbstractSet[int] = frozenset()
    merged: tuple[Range, ...] = ()

    def __init__(self, workbook: Any, sheet: Any) -> None:
        import python_calamine as calamine

        self._workbook = workbook
        self.title: str = sheet.name
        self.is_hidden: bool = sheet.visible != calamine.SheetVisibleEnum.Visible

    def rows(self) -> Iterator[tuple[int, list[Any]]]:
        """See `Sheet`."""
        sheet = self._workbook.get_sheet_by_name(self.title)
        self.merged = tuple(
            (first_row + 1, last_row + 1, first + 1, last + 1)
            for (first_row, first), (last_row, last) in sheet.merged_cell_ranges or ()
        )
        for number, row in enumerate(sheet.to_python(skip_empty_area=False), start=1):
            yield number, [_value(cell) for cell in row]

    def formula_rows(self, column: int) -> frozenset[int]:  # noqa: ARG002 - calamine does not tell
        """None is known."""
        return frozenset()


def _value(cell: Any) -> Any:
    """Blank cells are None; whole numbers lose the .0 that these formats give them."""
    if isinstance(cell, float) and cell.is_integer():
        return int(cell)
    return None if cell == "" else cell
