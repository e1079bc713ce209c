"""What every format of labelled reviews is read into."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from consumer.errors import UsageError

#: Where a row stands: its number as a spreadsheet counts (the header is row 1), its line in a jsonl file, its number
#: in a parquet file, or the name of its file below a directory.
Place = int | str


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

    `columns[name][i]` belongs to the row that `places[i]` names. `broken` rows could not be split into cells.
    `formulas(column)` finds the rows whose cell in that column is a formula, which may take as long as reading did.
    `remarks` are decisions of the reader that the user should see. `sha256` is set where the table is of many files.
    """

    columns: dict[str, list[object]]
    places: list[Place]
    broken: tuple[BadRow, ...] = ()
    formulas: Callable[[str], frozenset[int]] = _no_formulas
    remarks: tuple[str, ...] = ()
    sha256: str | None = None


def check_header(path: Path, names: Sequence[str]) -> None:
    """Raise `UsageError` if two columns have the same name: which of them is meant?"""
    if repeated := [name for name in dict.fromkeys(names) if name and names.count(name) > 1]:
        raise UsageError(f"{path} has the column {repeated[0]!r} twice: rename one of them")
