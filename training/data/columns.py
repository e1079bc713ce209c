"""Which column holds the texts and which the labels, and whether these are labels that can be learned."""

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from consumer.errors import UsageError
from consumer.tables.names import LABEL_NAMES, TEXT_NAMES, Columns, find_column, listed
from consumer.tables.table import Table
from training.io.names import check_utf8
from training.io.terminal import printable

#: Columns, in any case, that hold how many stars a reviewer gave; only evaluating looks at them.
STAR_COLUMNS = ("stars", "star", "rating", "score", "star rating", "star_rating")

#: Fewest rows of a label that can teach or measure anything.
MIN_ROWS_PER_LABEL = 8

#: More labels than this are free text or numbers: the wrong column.
MAX_LABELS = 100

#: What stands between the labels of one cell; lists that were written as text also have brackets and quotes.
_SEPARATORS = re.compile(r"[|;,]")
_AROUND = " []()'\""

#: Labels that say the same of a text in two ways, as a column does that was pasted together of two tables.
_AS_NUMBERS, _AS_WORDS = {"0", "1"}, {"false", "true"}

_WHOLE_NUMBER = re.compile(r"([+-]?)(\d+)(?:\.0+)?")


def choose_columns(path: Path, table: Table, wanted: Columns) -> tuple[str, str]:
    """The columns of `table` that hold the texts and the labels.

    Raises:
        UsageError: a wanted column is missing, none of the usual names is there, or one is not UTF-8.
    """
    names = list(table.names or table.columns)
    text, label = find_column(names, wanted.text, TEXT_NAMES), find_column(names, wanted.label, LABEL_NAMES)
    if text and not label and wanted.label is None:
        flags = [name for name, cells in table.columns.items() if name != text and _is_flag(cells)]
        if len(flags) > 1:
            raise UsageError(
                f"{path} has {len(flags)} columns of 0 and 1 ({listed(flags)}), as for several labels per text, which "
                "cannot be learned here: name one with --label-column, or give one column with one label per text"
            )
    if text and not label and wanted.label is None and len(names) == 2:
        label = next(name for name in names if name != text)
    if label and not text and wanted.text is None and len(names) == 2:
        text = next(name for name in names if name != label)
    missing = [
        f"{wish!r}" if wish else f"of {kind}s (as {usual!r})"
        for kind, found, wish, usual in (
            ("text", text, wanted.text, "Reviews"),
            ("label", label, wanted.label, "Sentiment"),
        )
        if not found
    ]
    if missing:
        raise UsageError(
            f"{path} lacks the column {' and the column '.join(missing)}; it has {listed(names)}: name them with "
            f"--text-column and --label-column{table.advice}"
        )
    for name in (text, label):
        check_utf8(str(name), f"save {path} as UTF-8")
    if text == label:
        raise UsageError(f"{path}: {text!r} cannot be the column of texts and of labels: name another")
    return str(text), str(label)


def needed_columns(names: Sequence[str], wanted: Columns) -> frozenset[str] | None:
    """The columns of texts, labels and stars; None: one of the first two is not told by its name."""
    text, label = find_column(names, wanted.text, TEXT_NAMES), find_column(names, wanted.label, LABEL_NAMES)
    if text is None or label is None:
        return None
    return frozenset({text, label, *(name for name in names if name.strip().casefold() in STAR_COLUMNS)})


def in_order(labels: Iterable[str]) -> list[str]:
    """The distinct `labels`, sorted: as numbers if all of them are, so that 10 comes after 9."""
    numbers = {label: _number(label) for label in set(labels)}
    are_numbers = None not in numbers.values()
    return sorted(numbers, key=lambda label: (numbers[label] or 0.0 if are_numbers else 0.0, label))


