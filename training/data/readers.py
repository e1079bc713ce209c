"""The formats of labelled reviews; each becomes a `Table`.

Spreadsheets, csv and tsv files are in `consumer.tables.grids`, json in `consumer.tables.json_files`, directories in
`training.data.folders`.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from consumer.errors import UsageError
from consumer.tables.files import format_of, refusing
from consumer.tables.formats import GRIDS, JSON, PARQUET, SUPPORTED, check_compression
from consumer.tables.grids import Grid, formula_rows, open_grid
from consumer.tables.headers import SAMPLE_ROWS
from consumer.tables.json_files import read_json
from consumer.tables.names import TEXT_NAMES, USUAL, Columns, find_column
from consumer.tables.table import GUESSED, BadRow, Place, Table, TableOptions, check_header
from training.data.columns import needed_columns
from training.data.folders import read_directory
from training.io.names import check_utf8


def read_table(path: Path, wanted: Columns = USUAL, options: TableOptions = GUESSED) -> Table:
    """Read `path` in the format that its suffix names, or as a directory of class folders.

    Args:
        path: the file or directory.
        wanted: where texts and labels are; of a wide file other columns are not read.
        options: how it is read.

    Raises:
        UsageError: it does not exist, has another suffix or a name that is not UTF-8, or cannot be read.
    """
    check_utf8(path.name)
    with refusing(path):
        if not path.exists():
            raise UsageError(f"{path} does not exist")
        if path.is_dir():
            return read_directory(path, options.encoding)
        suffix = format_of(path)
        check_compression(path)
        if suffix in GRIDS:
            with open_grid(path, options, wanted) as grid:
                return _grid_table(path, grid, wanted)
        if suffix in JSON:
            return read_json(path, options)
        if suffix == PARQUET:
            return _parquet(path, wanted)
    raise UsageError(
        f"{path} cannot be read as {path.suffix or 'a file without suffix'}: give a file named "
        f"{SUPPORTED}, or a directory with a folder of .txt files for each label"
    )


def _grid_table(path: Path, grid: Grid, wanted: Columns) -> Table:
    names = grid.header.names
    needed = needed_columns(names, wanted)
    places: list[Place] = []
    broken: list[BadRow] = []
    kept: dict[str, list[object]] = {name: [] for name in names if needed is None or name in needed}
    indices = [(names.index(name), cells) for name, cells in kept.items()]
    for number, cells in grid.rows():
        if isinstance(cells, BadRow):
            broken.append(cells)
            continue
        places.append(number)
        for index, column in indices:
            column.append(cells[index] if index < len(cells) else "" if grid.sheet is None else None)
    remarks = grid.remarks + grid.remarks_after()
    if filled := _fill_merged(grid, names, kept, places, wanted):
        remarks += (f"{filled} cells that are merged with the one above have its content",)

    def formulas(column: str) -> frozenset[int]:
        return formula_rows(path, grid.sheet.title, names.index(column)) if grid.sheet else frozenset()

    return Table(kept, places, tuple(broken), formulas, remarks, names=tuple(names), advice=grid.advice)


def _fill_merged(
    grid: Grid, names: Sequence[str], columns: dict[str, list[object]], places: Sequence[Place], wanted: Columns
) -> int:
    """Give merged cells the content that the spreadsheet shows in them; texts are not repeated. Returns how many."""
    text = find_column(names, wanted.text, TEXT_NAMES)
    index_of = {place: index for index, place in enumerate(places)}
    filled = 0
    for first_row, last_row, first, last in grid.sheet.merged if grid.sheet else ():
        for name in names[first - 1 : last]:
            if name == text or name not in columns or first_row not in index_of:
                continue
            content = columns[names[first - 1]] if names[first - 1] in columns else columns[name]
            for row in range(first_row + 1, last_row + 1):
                if row in index_of and columns[name][index_of[row]] is None:
                    columns[name][index_of[row]] = content[index_of[first_row]]
                    filled += 1
    return filled


def _parquet(path: Path, wanted: Columns) -> Table:
    import pyarrow.parquet

    with pyarrow.parquet.ParquetFile(path) as file:
        names: list[str] = file.schema_arrow.names
        check_header(path, names)
        needed = needed_columns(names, wanted)
        table: Any
        if needed is None and len(names) > 2:  # one is missing: the start is enough to say what there is instead
            flat = [field.name for field in file.schema_arrow if not field.type.num_fields]
            table = next(file.iter_batches(SAMPLE_ROWS, columns=flat), None)
        else:
            table = file.read(columns=[name for name in names if needed is None or name in needed])
        columns = {name: table.column(name).to_pylist() for name in table.schema.names} if table else {}
        rows = table.num_rows if table else 0
    return Table(columns, list(range(1, rows + 1)), names=tuple(names))
