"""What every format of reviews is read into, and the options that say how."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from consumer.errors import UsageError

#: Where a row stands: its number as a spreadsheet counts (from 1, rows above the header included), its line in a jsonl
#: file, its number in a json or parquet file, or the name of its file below a directory.
Place = int | str

#: The header row of a table that has none.
NO_HEADER = 0

#: The separator of a file of one column: a control character that no text holds.
NO_SEPARATOR = "\x1f"


@dataclass(frozen=True)
class TableOptions:
    """How tables are read. What is None is guessed, and a guess that may be wrong is reported.

    Args:
        sheet: name or number (from 1) of the sheet of a workbook.
        header_row: number of the row with the names of the columns; `NO_HEADER`: there is none, and columns are
            numbered from 1.
        separator: the character between the cells of a csv or tsv file; `NO_SEPARATOR`: it has one column.
        encoding: that of a text file, as Python names it.
        labels: labels that are renamed, old names to new ones.
    """

    sheet: str | None = None
    header_row: int | None = None
    separator: str | None = None
    encoding: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)


GUESSED = TableOptions()


class Percentage(float):
    """A number that a spreadsheet shows as a percentage: 0.25 is "25%"."""

    def __str__(self) -> str:
        """As the spreadsheet shows it, without trailing zeros."""
        return f"{float(self) * 100:.10g}%"


@dataclass(frozen=True)
class BadRow:
    """A row that was left out, and why."""

    row: Place
    reason: str

    def __str__(self) -> str:
        return f"{name_of(self.row)}: {self.reason}"


def name_of(place: Place) -> str:
    """How a row is named to the user."""
    return f"row {place}" if isinstance(place, int) else place


def _no_formulas(_column: str) -> frozenset[int]:
    return frozenset()


@dataclass(frozen=True)
class Table:
    """The cells of a file, as they are.

    `columns[name][i]` belongs to the row that `places[i]` names; of a wide file only the columns are there that may be
    needed, while `names` lists all of them (empty: the same). `broken` rows could not be split into cells.
    `formulas(column)` finds the rows whose cell in that column is a formula, which may take as long as reading did.
    `remarks` are decisions of the reader that the user should see, and `advice` ends a refusal for lack of a column.
    `sha256` is set if the table is of many files.
    """

    columns: dict[str, list[object]]
    places: list[Place]
    broken: tuple[BadRow, ...] = ()
    formulas: Callable[[str], frozenset[int]] = _no_formulas
    remarks: tuple[str, ...] = ()
    sha256: str | None = None
    names: tuple[str, ...] = ()
    advice: str = ""


def check_header(path: Path, names: Sequence[str]) -> None:
    """Raise `UsageError` if two columns have the same name: which of them is meant?"""
    repeated = next((name for name, count in Counter(names).items() if name and count > 1), None)
    if repeated is not None:
        raise UsageError(f"{path} has the column {repeated!r} twice: rename one of them")
