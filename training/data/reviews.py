"""A file of labelled reviews, made fit for training: read, cleaned, checked, deduplicated."""

import datetime
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from consumer.errors import UsageError
from consumer.tables.names import FILE_TEXT, FOLDER, USUAL, Columns
from consumer.tables.table import GUESSED, BadRow, Percentage, Place, Table, TableOptions, name_of
from consumer.tables.text_values import NO_TEXT, NOT_UNICODE, other_kind, text_or_reason
from training.data.columns import STAR_COLUMNS, as_label, check_labels, choose_columns, in_order
from training.data.readers import read_table

#: Share of the rows that may be broken, as by a byte that is not UTF-8. Above it the file is of another encoding.
MAX_BROKEN = 0.01

#: Columns that need no remark when they were found without being named.
EXPECTED = (Columns("Reviews", "Sentiment"), Columns(FILE_TEXT, FOLDER))


@dataclass(frozen=True)
class Reviews:
    """Labelled texts of one file: `texts[i]` has the label `labels[i]` and stands in the row that `places[i]` names.

    `sha256` is that of the file, in hex (of a directory: of the names and contents of its files); `columns` are those
    that were read; `remarks` tell what the reader decided by itself; `stars[i]` is given where the file has stars.
    """

    path: Path
    sha256: str
    texts: tuple[str, ...]
    labels: tuple[str, ...]
    bad_rows: tuple[BadRow, ...] = ()
    places: tuple[Place, ...] = ()
    columns: Columns = USUAL
    remarks: tuple[str, ...] = ()
    stars: tuple[str, ...] | None = None

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def label_names(self) -> tuple[str, ...]:
        """The distinct labels, `in_order`: index i names the i-th logit of a model trained on them."""
        return tuple(in_order(self.labels))

    def place(self, index: int) -> str:
        """Where `texts[index]` stands in the file, for people."""
        return name_of(self.places[index] if self.places else index + 1)

    def only(self, rows: Iterable[int]) -> "Reviews":
        """The same file reduced to `rows`, indices into `texts`."""
        kept = list(rows)
        return replace(
            self,
            texts=tuple(self.texts[i] for i in kept),
            labels=tuple(self.labels[i] for i in kept),
            places=tuple(self.places[i] for i in kept) if self.places else (),
            stars=self.stars and tuple(self.stars[i] for i in kept),
        )


def read_reviews(
    path: Path, columns: Columns = USUAL, *, learned: bool = True, options: TableOptions = GUESSED
) -> Reviews:
    """Read `path`, a file or directory of labelled reviews.

    Texts stay as they are: each model cleans them by its own rules.

    Rows that cannot be used, for they lack text or label or hold bytes that are not UTF-8, are left out and listed in
    `bad_rows`.

    Args:
        path: in one of the formats of `training.data.readers`.
        columns: where texts and labels are; default: `Reviews` and `Sentiment`, or other usual names.
        learned: whether there have to be enough labels and rows to learn from; one row is enough to measure on.
        options: how the table is read, and which labels are renamed.

    Raises:
        UsageError: the file cannot be read, lacks a column, is of another encoding, or its labels cannot be learned.
    """
    table = read_table(path, columns, options)
    _check_broken(path, table, table.broken)
    chosen = Columns(*choose_columns(path, table, columns))
    texts, labels, places, bad = _usable(table, chosen, path)
    if not texts:
        raise UsageError(f"{path} has no usable row" + (f" ({bad[0]})" if bad else ": it is empty"))
    labels = [options.labels.get(label, label) for label in labels]
    check_labels(path, labels, str(chosen.label), learned=learned)
    remarks = table.remarks
    if chosen not in (columns, *EXPECTED):
        remarks += (f"texts are read from the column {chosen.text!r}, labels from {chosen.label!r}",)
    return Reviews(
        path,
        table.sha256 or file_sha256(path),
        tuple(texts),
        tuple(labels),
        tuple(bad),
        tuple(places),
        chosen,
        remarks,
        _stars(table, chosen, places),
    )


def _stars(table: Table, chosen: Columns, places: Sequence[Place]) -> tuple[str, ...] | None:
    """The stars of the rows `places`, where `table` has a column of them beside the chosen ones."""
    others = (name for name in table.columns if name not in (chosen.text, chosen.label))
    column = next((name for name in others if name.strip().casefold() in STAR_COLUMNS), None)
    if column is None:
        return None
    of_place = dict(zip(table.places, table.columns[column], strict=True))
    return tuple(as_label(_string(of_place[place])) for place in places)


