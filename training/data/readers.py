"""The formats that labelled reviews come in, by suffix; each becomes a `Table`.

Bytes that are not UTF-8 do not end the reading: they become lone surrogates (PEP 383), which
`training.data.reviews` finds in the row where they stand.
"""

import codecs
import csv
import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, TextIO

from consumer.errors import UsageError
from training.data.table import BadRow, Place, Table
from training.io.names import check_utf8

#: Class folder of aclImdb that holds no class.
UNLABELLED_FOLDER = "unsup"

#: Folders of aclImdb that are data sets of their own.
SPLITS = ("train", "test")

#: Columns of the table that a directory becomes; the stars are there where all names of files have them.
FILE_TEXT, FOLDER, STARS = "text of the file", "folder", "stars"

#: How aclImdb names its files: a number, and the stars that came with the review.
_NAME_WITH_STARS = re.compile(r"\d+_(\d+)\.txt")

#: Characters of the largest cell; csv's own limit of 131,072 is shorter than the longest reviews.
LARGEST_CELL = 2**31 - 1


def read_table(path: Path) -> Table:
    """Read `path` in the format that its suffix names, or as a directory of class folders.

    Raises:
        UsageError: it does not exist, has another suffix or a name that is not UTF-8, or cannot be read.
    """
    check_utf8(path.name)
    try:
        return _reader_of(path)(path)
    except UsageError:
        raise
    except Exception as error:  # zip, XML and parser errors of three libraries
        if reason := getattr(error, "strerror", None):  # the system's, not that of a library
            raise UsageError(f"{path} cannot be read ({reason})") from error
        raise UsageError(
            f"{path} cannot be read as {path.suffix or 'a directory'} ({type(error).__name__}): give a complete file"
        ) from error


def _reader_of(path: Path) -> Callable[[Path], Table]:
    if not path.exists():
        raise UsageError(f"{path} does not exist")
    if path.is_dir():
        return _directory
    if (suffix := path.suffix.lower()) in READERS:
        return READERS[suffix]
    if suffix == ".xls":
        raise UsageError(f"{path} is in Excel's format of before 2007: save it as .xlsx")
    raise UsageError(
        f"{path} cannot be read as {path.suffix or 'a file without suffix'}: give a file named "
        f"{', '.join(READERS)}, or a directory with a folder of .txt files for each label"
    )


def check_header(path: Path, names: Sequence[str]) -> None:
    """Raise `UsageError` where two columns have the same name: which of them is meant?"""
    if repeated := [name for name in dict.fromkeys(names) if name and names.count(name) > 1]:
        raise UsageError(f"{path} has the column {repeated[0]!r} twice: rename one of them")


def _xlsx(path: Path) -> Table:
    import pandas as pd
    from openpyxl.utils.escape import unescape

    with pd.ExcelFile(path, engine="openpyxl") as workbook:
        first, *others = (str(sheet.title) for sheet in workbook.book.worksheets)  # a chart may have a sheet of its own
        # No guessing of missing values: a review may well be the word "None". An empty cell is an empty string.
        header = next(workbook.book.worksheets[0].iter_rows(max_row=1, values_only=True), ())
        check_header(path, [str(name) for name in header if name is not None])
        frame = pd.read_excel(workbook, sheet_name=first, dtype=object, keep_default_na=False, na_filter=False)
    remarks = (f"only the first sheet, {first!r}, of {len(others) + 1} is read",) if others else ()
    # openpyxl leaves the escapes of characters that XML cannot hold: a carriage return in a cell is "_x000D_". (In the
    # table of shared strings it takes out what protects a text that really says so, which then becomes one as well.)
    names = [unescape(str(name)) for name in frame.columns]
    cells = frame.to_numpy(dtype=object).T.tolist()
    columns = {name: [unescape(c) if isinstance(c, str) else c for c in cells[i]] for i, name in enumerate(names)}
    return Table(columns, [*range(2, len(frame) + 2)], formulas=partial(_formula_rows, path, names), remarks=remarks)