def as_label(cell: str) -> str:
    """The label that a cell means: spreadsheets make 1.0 of 1, and +1 and -0 are 1 and 0."""
    cell = cell.strip()
    if (number := _WHOLE_NUMBER.fullmatch(cell)) is None:
        return cell
    sign, digits = number.groups()
    return f"-{digits}" if sign == "-" and digits.strip("0") else digits


def check_labels(path: Path, labels: Sequence[str], column: str, *, learned: bool = True) -> None:
    """Check that `labels` are classes, one for each text. To be `learned`, there must be two, with enough rows.

    Raises:
        UsageError: they are continuous numbers, several labels in a cell, or too many; they hold control characters,
            differ only in case or in invisible characters, or are flags written in two ways; or they are too few.
    """
    counts = Counter(labels)
    if measure := _continuous(counts):
        raise UsageError(
            f"{path}: the labels in {column!r} are numbers such as {measure}, and classes are needed: make some of "
            "them first, as neg of 1 to 4 stars and pos of 7 to 10, without the texts between"
        )
    if several := _several_in_a_cell(counts):
        raise UsageError(
            f"{path}: {several!r} in {column!r} looks like several labels for one text, which cannot be learned here: "
            "give one label per text (if it is one, write it without '|', ';' and ',')"
        )
    spelt: dict[str, str] = {}
    for label in counts:
        if printable(label) != label:
            raise UsageError(f"{path}: the label {label!r} in {column!r} holds control characters: take them out")
        if (other := spelt.setdefault(_folded(label), label)) != label:
            raise UsageError(
                f"{path}: the labels {other!a} and {label!a} in {column!r} differ in case only, or in what cannot be "
                "seen: write them alike"
            )
    if _AS_NUMBERS & spelt.keys() and _AS_WORDS & spelt.keys():
        mixed = listed(sorted(label for folded, label in spelt.items() if folded in _AS_NUMBERS | _AS_WORDS))
        raise UsageError(f"{path}: the labels {mixed} in {column!r} mix numbers with true and false: write them alike")
    if len(counts) > MAX_LABELS:
        raise UsageError(f"{path} has {len(counts)} different labels: is {column!r} the right column?")
    if not learned:
        return
    if len(counts) < 2:
        raise UsageError(f"{path} has {len(counts)} label(s) in {len(labels)} usable rows; at least 2 are needed")
    if scarce := {label: count for label, count in counts.items() if count < MIN_ROWS_PER_LABEL}:
        raise UsageError(f"{path} has too few rows of {scarce}; at least {MIN_ROWS_PER_LABEL} of each are needed")


def _folded(label: str) -> str:
    """What is left of a label without its case, the ways to write one letter, and characters without a width."""
    seen = (letter for letter in unicodedata.normalize("NFC", label) if unicodedata.category(letter) != "Cf")
    return "".join(seen).casefold()


def _is_flag(cells: Sequence[object]) -> bool:
    return {str(cell) for cell in cells[:1000]} in ({"0", "1"}, {"0.0", "1.0"}, {"False", "True"})


def _number(label: str) -> float | None:
    try:
        number = float(label.replace(",", "."))
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _continuous(counts: Counter[str]) -> str | None:
    """A label that is a fraction, where most labels are numbers."""
    numbers = {label: number for label in counts if (number := _number(label)) is not None}
    fractions = [label for label, number in numbers.items() if not number.is_integer()]
    if 2 * sum(counts[label] for label in numbers) <= counts.total():
        return None
    return next(iter(fractions), None)


def _several_in_a_cell(counts: Counter[str]) -> str | None:
    """A cell whose parts are also found in other cells; one comma does not make a list of a label."""
    parts = {label: {part.strip(_AROUND) for part in _SEPARATORS.split(label)} - {""} for label in counts}
    cells_with = Counter(part for found in parts.values() for part in found)
    if len(cells_with) > MAX_LABELS:
        return None
    return next(
        (label for label, found in parts.items() if len(found) > 1 and max(map(cells_with.__getitem__, found)) > 1),
        None,
    )
