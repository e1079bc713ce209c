"""The formats of predictions: text, jsonl, csv and tsv are written row by row, xlsx and parquet at the end."""

import csv
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path
from typing import IO, Any, Protocol

from consumer.errors import UsageError
from training.data.texts import Row
from training.predictor import Outcome

#: The format of an output file, by the suffix of its name.
FORMAT_OF_SUFFIX = {
    ".jsonl": "jsonl",
    ".csv": "csv",
    ".tsv": "tsv",
    ".txt": "text",
    ".xlsx": "xlsx",
    ".parquet": "parquet",
}

FORMATS = tuple(FORMAT_OF_SUFFIX.values())

#: Formats that cannot be read before the last row is written.
AT_THE_END = ("xlsx", "parquet")

#: Rows of a worksheet.
MOST_XLSX_ROWS = 1_048_576


@dataclass(frozen=True)
class Layout:
    """What a line holds besides the prediction: the text if `with_text`, and the input `columns`.

    `with_member`: also which model of a cascade answered.
    """

    classes: tuple[str, ...]
    columns: tuple[str, ...] = ()
    with_text: bool = False
    with_member: bool = False

    @property
    def header(self) -> list[str]:
        """Names of the cells of a table; an input column whose name is taken gets `input_` in front of it."""
        header = ["file", "row", "label", "score", *self.classes, "unsure", "unknown", "tokens", "truncated", "reason"]
        header += ["member"] if self.with_member else []
        for name in [*(["text"] if self.with_text else []), *self.columns]:
            header.append(next(free for n in count() if (free := "input_" * n + name) not in header))
        return header

    def cells(self, row: Row, outcome: Outcome) -> list[Any]:
        """The cells of a table, in the order of `header`."""
        probabilities = outcome.probabilities or {}
        cells = [row.source, row.row, outcome.label, outcome.score, *(probabilities.get(name) for name in self.classes)]
        cells += [outcome.unsure, outcome.unknown, outcome.tokens, outcome.truncated, outcome.reason]
        cells += [outcome.member] if self.with_member else []
        return cells + ([row.text] if self.with_text else []) + [row.others.get(name) for name in self.columns]

    def as_json(self, row: Row, outcome: Outcome) -> str:
        """One object with all of it; input columns are in an object of their own."""
        found: dict[str, Any] = {"file": row.source, "row": row.row} | asdict(outcome)
        if not self.with_member:
            del found["member"]
        if self.with_text:
            found["text"] = row.text
        if row.others:
            found["columns"] = row.others
        return json.dumps(found, default=str)


class Writer(Protocol):
    """Writes predictions."""

    def write(self, row: Row, outcome: Outcome) -> None:
        """Write that of one text."""
        ...

    def finish(self) -> None:
        """Write what can be written only at the end."""
        ...


def format_of(out: Path | None, wanted: str | None) -> str:
    """The format to write: the `wanted` one, or that of the name of `out`; text without either.

    Raises:
        UsageError: the name says another format than the one that is wanted, or none that is known; or the format
            needs a file.
    """
    suffix = out.suffix.lower() if out else ""
    named = FORMAT_OF_SUFFIX.get(suffix)
    if wanted is None and named is None and suffix and out and (out.is_file() or not out.exists()):
        raise UsageError(f"--out {out}: name a file with {', '.join(FORMAT_OF_SUFFIX)}, or the format with --format")
    found = wanted or named or "text"
    if found != named and (named in AT_THE_END or (found in AT_THE_END and suffix)):
        raise UsageError(f"--out {out} would hold {found} under that name: change --format or the name")
    if found in AT_THE_END and (out is None or (out.exists() and not out.is_file())):
        raise UsageError(f"{found} is written to a file: name one with --out")
    return found


def writer(format_name: str, file: IO[Any], layout: Layout) -> Writer:
    """Writes `format_name` to `file`, which is binary for the formats `AT_THE_END`."""
    if format_name == "text":
        return _Lines(file, lambda _row, outcome: as_text(outcome))
    if format_name == "jsonl":
        return _Lines(file, layout.as_json)
    if format_name in AT_THE_END:
        return (_Xlsx if format_name == "xlsx" else _Parquet)(file, layout)
    return _Separated(file, layout, "\t" if format_name == "tsv" else ",")


def as_text(outcome: Outcome) -> str:
    """Label, tab, score and, if it is unsure, tab, "unsure"; without a label a dash and the reason."""
    if outcome.label is None:
        return f"-\t{outcome.reason}"
    return f"{outcome.label}\t{outcome.score:.4f}" + ("\tunsure" if outcome.unsure else "")


class _Lines:
    def __init__(self, file: IO[str], line: Callable[[Row, Outcome], str]) -> None:
        self._file, self._line = file, line

    def write(self, row: Row, outcome: Outcome) -> None:
        print(self._line(row, outcome), file=self._file)

    def finish(self) -> None:
        pass


class _Separated:
    def __init__(self, file: IO[str], layout: Layout, separator: str) -> None:
        self._layout = layout
        self._table = csv.writer(file, delimiter=separator, lineterminator="\n")
        self._table.writerow(layout.header)

    def write(self, row: Row, outcome: Outcome) -> None:
        self._table.writerow(self._layout.cells(row, outcome))

    def finish(self) -> None:
        pass


class _Xlsx:
    def __init__(self, file: IO[bytes], layout: Layout) -> None:
        from openpyxl import Workbook

        self._file, self._layout, self._rows = file, layout, 1
        self._book = Workbook(write_only=True)
        self._sheet = self._book.create_sheet("predictions")
        self._append(layout.header)

    def write(self, row: Row, outcome: Outcome) -> None:
        self._rows += 1
        if self._rows > MOST_XLSX_ROWS:
            raise UsageError(f"a worksheet has at most {MOST_XLSX_ROWS} rows: write csv, jsonl or parquet")
        self._append(self._layout.cells(row, outcome))

    def finish(self) -> None:
        self._book.save(self._file)

    def _append(self, cells: Sequence[Any]) -> None:
        from openpyxl.cell import WriteOnlyCell
        from openpyxl.utils.escape import escape

        written: list[Any] = []
        for value in cells:
            if isinstance(value, str):
                cell = WriteOnlyCell(self._sheet, escape(value))
                cell.data_type = "s"  # a text that begins with "=" is not a formula
                written.append(cell)
            else:
                plain = value is None or isinstance(value, (bool, int, float)) or hasattr(value, "isoformat")
                written.append(value if plain else str(value))
        self._sheet.append(written)


class _Parquet:
    def __init__(self, file: IO[bytes], layout: Layout) -> None:
        self._file, self._layout = file, layout
        self._rows: list[list[Any]] = []

    def write(self, row: Row, outcome: Outcome) -> None:
        self._rows.append(self._layout.cells(row, outcome))

    def finish(self) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        columns = zip(*self._rows, strict=True) if self._rows else ([] for _ in self._layout.header)
        pq.write_table(pa.table([_arrow(list(cells)) for cells in columns], names=self._layout.header), self._file)


def _arrow(cells: list[Any]) -> Any:
    """A column of one type; cells of several types, as a spreadsheet has them, become text."""
    import pyarrow as pa

    try:
        return pa.array(cells)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError):
        return pa.array([None if cell is None else str(cell) for cell in cells])
