"""csv and tsv files, row by row, so that a file may be larger than memory.

Bytes that are not UTF-8 do not end the reading: they become lone surrogates (PEP 383), which `training.data.reviews`
finds in the row that holds them.
"""

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path
from typing import Any

from consumer.errors import UsageError
from consumer.tables.files import LONGEST, format_of, lines_of, name_of_format, open_text
from consumer.tables.names import LABEL_NAMES, TEXT_NAMES, find_column
from consumer.tables.table import BadRow, TableOptions

#: Lines at the start of a file, and characters of them, from which the separator is guessed.
SAMPLE_LINES, SAMPLE_CHARACTERS = 200, 2**20

#: Separators that are tried, the likeliest first. Spreadsheets of countries with a decimal comma separate cells by
#: semicolons, in files named csv all the same.
SEPARATORS = ",;\t|"

#: Rows in which the names of the columns may stand, below a title.
_NAMED_ROWS = 20

#: Excel's own hint in the first line, which it does not show as a row.
_HINT = re.compile(r'"?sep=(.)"?\1*\s*', re.IGNORECASE)


@dataclass(frozen=True)
class Dialect:
    """How the cells of a file are separated and quoted.

    Args:
        separator: the character between two cells.
        quoting: one of the constants of `csv`.
        blanks: whether blanks may stand between a separator and a quotation mark.
        hint: whether the first line is no row, but names the separator.
    """

    separator: str
    quoting: Any = csv.QUOTE_MINIMAL
    blanks: bool = False
    hint: bool = False


def dialect_of(path: Path, options: TableOptions) -> Dialect:
    """What `options` and the first lines of `path` say; a tsv file is read through to see whether it quotes."""
    with open_text(path, options.encoding, newline="") as file:
        sample = _sample(lines_of(path, file))
    hint = _HINT.fullmatch(sample[0]) if sample else None
    rows = sample[1:] if hint else sample
    is_tsv = format_of(path) == ".tsv"
    separator = options.separator or (hint and hint[1]) or ("\t" if is_tsv else _guessed(rows))
    dialect = Dialect(separator, blanks=_has_blanks(rows, separator), hint=hint is not None)
    return replace(dialect, quoting=_tsv_quoting(path, dialect, options.encoding)) if is_tsv else dialect


def csv_rows(path: Path, dialect: Dialect, encoding: str | None) -> Iterator[list[str]]:
    """The cells of each row, one row at a time.

    Raises:
        UsageError: a row cannot be split: one quotation mark in a wrong place would swallow the rows behind it.
    """
    csv.field_size_limit(LONGEST)
    number = 0
    with open_text(path, encoding, newline="") as file:
        lines = islice(lines_of(path, file), int(dialect.hint), None)
        rows = csv.reader(
            lines,
            delimiter=dialect.separator,
            quoting=dialect.quoting,
            skipinitialspace=dialect.blanks,
            strict=True,
        )
        try:
            for cells in rows:
                number += 1
                yield cells
        except csv.Error as error:
            raise UsageError(
                f"{path} cannot be read as {name_of_format(path)}: row {number + 1} (which ends in line "
                f"{rows.line_num + dialect.hint}): {error}: double the quotation marks inside of a quoted text, take "
                f"out blanks after it, or, if the cells are not separated by {dialect.separator!r}, give --separator"
            ) from None


def surplus(number: int, cells: Sequence[object], columns: int) -> BadRow | None:
    """What is wrong with the row `number`, if a cell beyond its `columns` holds something."""
    if not any(cells[columns:]):
        return None
    return BadRow(number, f"{len(cells)} cells under {columns} columns: a text is not quoted")


def _sample(lines: Iterator[str]) -> list[str]:
    sample: list[str] = []
    left = SAMPLE_CHARACTERS
    for line in islice(lines, SAMPLE_LINES):
        sample.append(line[:left])
        left -= len(line)
        if left <= 0:
            break
    return sample


def _guessed(sample: Sequence[str]) -> str:
    """The separator that gives columns of usual names, or else rows of one width; a comma if there is one column."""

    def fit(separator: str) -> tuple[bool, float]:
        rows = [cells for cells in _parsed(sample, separator) if any(cells)]
        several = [cells for cells in rows if len(cells) > 1]
        if not several:
            return False, 0.0
        width = max(set(map(len, several)), key=[len(cells) for cells in several].count)
        is_named = any(map(_is_usual, chain(*(cells for cells in rows[:_NAMED_ROWS] if len(cells) > 1))))
        return is_named, sum(len(cells) == width for cells in rows) / len(rows)

    best = max(SEPARATORS, key=fit)
    first = next((line.strip().strip('"') for line in sample if line.strip()), "")
    return SEPARATORS[0] if _is_usual(first) and not fit(best)[0] else best


def _is_usual(cell: str) -> bool:
    return find_column([cell], None, (*TEXT_NAMES, *LABEL_NAMES)) is not None


def _parsed(sample: Sequence[str], separator: str, **how: Any) -> list[list[str]]:
    csv.field_size_limit(LONGEST)
    return list(csv.reader(sample, delimiter=separator, **how))


def _has_blanks(sample: Sequence[str], separator: str) -> bool:
    """Whether cells have blanks before their quotation mark, which would make the mark a part of the text."""
    if not any(
        cell.startswith(" ") and cell.lstrip(" ").startswith('"') for row in _parsed(sample, separator) for cell in row
    ):
        return False
    try:
        _parsed(sample[:-1], separator, skipinitialspace=True, strict=True)  # the last line may be a part of a row
    except csv.Error as error:
        return "unexpected end" in str(error)
    return True


def _tsv_quoting(path: Path, dialect: Dialect, encoding: str | None) -> Any:
    """Whether a tsv file quotes its cells."""
    separator = dialect.separator
    try:
        spread = any(
            separator in cell and "\n" in cell for cells in csv_rows(path, dialect, encoding) for cell in cells
        )
    except UsageError:  # many tsv files never quote: a quotation mark is a part of the text
        return csv.QUOTE_NONE
    # Two rows of such a file whose quotation marks happen to pair up look like one, with a tab and a line break in a
    # cell. The lines of a text that is really quoted have other numbers of tabs than the header.
    unquoted = replace(dialect, quoting=csv.QUOTE_NONE)
    is_even = spread and len({len(cells) for cells in csv_rows(path, unquoted, encoding) if cells}) == 1
    return csv.QUOTE_NONE if is_even else csv.QUOTE_MINIMAL
