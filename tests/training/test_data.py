"""Reading labelled reviews: what cannot be used is reported, what would flatter the accuracy is refused."""

import re
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from datetime import time as clock
from pathlib import Path

import pytest

from consumer.errors import UsageError
from consumer.tables.names import Columns
from consumer.tables.table import BadRow, Percentage
from consumer.tables.text_values import text_or_reason
from tests.tiny_encoder import write_reviews, write_table
from training.data.duplicates import without_duplicates
from training.data.leaks import find_leaks
from training.data.prepare import DEFAULTS, DataOptions, prepare
from training.data.reviews import Reviews, read_reviews

pytestmark = pytest.mark.training

HEADER = ("Reviews", "Sentiment")
GOOD_ROWS = [(f"film number {i}", label) for i in range(10) for label in ("neg", "pos")]


def numbered(*extra: Sequence[object]) -> list[Sequence[object]]:
    """A table with enough good rows, which end in row 21, and then `extra`."""
    return [HEADER, *((f"{text} {label}", label) for text, label in GOOD_ROWS), *extra]


def test_unusable_rows_are_named_by_their_number_and_the_rest_is_kept(tmp_path: Path) -> None:
    """An empty text, a missing label and a formula are left out, each with the row that the spreadsheet shows."""
    # Given a file with unusable rows between good ones
    table = numbered(("", "pos"), ("no verdict", None), ("=nothing but dashes", "neg"), (None, None))
    table += [("no verdict but a sum", "=1+1"), ("<br /><br/>", "neg"), ("last", "neg")]
    # When it is read
    reviews = read_reviews(write_table(tmp_path / "reviews.xlsx", table))
    # Then each is named
    assert reviews.bad_rows == (
        BadRow(22, "no text"),
        BadRow(23, "no label"),
        BadRow(24, "a formula: the text starts with '='"),
        BadRow(25, "no text"),
        BadRow(26, "the label is a formula without a stored result"),
        BadRow(27, "no text"),
    )
    assert len(reviews) == 21
    assert (reviews.place(0), reviews.place(20)) == ("row 2", "row 28")
    assert reviews.texts[-1] == "last"


def test_a_formula_is_found_under_a_header_that_is_blank(tmp_path: Path) -> None:
    """A column of labels without a name is found as the other one of two, and its empty cells are looked at."""
    table = [("Reviews", None), *numbered(("no verdict", None), ("no verdict but a sum", "=1+1"))[1:]]
    assert read_reviews(write_table(tmp_path / "reviews.xlsx", table)).bad_rows == (
        BadRow(22, "no label"),
        BadRow(23, "the label is a formula without a stored result"),
    )


def test_words_that_spreadsheet_libraries_take_for_missing_are_texts(tmp_path: Path) -> None:
    """A review that is the word None or NA, or a number, is a review."""
    reviews = read_reviews(write_table(tmp_path / "r.xlsx", numbered(("None", "neg"), ("NA", "neg"), (7, "pos"))))
    assert reviews.texts[-3:] == ("None", "NA", "7")
    assert reviews.bad_rows == ()


def test_texts_stay_as_they_are(tmp_path: Path) -> None:
    """Each model cleans them by the rules of its own bundle, in training as in the worker."""
    reviews = read_reviews(write_table(tmp_path / "r.xlsx", numbered(("one<br /><br>two", "pos"))))
    assert reviews.texts[-1] == "one<br /><br>two"


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
        (
            [("words", "verdict", "film"), ("fine", 5, "Heat")],
            "it has 'words', 'verdict', 'film': name them with --text-column and --label-column",
        ),
        ([HEADER], "no usable row: it is empty"),
        ([HEADER, ("", "pos"), ("", "neg")], "no usable row (row 2: no text)"),
        ([HEADER, *((f"film {i}", "pos") for i in range(20))], "1 label"),
        ([HEADER, *GOOD_ROWS[:6]], "too few rows of {'neg': 3, 'pos': 3}"),
        ([HEADER, *((f"film {i}", f"label {i}") for i in range(200))], "is 'Sentiment' the right column"),
    ],
)
def test_a_table_that_cannot_teach_is_refused(tmp_path: Path, table: list[Sequence[object]], message: str) -> None:
    """Wrong columns, one label, few rows and free text as label each get a line that says what to do."""
    with pytest.raises(UsageError, match=re.escape(message)):
        read_reviews(write_table(tmp_path / "r.xlsx", table))


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
    """The first copy of a repeated text is kept; a text with two labels is dropped."""
    table = numbered(("Same text!", "pos"), ("same  TEXT!", "pos"), ("both ways", "pos"), ("Both ways ", "neg"))
    kept, repeats, contradicting = without_duplicates(read_reviews(write_table(tmp_path / "r.xlsx", table)))
    assert (repeats, contradicting) == (1, 2)
    assert kept.texts[20:] == ("Same text!",)


