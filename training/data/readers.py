"""The formats of labelled reviews; each becomes a `Table`. Workbooks and parquet files are read here as a whole.

csv, tsv and jsonl files are in `training.data.streams`, directories in `training.data.folders`.
"""

from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

from consumer.errors import UsageError
from training.data.folders import read_directory
from training.data.streams import read_jsonl, read_separated
from training.data.table import Table, check_header
from training.io.names import check_utf8


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
        return read_directory
    if (suffix := path.suffix.lower()) in READERS:
        return READERS[suffix]
    if suffix == ".xls":
        raise UsageError(f"{path} is in Excel's format of before 2007: save it as .xlsx")
    raise UsageError(
        f"{path} cannot be read as {path.suffix or 'a file without suffix'}: give a file named "
        f"{', '.join(READERS)}, or a directory with a folder of .txt files for each label"
    )


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


def _parquet(path: Path) -> Table:
    import pyarrow.parquet

    check_header(path, pyarrow.parquet.read_schema(path).names)
    table = pyarrow.parquet.read_table(path)
    columns = {name: table.column(name).to_pylist() for name in table.column_names}
    return Table(columns, list(range(1, table.num_rows + 1)))


READERS: dict[str, Callable[[Path], Table]] = {
    ".xlsx": _xlsx,
    ".csv": read_separated,
    ".tsv": read_separated,
    ".jsonl": read_jsonl,
    ".parquet": _parquet,
}