def _formula_rows(path: Path, names: Sequence[str], column: str) -> frozenset[int]:
    """Rows whose cell is a formula. Without a stored result pandas cannot tell them from empty cells.

    `names` are those of the columns in their order: pandas names columns whose header is blank, or there twice.
    """
    import openpyxl

    with closing(openpyxl.load_workbook(path, read_only=True)) as workbook:
        sheet = workbook.worksheets[0]
        place = names.index(column) + 1
        cells = (row[0] for row in sheet.iter_rows(min_row=2, min_col=place, max_col=place))
        return frozenset(number for number, cell in enumerate(cells, start=2) if cell.data_type == "f")


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


def _separated(path: Path) -> Table:
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


def _jsonl(path: Path) -> Table:
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


def _parquet(path: Path) -> Table:
    import pyarrow.parquet

    check_header(path, pyarrow.parquet.read_schema(path).names)
    table = pyarrow.parquet.read_table(path)
    columns = {name: table.column(name).to_pylist() for name in table.column_names}
    return Table(columns, list(range(1, table.num_rows + 1)))


def _directory(path: Path) -> Table:
    """A directory in the layout of aclImdb: below it a folder of .txt files for each label, or a split with those."""
    classes = _class_folders(path)
    splits = [path / name for name in SPLITS if _class_folders(path / name)]
    if len(splits) + bool(classes) > 1:
        found = ", ".join(folder.name for folder in (*splits, *classes))
        raise UsageError(f"{path} holds {found}: name one of them, as in {splits[0]}")
    if splits:
        path, classes = splits[0], _class_folders(splits[0])
    if not classes:
        raise UsageError(f"{path} has no folders with .txt files; needed: one for each label, as pos/ and neg/")
    # By name of the file, not of the folder: a sample from the start of the table has every label.
    files = sorted((file for folder in classes for file in _texts(folder)), key=lambda f: (f.name, f.parent.name))
    names = [file.relative_to(path).as_posix() for file in files]
    contents = [file.read_bytes() for file in files]
    columns: dict[str, list[object]] = {
        FILE_TEXT: [_decoded(content) for content in contents],
        FOLDER: [file.parent.name for file in files],
    }
    stars = [named[1] for file in files if (named := _NAME_WITH_STARS.fullmatch(file.name))]
    if len(stars) == len(files):
        columns[STARS] = list(stars)
    return Table(columns, list(names), sha256=_files_sha256(zip(names, contents, strict=True)))


def _class_folders(path: Path) -> list[Path]:
    if not path.is_dir():
        return []
    folders = (folder for folder in sorted(path.iterdir()) if folder.is_dir() and folder.name != UNLABELLED_FOLDER)
    return [folder for folder in folders if not folder.name.startswith(".") and any(_texts(folder))]


def _texts(folder: Path) -> Iterator[Path]:
    """Its texts; what is hidden belongs to file systems and tools."""
    return (path for path in folder.glob("*.txt") if not path.name.startswith("."))


def _files_sha256(files: Iterable[tuple[str, bytes]]) -> str:
    """One SHA-256 for many files: of the lines "SHA-256 of the content, name"."""
    total = hashlib.sha256()
    for name, content in files:
        check_utf8(name)
        total.update(f"{hashlib.sha256(content).hexdigest()}  {name}\n".encode())
    return total.hexdigest()


def check_encoding(path: Path) -> None:
    """Raise `UsageError` where `path` is text in UTF-16, as Excel's "Unicode text" is, or in UTF-32."""
    with path.open("rb") as file:
        # In little endian UTF-32 begins as UTF-16 does.
        if file.read(4).startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_BE)):
            raise UsageError(f"{path} is UTF-16 or UTF-32: save it as UTF-8")


def _opened(path: Path, newline: str) -> TextIO:
    check_encoding(path)
    return path.open(encoding="utf-8-sig", errors="surrogateescape", newline=newline)


def _decoded(content: bytes) -> str:
    return content.decode("utf-8-sig", "surrogateescape")


READERS: dict[str, Callable[[Path], Table]] = {
    ".xlsx": _xlsx,
    ".csv": _separated,
    ".tsv": _separated,
    ".jsonl": _jsonl,
    ".parquet": _parquet,
}