def test_usual_names_of_columns_are_found_and_reported(tmp_path: Path) -> None:
    """If the columns are not Reviews and Sentiment, the guess is reported; case does not matter."""
    table = [("Stars", "id", "TEXT"), *((label, 7, f"{text} {label}") for text, label in GOOD_ROWS)]
    reviews = read_reviews(write_table(tmp_path / "r.xlsx", table))
    assert reviews.columns == Columns("TEXT", "Stars")
    assert reviews.remarks == ("texts are read from the column 'TEXT', labels from 'Stars'",)
    assert reviews.texts[0] == "film number 0 neg"


def test_reviews_and_sentiment_are_taken_before_other_usual_names(tmp_path: Path) -> None:
    """A file in the documented form is read as documented, without a remark, whatever else is in it."""
    table = [
        ("text", "Sentiment", "label", "Reviews"),
        *(("no", label, "x", f"{text} {label}") for text, label in GOOD_ROWS),
    ]
    reviews = read_reviews(write_table(tmp_path / "r.xlsx", table))
    assert (reviews.texts[0], reviews.labels[0], reviews.remarks) == ("film number 0 neg", "neg", ())


def test_columns_can_be_named(tmp_path: Path) -> None:
    """A named column wins over the usual ones; the other one is still found."""
    table = [("Reviews", "Sentiment", "plot"), *((text, label, f"plot of {text}") for text, label in GOOD_ROWS)]
    file = write_table(tmp_path / "r.xlsx", table)
    assert read_reviews(file, Columns(text="plot")).texts[0] == "plot of film number 0"
    assert read_reviews(file, Columns("plot", "Sentiment")).remarks == ()


def test_the_other_one_of_two_columns_is_the_missing_one(tmp_path: Path) -> None:
    """A table of texts and something else has its labels there."""
    table = [("review", "verdict"), *GOOD_ROWS]
    assert read_reviews(write_table(tmp_path / "r.xlsx", table)).columns == Columns("review", "verdict")


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (Columns(text="Text"), "lacks the column 'Text'; it has 'Reviews', 'Sentiment'"),
        (Columns(label="Stars"), "lacks the column 'Stars'"),
        (Columns(label="Reviews"), "'Reviews' cannot be the column of texts and of labels"),
    ],
)
def test_a_column_that_is_named_wrongly_is_refused(tmp_path: Path, columns: Columns, message: str) -> None:
    """A name with a mistake is not replaced by a guess."""
    with pytest.raises(UsageError, match=re.escape(message)):
        read_reviews(write_table(tmp_path / "r.xlsx", numbered()), columns)


def test_a_whole_review_in_place_of_a_header_is_not_shown(tmp_path: Path) -> None:
    """A file without header is refused without spreading its first review over the terminal."""
    table = [("I cannot say how much this " * 20, 3, "x"), *((text, label, "x") for text, label in GOOD_ROWS)]
    with pytest.raises(UsageError, match="I cannot say how much this I cannot say …', '3', 'x'"):
        read_reviews(write_table(tmp_path / "r.xlsx", table))


def test_only_the_first_sheet_is_read_and_that_is_reported(tmp_path: Path) -> None:
    """A workbook of two sheets does not look like one that was read whole."""
    import openpyxl

    file = write_table(tmp_path / "r.xlsx", numbered())
    workbook = openpyxl.load_workbook(file)
    workbook.create_sheet("More").append(HEADER)
    workbook.save(file)
    assert read_reviews(file).remarks == ("only the first sheet, 'Sheet', of 2 is read; choose another with --sheet",)


#: Each with both labels, if what tells it apart did not count.
SIGNS = (
    *(("my parcel today 👍", "my parcel today 👎"), ("it came :)", "it came :("), ("Good!", "Good?"), ("C++", "C")),
    *(("10/10", "10 10"), ("-5", "5"), ("grade A+", "grade A-"), ("half - half", "half + half"), ("9:30", "9.30")),
    *(("★★★★★", "★☆☆☆☆"), ("***", "*"), ("i <3 it", "i </3 it"), ("+1", "-1"), (":-)", ":-("), ("5 %", "5 $")),
)


def test_texts_that_a_sign_tells_apart_are_all_learned(tmp_path: Path) -> None:
    """An emoji, an emoticon or a symbol makes another text, for repeats, contradictions and leaks."""
    pairs = [(text, label) for signs in SIGNS for text, label in zip(signs, ("pos", "neg"), strict=True)]
    reviews = read_reviews(write_table(tmp_path / "train.xlsx", [HEADER, *pairs]))
    assert without_duplicates(reviews) == (reviews, 0, 0)
    good, bad = (reviews.only(range(first, len(reviews), 2)) for first in (0, 1))
    assert len(find_leaks(good, bad, 0.5)) == 0
    assert len(find_leaks(good, good, 0.5)) == len(SIGNS)


def test_a_review_copied_with_other_punctuation_is_a_near_duplicate() -> None:
    """Commas, full stops, quotes, brackets and dashes between words tell nothing."""
    text = 'A fine film, really: the (second) half - the end above all - is a joy. "Go" and see it'
    copy = "A fine film really the second half, the end above all, is a joy; go and see it."
    (train, test) = (Reviews(Path("x"), "0" * 64, (each,), ("pos",)) for each in (text, copy))
    (match,) = find_leaks(train, test, 0.9).near
    assert match.similarity == 1


