"""Reading labelled reviews: what cannot be used is named, what would flatter the accuracy is refused."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from consumer.errors import UsageError
from tests.tiny_encoder import write_reviews, write_table
from training.data import BadRow, normalised, read_reviews, without_duplicates, without_overlap
from training.prepare import prepare

pytestmark = pytest.mark.training

HEADER = ("Reviews", "Sentiment")
GOOD_ROWS = [(f"film number {i}", label) for i in range(10) for label in ("neg", "pos")]


def numbered(*extra: Sequence[object]) -> list[Sequence[object]]:
    """A table with enough good rows, which end in row 21, and then `extra`."""
    return [HEADER, *((f"{text} {label}", label) for text, label in GOOD_ROWS), *extra]


def test_unusable_rows_are_named_by_their_number_and_the_rest_is_kept(tmp_path: Path) -> None:
    """An empty text, a missing label and a formula are left out, each with the row that the spreadsheet shows."""
    # Given a file with three unusable rows between good ones
    table = numbered(("", "pos"), ("no verdict", None), ("=nothing but dashes", "neg"), (None, None), ("last", "neg"))
    # When it is read
    reviews = read_reviews(write_table(tmp_path / "reviews.xlsx", table))
    # Then each is named
    assert reviews.bad_rows == (
        BadRow(22, "no text"),
        BadRow(23, "no label"),
        BadRow(24, "a formula: the text starts with '='"),
        BadRow(25, "no text"),
    )
    assert len(reviews) == 21
    assert reviews.texts[-1] == "last"


def test_words_that_spreadsheet_libraries_take_for_missing_are_texts(tmp_path: Path) -> None:
    """A review that is the word None or NA, or a number, is a review."""
    reviews = read_reviews(write_table(tmp_path / "r.xlsx", numbered(("None", "neg"), ("NA", "neg"), (7, "pos"))))
    assert reviews.texts[-3:] == ("None", "NA", "7")
    assert reviews.bad_rows == ()


def test_html_line_breaks_are_replaced(tmp_path: Path) -> None:
    """Training sees the text as the worker cleans it."""
    reviews = read_reviews(write_table(tmp_path / "r.xlsx", numbered(("one<br /><br>two", "pos"))))
    assert reviews.texts[-1] == "one\n\ntwo"


def test_a_csv_file_is_read_like_a_spreadsheet(tmp_path: Path) -> None:
    """The same rows give the same reviews in both formats."""
    table = numbered(("", "pos"), ("with, comma", "neg"))
    file = tmp_path / "r.csv"
    file.write_text("\n".join(f'"{text}",{label}' for text, label in table), encoding="utf-8")
    from_csv, from_xlsx = read_reviews(file), read_reviews(write_table(tmp_path / "r.xlsx", table))
    assert (from_csv.texts, from_csv.labels, from_csv.bad_rows) == (
        from_xlsx.texts,
        from_xlsx.labels,
        from_xlsx.bad_rows,
    )


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ([("text", "stars"), ("fine", 5)], "lacks the column Reviews and Sentiment; it has 'text', 'stars': rename"),
        ([HEADER], "0 label"),
        ([HEADER, *((f"film {i}", "pos") for i in range(20))], "1 label"),
        ([HEADER, *GOOD_ROWS[:6]], "too few rows of {'neg': 3, 'pos': 3}"),
        ([HEADER, *((f"film {i}", f"label {i}") for i in range(200))], "is Sentiment the right column"),
    ],
)
def test_a_table_that_cannot_teach_is_refused(tmp_path: Path, table: list[Sequence[object]], message: str) -> None:
    """Wrong columns, one label, few rows and free text as label each get a line that says what to do."""
    with pytest.raises(UsageError, match=message.split("{", maxsplit=1)[0]) as refusal:
        read_reviews(write_table(tmp_path / "r.xlsx", table))
    assert message in str(refusal.value)


@pytest.mark.parametrize("damage", ["cut", "text", "missing", "encoding"])
def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path, damage: str) -> None:
    """A cut or fake xlsx, a csv that is not UTF-8 and a missing file are usage errors, never stack traces."""
    file = tmp_path / ("r.csv" if damage == "encoding" else "r.xlsx")
    if damage == "cut":
        whole = write_table(tmp_path / "whole.xlsx", numbered()).read_bytes()
        file.write_bytes(whole[: len(whole) // 2])
    elif damage == "text":
        file.write_text("Reviews;Sentiment\n")
    elif damage == "encoding":
        file.write_bytes("Reviews,Sentiment\ncafé,pos\n".encode("latin-1"))
    with pytest.raises(UsageError, match="does not exist" if damage == "missing" else "cannot be read"):
        read_reviews(file)


def test_repeats_are_removed_and_contradictions_with_them(tmp_path: Path) -> None:
    """Of a repeated text the first stays; of one with two labels nothing stays."""
    table = numbered(("Same text!", "pos"), ("same  TEXT", "pos"), ("both ways", "pos"), ("Both ways.", "neg"))
    kept, repeats, contradicting = without_duplicates(read_reviews(write_table(tmp_path / "r.xlsx", table)))
    assert (repeats, contradicting) == (1, 2)
    assert kept.texts[20:] == ("Same text!",)


def test_texts_of_the_test_file_leave_the_training_rows(tmp_path: Path) -> None:
    """A text counts as the same whatever its case, spacing and line breaks; the test file stays as it is."""
    train = read_reviews(write_table(tmp_path / "train.xlsx", numbered(("A fine<br />film, really", "pos"))))
    test = read_reviews(
        write_table(
            tmp_path / "test.xlsx", [HEADER, *((f"other {t}", s) for t, s in GOOD_ROWS), ("a FINE film really", "pos")]
        )
    )
    # The 20 good rows of the test file differ from the training rows; the last text does not.
    left, leaked = without_overlap(train, test)
    assert (len(left), leaked) == (20, 1)
    assert normalised("A fine<br />film, really") not in map(normalised, left.texts)


def test_measuring_on_the_training_file_is_refused(tmp_path: Path) -> None:
    """The mistake of validating on the training data cannot be overlooked."""
    file = write_reviews(tmp_path / "train.xlsx", 40, seed=1)
    said: list[str] = []
    with pytest.raises(UsageError, match="would be a fiction"):
        prepare(file, file, 0.02, said.append)
    assert any("40 of 40 test texts (100.00%)" in line for line in said)


def test_a_small_overlap_is_told_and_taken_out(tmp_path: Path) -> None:
    """Below the set share the run goes on, without the shared texts and not silently."""
    train = write_reviews(tmp_path / "train.xlsx", 100, seed=1)
    rows = read_reviews(train)
    clean = read_reviews(write_reviews(tmp_path / "other.xlsx", 59, seed=2))
    test = write_table(
        tmp_path / "test.xlsx",
        [HEADER, *zip(clean.texts, clean.labels, strict=True), (rows.texts[0], rows.labels[0])],
    )
    said: list[str] = []
    data = prepare(train, test, 0.02, said.append)
    assert (len(data.train), len(data.test)) == (99, 60)
    assert any("1 of 60 test texts (1.67%)" in line for line in said)


def test_labels_that_training_never_saw_are_refused(tmp_path: Path) -> None:
    """A test file labelled in other words cannot be measured on, and the words are named."""
    train = write_reviews(tmp_path / "train.xlsx", 40, seed=1)
    test = write_reviews(tmp_path / "test.xlsx", 40, seed=2, labels=("negativ", "positiv"))
    with pytest.raises(UsageError, match="negativ, positiv"):
        prepare(train, test, 0.02, print)


def test_only_the_first_bad_rows_are_named_one_by_one(tmp_path: Path) -> None:
    """Thousands of empty rows give one line of count, not thousands of lines."""
    train = write_table(tmp_path / "train.xlsx", numbered(*[("", "pos")] * 50))
    said: list[str] = []
    prepare(train, write_reviews(tmp_path / "test.xlsx", 40, seed=2), 0.02, said.append)
    assert sum("left out: no text" in line for line in said) == 10
    assert "train.xlsx: 40 more rows left out" in said
