"""A spreadsheet of labelled reviews, made fit for training: read, cleaned, deduplicated, checked for leaks."""

import hashlib
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from consumer.encoder import clean
from consumer.errors import UsageError

TEXT_COLUMN = "Reviews"
LABEL_COLUMN = "Sentiment"

#: Columns, in any case, that hold how many stars a reviewer gave; only evaluating looks at them.
STAR_COLUMNS = ("stars", "star", "rating", "score", "star rating", "star_rating")

#: Fewest rows of a label that can teach or measure anything.
MIN_ROWS_PER_LABEL = 8

#: More labels than this are free text or numbers: the wrong column.
MAX_LABELS = 100


@dataclass(frozen=True)
class BadRow:
    """A row that was left out. `row` counts as a spreadsheet does: the header is row 1."""

    row: int
    reason: str


@dataclass(frozen=True)
class Reviews:
    """Labelled texts of one file: `texts[i]` has the label `labels[i]`, and `stars[i]` where the file has stars."""

    path: Path
    sha256: str
    texts: tuple[str, ...]
    labels: tuple[str, ...]
    bad_rows: tuple[BadRow, ...] = ()
    stars: tuple[str, ...] | None = None

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def label_names(self) -> tuple[str, ...]:
        """The distinct labels, sorted: index i names the i-th logit of a model trained on them."""
        return tuple(sorted(set(self.labels)))

    def only(self, rows: Iterable[int]) -> "Reviews":
        """The same file reduced to `rows`, indices into `texts`."""
        kept = list(rows)
        stars = self.stars and tuple(self.stars[i] for i in kept)
        texts, labels = tuple(self.texts[i] for i in kept), tuple(self.labels[i] for i in kept)
        return replace(self, texts=texts, labels=labels, stars=stars)


def read_reviews(path: Path) -> Reviews:
    """Read `path`, an xlsx or csv file with the columns `Reviews` and `Sentiment`, and replace HTML line breaks.

    Rows without text or label are left out and listed in `bad_rows`.

    Raises:
        UsageError: the file cannot be read, lacks a column, or has one label, too few rows or far too many labels.
    """
    if not path.is_file():
        raise UsageError(f"{path} does not exist")
    *columns, given_stars = _read_columns(path)
    texts: list[str] = []
    labels: list[str] = []
    stars: list[str] = []
    empty: list[int] = []
    unlabelled: list[int] = []
    for row, (text, label, star) in enumerate(zip(*columns, given_stars or columns[0], strict=True), start=2):
        if not text.strip():
            empty.append(row)
        elif not label.strip():
            unlabelled.append(row)
        else:
            texts.append(clean(text))
            labels.append(label.strip())
            stars.append(star.strip())
    formulas = _formula_rows(path) if empty and path.suffix.lower() != ".csv" else set()
    bad = [BadRow(row, "a formula: the text starts with '='" if row in formulas else "no text") for row in empty]
    bad += [BadRow(row, "no label") for row in unlabelled]
    bad_rows = tuple(sorted(bad, key=lambda b: b.row))
    known_stars = tuple(stars) if given_stars else None
    reviews = Reviews(path, file_sha256(path), tuple(texts), tuple(labels), bad_rows, known_stars)
    _check_labels(reviews)
    return reviews