@pytest.mark.parametrize("column", [0, 1])
def test_what_a_spreadsheet_made_of_a_text_or_a_label_is_left_out(tmp_path: Path, column: int) -> None:
    """A date and a time hold nothing of what was typed; so does TRUE as a text, while it may be a label."""
    spoiled = [date(2026, 10, 10), datetime(2026, 10, 10, 9, 30), clock(9, 30), timedelta(minutes=5), True]
    rows = [(value, "pos") if column == 0 else (f"text {value}", value) for value in spoiled]
    if column:
        rows[-1] = ("text", "pos")
    reviews = read_reviews(write_table(tmp_path / "r.xlsx", [HEADER, *GOOD_ROWS, *rows]))
    first = len(GOOD_ROWS) + 2
    kinds = ["a date", "a date", "a time", "a time", "TRUE or FALSE"]
    reasons = [f"the label is {kind}" if column else f"{kind}, not a text" for kind in kinds][: 5 - column]
    assert [(bad.row, bad.reason) for bad in reviews.bad_rows] == list(enumerate(reasons, first))
    assert text_or_reason(Percentage(1.0)) == (None, "a percentage, not a text")
    assert text_or_reason(1.0) == ("1.0", None)


def test_measuring_on_the_training_file_is_refused(tmp_path: Path) -> None:
    """The mistake of validating on the training data cannot be overlooked."""
    file = write_reviews(tmp_path / "train.xlsx", 40, seed=1)
    said: list[str] = []
    with pytest.raises(UsageError, match="would be meaningless"):
        prepare(file, file, DEFAULTS, said.append)
    assert any("40 of 40 test texts (100.00%)" in line for line in said)


def test_a_small_overlap_is_reported_and_removed(tmp_path: Path) -> None:
    """Below the limit the run continues without the shared texts, and reports them."""
    train = write_reviews(tmp_path / "train.xlsx", 100, seed=1)
    rows = read_reviews(train)
    clean = read_reviews(write_reviews(tmp_path / "other.xlsx", 59, seed=2))
    test = write_table(
        tmp_path / "test.xlsx",
        [HEADER, *zip(clean.texts, clean.labels, strict=True), (rows.texts[0], rows.labels[0])],
    )
    said: list[str] = []
    data = prepare(train, test, DEFAULTS, said.append)
    assert (len(data.train), len(data.test)) == (99, 60)
    assert any("1 of 60 test texts (1.67%) also occur in train.xlsx: 1 exactly, 0 nearly" in line for line in said)


def test_labels_that_training_never_saw_are_refused(tmp_path: Path) -> None:
    """A test file labelled in other words cannot be measured on, and the words are named."""
    train = write_reviews(tmp_path / "train.xlsx", 40, seed=1)
    test = write_reviews(tmp_path / "test.xlsx", 40, seed=2, labels=("negativ", "positiv"))
    with pytest.raises(UsageError, match="negativ, positiv"):
        prepare(train, test, DEFAULTS, print)


def test_a_training_file_of_contradictions_is_refused(tmp_path: Path) -> None:
    """If every text has both labels, no row is left to train on: reported before an encoder is loaded."""
    train = write_table(tmp_path / "train.xlsx", [HEADER, *GOOD_ROWS])
    test = write_reviews(tmp_path / "test.xlsx", 40, seed=2)
    with pytest.raises(UsageError, match=r"without repeated and contradicting rows, .* 0 label"):
        prepare(train, test, DEFAULTS, print)


@pytest.mark.parametrize("gone", ["by contradictions", "by the leak check"])
def test_a_label_that_lost_all_of_its_training_rows_is_refused(tmp_path: Path, gone: str) -> None:
    """A test label that the model would not know is reported before training, not at the evaluation after it."""
    shared = [f"{word} film so and so" for word in ("one", "two", "three", "four", "five", "six", "seven", "eight")]
    maybe = [(text, "maybe") for text in shared]
    extra, tested = ([*maybe, *((text, "pos") for text in shared)], [(f"{text} again", "maybe") for text in shared])
    if gone == "by the leak check":
        extra, tested = maybe, maybe
    train = write_table(tmp_path / "train.xlsx", numbered(*extra))
    test = write_table(
        tmp_path / "test.xlsx", [HEADER, *((f"other {text}", label) for text, label in GOOD_ROWS), *tested]
    )
    with pytest.raises(UsageError, match=r"test\.xlsx has labels that no row to train on in .*train.xlsx has: maybe"):
        prepare(train, test, DataOptions(max_overlap=1), print)


def test_only_the_first_bad_rows_are_named_one_by_one(tmp_path: Path) -> None:
    """Thousands of empty rows give one line with their number, not thousands of lines."""
    train = write_table(tmp_path / "train.xlsx", numbered(*[("", "pos")] * 50))
    said: list[str] = []
    prepare(train, write_reviews(tmp_path / "test.xlsx", 40, seed=2), DEFAULTS, said.append)
    assert sum("left out: no text" in line for line in said) == 10
    assert "train.xlsx: 40 more rows left out" in said
