"""Which row of a table names its columns: titles may stand above it, and some tables have none.

A guess that could be wrong is reported with the option that corrects it, so no row is lost silently.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from consumer.errors import UsageError
from consumer.tables.names import LABEL_NAMES, SHOWN_NAME, TEXT_NAMES, Columns, find_column
from consumer.tables.table import NO_HEADER, check_header

#: Rows at the start of a table that are looked at, and those of them among which a header is looked for.
SAMPLE_ROWS, HEADER_ROWS = 200, 20

#: The longest name of a column, in words and characters, for a row that may as well be a text.
_NAME_WORDS, _NAME_CHARACTERS = 3, 40

Row = tuple[int, Sequence[object]]


@dataclass(frozen=True)
class Header:
    """The names of the columns, and the number of the row that they stand in (`NO_HEADER`: they are numbers).

    A column without a name has its number, from 1, as a name and is in `unnamed`. `width` is the number of cells of the
    header row itself; `remarks` are what was guessed. `is_usual` tells whether one of the names is a usual or a wanted
    one.
    """

    row: int
    names: list[str]
    width: int
    unnamed: frozenset[str] = frozenset()
    remarks: tuple[str, ...] = ()
    is_usual: bool = True


def find_header(
    path: Path, sample: Sequence[Row], wanted: Columns | None, given: int | None, text: str | None
) -> Header:
    """The header of a table that starts with the rows `sample`.

    Args:
        path: the file, for messages.
        sample: the first rows, blank ones included.
        wanted: the columns that labelled reviews are read from; None: only texts are read.
        given: the number of the row, if the user named it.
        text: name of the column of texts, if the user named it.

    Raises:
        UsageError: there is no filled row, the `given` row is blank, or two columns have the same name.
    """
    rows = [(number, _trimmed(cells)) for number, cells in sample if any(map(is_filled, cells))]
    if not rows:
        raise UsageError(f"{path} is empty: it lacks the column of texts")
    columns = max(len(cells) for _, cells in rows)
    if given == NO_HEADER:
        return Header(NO_HEADER, [str(number) for number in range(1, columns + 1)], columns)
    if given is not None:
        cells = next((cells for number, cells in rows if number == given), None)
        if cells is None:
            raise UsageError(f"--header-row {given}: {path} has no filled row of this number at its start")
        return _named(path, (given, cells), columns, [])
    return _guessed(path, rows, columns, wanted, text)


def _guessed(path: Path, rows: Sequence[Row], columns: int, wanted: Columns | None, text: str | None) -> Header:
    """The first row with usual names that can be the header; else the first row that is not a title."""
    top = list(rows[:HEADER_ROWS])
    filled = [sum(map(is_filled, cells)) for _, cells in rows]
    is_wide = median(filled) > 1  # then a lone cell is a title
    text, label = (wanted.text, wanted.label) if wanted else (text, None)
    known = [_known(cells, text, label, labelled=wanted is not None) for _, cells in top]

    def may_be_below(place: int) -> bool:
        """Whether a row with one usual name may have titles above it; a text, too, may be the word "content"."""
        if is_wide:
            return all(above < filled[place] for above in filled[:place])
        return place == 1 and top[1][0] > top[0][0] + 1  # a blank row is between them

    places = [place for place in range(len(top)) if filled[place] > 1 or not is_wide]
    both = (place for place in places if known[place] == 2)
    one = (place for place in places if known[place] and (place == 0 or may_be_below(place)))
    if (found := next(both, next(one, 0 if known[0] else None))) is not None:
        return _named(path, top[found], columns, [number for number, _ in rows[:found]])
    if columns == 1:
        return _of_one_column(rows, labelled=wanted is not None)
    first = next(iter(places), 0)
    return _named(path, top[first], columns, [number for number, _ in rows[:first]], is_usual=False)


def _known(cells: Sequence[object], text: str | None, label: str | None, *, labelled: bool) -> int:
    """How many of the columns of texts and labels have their usual or wanted names; labels alone do not name texts."""
    names = [_name(cell) for cell in cells]
    has_text, has_label = find_column(names, text, TEXT_NAMES), find_column(names, label, LABEL_NAMES)
    if not labelled and has_text is None:
        return 0
    return (has_text is not None) + (has_label is not None)


def _of_one_column(rows: Sequence[Row], *, labelled: bool) -> Header:
    """The first row of a list of texts is the first text, unless it looks like a name and the others do not."""
    (number, (first, *_)), *others = rows
    alike = sum(_is_like_name(cells[0]) for _, cells in others)
    shown = repr(_shown(_name(first)))
    if labelled or not others or (_is_like_name(first) and 2 * alike < len(others)):
        remark = f"row {number} ({shown}) is taken as the header; if it is a text, give --header-row none"
        return Header(number, [_name(first)], 1, remarks=(remark,), is_usual=False)
    remark = f"row {number} ({shown}) is read as a text, not as a header; if it is one, give --header-row {number}"
    return Header(NO_HEADER, ["1"], 1, remarks=(remark,), is_usual=False)


def _named(path: Path, row: Row, columns: int, above: Sequence[int], *, is_usual: bool = True) -> Header:
    number, cells = row
    check_header(path, [_name(cell) for cell in cells])
    names = [_name(cell) for cell in cells] + [""] * (columns - len(cells))
    unnamed = [i for i, name in enumerate(names) if not name.strip()]
    for i in unnamed:
        names[i] = next(name for name in (str(i + 1), f"column {i + 1}") if name not in names)
    remarks: tuple[str, ...] = ()
    if above:
        rows = f"row {above[0]} is" if len(above) == 1 else f"the {len(above)} filled rows above it are"
        remarks = (f"row {number} is taken as the header and {rows} not read; choose another with --header-row",)
    return Header(number, names, len(cells), frozenset(names[i] for i in unnamed), remarks, is_usual)


def _trimmed(cells: Sequence[object]) -> Sequence[object]:
    """`cells` without blank ones at the end."""
    return cells[: max((i + 1 for i, cell in enumerate(cells) if is_filled(cell)), default=0)]


def is_filled(cell: object) -> bool:
    """Whether something can be seen in `cell`."""
    return cell is not None and bool(str(cell).strip())


def _name(cell: object) -> str:
    return "" if cell is None else str(cell)


def _shown(name: str) -> str:
    return name if len(name) <= SHOWN_NAME else f"{name[:SHOWN_NAME]}…"


def _is_like_name(cell: object) -> bool:
    name = _name(cell).strip()
    return len(name) <= _NAME_CHARACTERS and len(name.split()) <= _NAME_WORDS and not name.endswith((".", "!", "?"))