def _read_columns(path: Path) -> list[list[str]]:
    """Texts, labels, and the stars or nothing."""
    import pandas as pd

    # No guessing of missing values: a review may well be the word "None". An empty cell is an empty string.
    options: dict[str, Any] = {"dtype": object, "keep_default_na": False, "na_filter": False}
    try:
        frame = (
            pd.read_csv(path, **options, skip_blank_lines=False)
            if path.suffix.lower() == ".csv"
            else pd.read_excel(path, **options)
        )
    except Exception as error:  # zip, XML, encoding and parser errors of three libraries
        raise UsageError(
            f"{path} cannot be read as {path.suffix or 'a spreadsheet'} ({type(error).__name__}): "
            "give a complete .xlsx or UTF-8 .csv file"
        ) from error
    if missing := [name for name in (TEXT_COLUMN, LABEL_COLUMN) if name not in frame.columns]:
        found = ", ".join(map(repr, frame.columns)) or "none"
        raise UsageError(f"{path} lacks the column {' and '.join(missing)}; it has {found}: rename them in the file")
    star = [name for name in frame.columns if str(name).strip().lower() in STAR_COLUMNS][:1]
    columns = [[_cell(value) for value in frame[name]] for name in (TEXT_COLUMN, LABEL_COLUMN, *star)]
    return columns if star else [*columns, []]


def _cell(value: object) -> str:
    return "" if value is None or value != value else str(value)  # noqa: PLR0124 - NaN differs from itself


def _formula_rows(path: Path) -> set[int]:
    """Rows whose text is a formula. Without a stored result pandas cannot tell them from empty cells."""
    import openpyxl

    with closing(openpyxl.load_workbook(path, read_only=True)) as workbook:
        sheet = workbook.worksheets[0]
        column = [cell.value for cell in next(sheet.iter_rows(max_row=1))].index(TEXT_COLUMN) + 1
        cells = (row[0] for row in sheet.iter_rows(min_row=2, min_col=column, max_col=column))
        return {number for number, cell in enumerate(cells, start=2) if cell.data_type == "f"}


def _check_labels(reviews: Reviews) -> None:
    counts = Counter(reviews.labels)
    if len(counts) > MAX_LABELS:
        raise UsageError(f"{reviews.path} has {len(counts)} different labels: is {LABEL_COLUMN} the right column?")
    if len(counts) < 2:
        raise UsageError(f"{reviews.path} has {len(counts)} label(s) in {len(reviews)} usable rows; needed: at least 2")
    if scarce := {label: count for label, count in counts.items() if count < MIN_ROWS_PER_LABEL}:
        raise UsageError(f"{reviews.path} has too few rows of {scarce}; needed: at least {MIN_ROWS_PER_LABEL} of each")


def normalised(text: str) -> str:
    """What makes two texts the same review: letters and digits, whatever the case, spacing and punctuation."""
    folded = unicodedata.normalize("NFKC", clean(text)).casefold()
    return " ".join("".join(c if c.isalnum() else " " for c in folded).split())


def without_duplicates(reviews: Reviews) -> tuple[Reviews, int, int]:
    """Keep the first of texts that repeat, and none where the same text carries two labels.

    Returns:
        The reviews left, the number of repeats removed, and the number of rows removed for contradicting labels.
    """
    keys = _keys(reviews.texts)
    labels_of: defaultdict[str, set[str]] = defaultdict(set)
    for key, label in zip(keys, reviews.labels, strict=True):
        labels_of[key].add(label)
    first: dict[str, int] = {}
    for index, key in enumerate(keys):
        if len(labels_of[key]) == 1:
            first.setdefault(key, index)
    contradicting = sum(len(labels_of[key]) > 1 for key in keys)
    return reviews.only(first.values()), len(keys) - len(first) - contradicting, contradicting


def without_overlap(train: Reviews, test: Reviews) -> tuple[Reviews, int]:
    """Remove from `train` every text that `test` holds too.

    Returns:
        The training reviews left, and how many rows of `test` were found in `train`.
    """
    train_keys, test_keys = _keys(train.texts), _keys(test.texts)
    in_train, in_test = set(train_keys), set(test_keys)
    leaked = sum(key in in_train for key in test_keys)
    return train.only(i for i, key in enumerate(train_keys) if key not in in_test), leaked


def _keys(texts: Sequence[str]) -> list[str]:
    return [normalised(text) for text in texts]


def file_sha256(path: Path) -> str:
    """SHA-256 of the file at `path`, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