def _usable(table: Table, chosen: Columns, path: Path) -> tuple[list[str], list[str], list[Place], list[BadRow]]:
    text_cells, label_cells = table.columns[str(chosen.text)], table.columns[str(chosen.label)]
    texts: list[str] = []
    labels: list[str] = []
    places: list[Place] = []
    bad: list[BadRow] = []
    broken = list(table.broken)
    for place, text_cell, label_cell in zip(table.places, text_cells, label_cells, strict=True):
        (text, reason), label = text_or_reason(text_cell), as_label(_string(label_cell))
        if isinstance(label_cell, list | dict):
            raise UsageError(
                f"{path}: {BadRow(place, 'the label is a list')}; several labels per text cannot be learned here: give "
                "one label per text"
            )
        not_utf8 = _not_utf8(_string(text_cell)) if reason == NOT_UNICODE else _not_utf8(label)
        if not_utf8:
            broken.append(BadRow(place, not_utf8))
        elif text is None:
            bad.append(BadRow(place, str(reason)))
        elif kind := _no_label(label_cell):
            bad.append(BadRow(place, f"the label is {kind}"))
        elif not label:
            bad.append(BadRow(place, "no label"))
        else:
            texts.append(text)
            labels.append(label)
            places.append(place)
    _check_broken(path, table, broken)
    return texts, labels, places, _in_order(broken + _with_formulas(bad, table, chosen))


def _check_broken(path: Path, table: Table, broken: Sequence[BadRow]) -> None:
    if len(broken) > MAX_BROKEN * (len(table.places) + len(table.broken)):
        raise UsageError(
            f"{path} cannot be read as {path.suffix or 'text'}: {len(broken)} rows are broken, first {broken[0]}; "
            "save the whole file again, as UTF-8, or name its --encoding or --separator"
        )


def _no_label(cell: object) -> str | None:
    """What a spreadsheet made of a label, if it is no longer the one that was typed; TRUE and FALSE may be labels."""
    spoiled = isinstance(cell, datetime.date | datetime.time | datetime.timedelta | Percentage) and cell == cell  # noqa: PLR0124
    return other_kind(cell) if spoiled else None


def _string(cell: object) -> str:
    """The text of a cell; a missing value, which differs from itself, is an empty one."""
    if isinstance(cell, list | dict | bytes):
        return ""
    return "" if cell is None or cell != cell else str(cell)  # noqa: PLR0124


def _not_utf8(text: str) -> str | None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        code = ord(text[error.start])
        # How undecodable bytes were kept by the reader; others are halves of characters, as in "\ud83d".
        what = f"byte {code - 0xDC00:#04x}" if 0xDC80 <= code <= 0xDCFF else "half a character"
        return f"not UTF-8: {what} at character {error.start + 1}"
    return None


def _with_formulas(bad: list[BadRow], table: Table, chosen: Columns) -> list[BadRow]:
    """Say of empty cells which ones are formulas."""
    for column, reason, formula in (
        (chosen.text, NO_TEXT, "a formula: the text starts with '='"),
        (chosen.label, "no label", "the label is a formula without a stored result"),
    ):
        if any(row.reason == reason for row in bad):
            formulas = table.formulas(str(column))
            bad = [
                BadRow(row.row, formula) if (row.reason, row.row in formulas) == (reason, True) else row for row in bad
            ]
    return bad


def _in_order(bad: Iterable[BadRow]) -> list[BadRow]:
    return sorted(bad, key=lambda row: (row.row if isinstance(row.row, int) else 0, str(row.row)))


def draw(reviews: Reviews, limit: int | None, seed: int) -> Reviews:
    """`limit` of the rows, drawn with `seed`, in their order; not the first ones, for a file may be sorted by label."""
    return reviews if limit is None else reviews.only(drawn(len(reviews), limit, seed))


def drawn(rows: int, limit: int, seed: int) -> list[int]:
    """At most `limit` of the numbers of `rows` rows, drawn with `seed`, ascending."""
    return sorted(np.random.default_rng(seed).permutation(rows)[:limit].tolist())


def file_sha256(path: Path) -> str:
    """SHA-256 of the file at `path`, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
