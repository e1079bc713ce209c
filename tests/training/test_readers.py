"""Formats of labelled reviews: the same rows give the same reviews, and a broken row is named by where it stands."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from consumer.errors import UsageError
from consumer.tables.names import Columns
from consumer.tables.table import BadRow, TableOptions
from tests.tiny_encoder import write_table
from training.data.readers import read_table
from training.data.reviews import read_reviews
from training.data.texts import read_texts

pytestmark = pytest.mark.training

ROWS = [(f'a "{label}" film, number {i};\tas told', label) for i in range(10) for label in ("neg", "pos")]

#: Enough rows that a broken one is not one in a hundred.
MANY = [(f"film number {i} was {label}", label) for i in range(100) for label in ("neg", "pos")]


def write_csv(path: Path, separator: str = ",") -> Path:
    """ROWS with every text quoted."""
    lines = ["Reviews" + separator + "Sentiment"]
    lines += ['"' + text.replace('"', '""') + '"' + separator + label for text, label in ROWS]
    path.write_text("\n".join(lines) + "\n\n", encoding="utf-8")
    return path


def write_jsonl(path: Path) -> Path:
    """ROWS with one object a line."""
    path.write_text("".join(json.dumps({"Reviews": t, "Sentiment": s, "n": 1}) + "\n" for t, s in ROWS))
    return path


def write_parquet(path: Path) -> Path:
    """ROWS as two columns of strings."""
    import pyarrow
    import pyarrow.parquet

    texts, labels = zip(*ROWS, strict=True)
    pyarrow.parquet.write_table(pyarrow.table({"Reviews": texts, "Sentiment": labels}), path)
    return path


def write_folders(path: Path, rows: list[tuple[str, str]] = ROWS) -> Path:
    """A file for each row in the folder of its label, as aclImdb has them."""
    for number, (text, label) in enumerate(rows):
        (path / label).mkdir(parents=True, exist_ok=True)
        (path / label / f"{number:05}_7.txt").write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("name", "write", "first"),
    [
        ("r.xlsx", lambda path: write_table(path, [("Reviews", "Sentiment"), *ROWS]), "row 2"),
        ("r.csv", write_csv, "row 2"),
        ("semicolons.CSV", lambda path: write_csv(path, ";"), "row 2"),
        ("r.tsv", lambda path: write_csv(path, "\t"), "row 2"),
        ("r.jsonl", write_jsonl, "row 1"),
        ("r.parquet", write_parquet, "row 1"),
        ("aclImdb", write_folders, "neg/00000_7.txt"),
        ("aclImdb", lambda path: write_folders(path / "train").parent, "neg/00000_7.txt"),
    ],
)
def test_the_same_rows_in_any_format_are_the_same_reviews(
    tmp_path: Path, name: str, write: Callable[[Path], Path], first: str
) -> None:
    """Quotes, separators and order survive each format, and the first row has the name that the user sees there."""
    reviews = read_reviews(write(tmp_path / name))
    assert list(zip(reviews.texts, reviews.labels, strict=True)) == ROWS
    assert (reviews.place(0), reviews.bad_rows, reviews.remarks) == (first, (), ())
    assert len(reviews.sha256) == 64


def test_a_byte_order_mark_is_no_part_of_the_first_column(tmp_path: Path) -> None:
    """Files that a spreadsheet saved as "CSV UTF-8" are read."""
    file = write_csv(tmp_path / "r.csv")
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    assert read_reviews(file).columns == Columns("Reviews", "Sentiment")


def test_escaped_characters_of_a_workbook_are_what_they_stand_for(tmp_path: Path) -> None:
    """A carriage return in a cell or a header is stored as "_x000D_"; a text that says so keeps it."""
    rows = [("a_x000D_\nb", 7), ("_x005F_x000D_", 8)]
    table = read_table(write_table(tmp_path / "r.xlsx", [("Reviews_x000D_", "stars"), *rows]))
    assert table.columns == {"Reviews\r": ["a\r\nb", "_x000D_"], "stars": [7, 8]}


def test_a_tsv_file_that_never_quotes_keeps_its_quotation_marks(tmp_path: Path) -> None:
    """A quotation mark at the start of a text does not swallow the rows below it."""
    file = tmp_path / "r.tsv"
    lines = ["text\tlabel", '"Never again," she said.\tneg', '"Odd\tpos', *(f"{text}\t{label}" for text, label in MANY)]
    file.write_text("\n".join(lines))
    assert read_reviews(file).texts[:2] == ('"Never again," she said.', '"Odd')
    assert len(read_reviews(file)) == 202


def test_quotation_marks_of_two_rows_that_pair_up_do_not_make_one_of_them(tmp_path: Path) -> None:
    """A text that begins with a mark and one that ends with it, in a tsv file that never quotes."""
    # Given such rows, whose marks stand where a quoted cell would begin and end
    file = tmp_path / "r.tsv"
    odd = ['"Great\tpos', 'bad"\tneg']
    file.write_text("\n".join(["text\tlabel", *odd, *(f"{text}\t{label}" for text, label in MANY)]))
    # When it is read, to learn from it and to label it
    reviews, texts = read_reviews(file), [row.text for row in read_texts(str(file), "text")]
    # Then they are two rows
    assert list(zip(reviews.texts, reviews.labels, strict=True))[:2] == [('"Great', "pos"), ('bad"', "neg")]
    assert list(reviews.texts) == texts
    # When the texts are quoted, for their line breaks
    file.write_text("\n".join(["text\tlabel", *(f'"{text},\nit is ""said"""\t{label}' for text, label in MANY)]))
    # Then their marks are none of the text
    assert read_reviews(file).texts[0] == f'{MANY[0][0]},\nit is "said"'


@pytest.mark.parametrize("suffix", [".csv", ".tsv"])
def test_blank_rows_before_the_header_are_passed_over(tmp_path: Path, suffix: str) -> None:
    """As programs write them that leave room for a title; rows keep the numbers that a spreadsheet shows."""
    file, separator = tmp_path / f"r{suffix}", "\t" if suffix == ".tsv" else ";"
    lines = ["", separator, f"text{separator}label", *(f"{text}{separator}{label}" for text, label in MANY)]
    file.write_text("\n".join([*lines, f"a{separator}b{separator}c"]))
    reviews, texts = read_reviews(file), list(read_texts(str(file), None))
    assert list(zip(reviews.texts, reviews.labels, strict=True)) == MANY
    assert [reviews.place(0), reviews.place(199)] == ["row 4", "row 203"]
    assert [row.row for row in texts] == [*range(4, 205)]
    assert [row.text for row in texts[:-1]] == list(reviews.texts)
    assert texts[-1].reason == reviews.bad_rows[0].reason == "3 cells under 2 columns: a text is not quoted"


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl"])
@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-32-le", "utf-32-be"])
def test_a_byte_order_mark_says_the_encoding(tmp_path: Path, suffix: str, encoding: str) -> None:
    """UTF-16 and UTF-32 with a mark are read, as Excel's "Unicode text" is; UTF-16 without one asks for --encoding."""
    file = tmp_path / f"r{suffix}"
    rows = [json.dumps({"text": text, "label": label}) for text, label in MANY]
    content = "\n".join(rows if suffix == ".jsonl" else ["text\tlabel", *("\t".join(row) for row in MANY)])
    file.write_text(content if encoding == "utf-16" else f"\ufeff{content}", encoding=encoding)
    reviews, texts = read_reviews(file), [row.text for row in read_texts(str(file), None)]
    assert list(zip(reviews.texts, reviews.labels, strict=True)) == MANY
    assert list(reviews.texts) == texts
    file.write_text(content, encoding="utf-16-le")
    with pytest.raises(UsageError, match="name its encoding, as in --encoding utf-16-le"):
        read_reviews(file)
    assert read_reviews(file, options=TableOptions(encoding="utf-16-le")).texts == reviews.texts


def test_rows_that_are_not_utf8_are_named_and_left_out(tmp_path: Path) -> None:
    """One bad byte costs its row in csv, tsv and jsonl and its file in a directory, and the byte is reported."""
    bad = "un café".encode("latin-1")
    (tmp_path / "r.csv").write_bytes(
        b"text,label\n" + b"".join(f"{t},{s}\n".encode() for t, s in MANY) + bad + b",pos\n"
    )
    (tmp_path / "r.tsv").write_bytes((tmp_path / "r.csv").read_bytes().replace(b",", b"\t"))
    lines = b"".join(json.dumps({"text": t, "label": s}).encode() + b"\n" for t, s in MANY)
    (tmp_path / "r.jsonl").write_bytes(lines + b'{"text": "' + bad + b'", "label": "pos"}')
    (write_folders(tmp_path / "folders", MANY) / "pos" / "x.txt").write_bytes(bad)
    reason = "not UTF-8: byte 0xe9 at character 7"
    for name, place in (("r.csv", 202), ("r.tsv", 202), ("r.jsonl", 201), ("folders", "pos/x.txt")):
        reviews = read_reviews(tmp_path / name)
        assert (len(reviews), reviews.bad_rows) == (200, (BadRow(place, reason),))


def test_a_file_of_another_encoding_is_refused_with_its_first_row(tmp_path: Path) -> None:
    """When more than one row in a hundred is broken the file is at fault, not the row."""
    file = tmp_path / "r.csv"
    file.write_bytes("\n".join(["text,label", *(f"café {t},{s}" for t, s in MANY[:20])]).encode("latin-1"))
    with pytest.raises(UsageError, match=re.escape("20 rows are broken, first row 2: not UTF-8: byte 0xe9")):
        read_reviews(file)


def test_lines_that_are_no_json_object_are_named(tmp_path: Path) -> None:
    """Each broken line has its number and what is wrong with it; blank lines are none."""
    lines = [json.dumps({"text": text, "label": label}) for text, label in MANY * 3]
    lines[3:3] = ['{"text": "half', "", '["a list", "pos"]', '{"text": "\\ud83d", "label": "pos"}', "[" * 100_000]
    (tmp_path / "r.jsonl").write_text("\n".join(lines))
    reviews = read_reviews(tmp_path / "r.jsonl")
    assert [str(bad) for bad in reviews.bad_rows] == [
        "row 4: no JSON: Unterminated string starting at at character 10",
        "row 6: no JSON object",
        "row 7: not UTF-8: half a character at character 1",
        "row 8: no JSON: numbers or nesting out of bounds",
    ]
    assert (len(reviews), reviews.place(3)) == (600, "row 9")


def test_a_file_of_other_content_under_the_name_jsonl_is_refused(tmp_path: Path) -> None:
    """A json array over many lines is not taken for a file whose columns have other names."""
    (tmp_path / "r.jsonl").write_text(json.dumps([{"text": text, "label": label} for text, label in ROWS], indent=1))
    with pytest.raises(UsageError, match="rows are broken, first row 1: no JSON"):
        read_reviews(tmp_path / "r.jsonl")


def test_values_that_are_no_text_are_named(tmp_path: Path) -> None:
    """Missing keys, nulls, NaN and lists are left out; a number is a text, as in a spreadsheet."""
    odd: list[dict[str, object]] = [
        {"label": "pos"},
        {"text": None, "label": "pos"},
        {"text": ["a", "b"], "label": "pos"},
    ]
    odd += [{"text": "no verdict"}, {"text": "no verdict", "label": float("nan")}, {"text": 7, "label": "pos"}]
    records = [{"text": text, "label": label} for text, label in ROWS]
    (tmp_path / "r.jsonl").write_text("\n".join(map(json.dumps, [*records, *odd])))
    reviews = read_reviews(tmp_path / "r.jsonl")
    assert [(bad.row, bad.reason) for bad in reviews.bad_rows] == [
        (21, "no text"),
        (22, "no text"),
        (23, "a list, not a text"),
        (24, "no label"),
        (25, "no label"),
    ]
    assert reviews.texts[-1] == "7"


def test_a_csv_row_with_an_unquoted_comma_is_named(tmp_path: Path) -> None:
    """A text that was torn into two cells does not shift its label; short rows lack a label."""
    lines = ["text,label", *(f"{t},{s}" for t, s in MANY), "good, really,pos", "short", "trailing,pos,,"]
    (tmp_path / "r.csv").write_text("\n".join(lines))
    reviews = read_reviews(tmp_path / "r.csv")
    assert reviews.bad_rows == (
        BadRow(202, "3 cells under 2 columns: a text is not quoted"),
        BadRow(203, "no label"),
    )
    assert reviews.texts[-1] == "trailing"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('text,label\nfine,pos\n"never closed,neg\nfine,pos\n', "row 3 (which ends in line 4): unexpected end of data"),
        ('text,label\n"a "word" inside",neg\n', "row 2 (which ends in line 2): ',' expected after '\"'"),
        ("text,text,label\na,b,c\n", "has the column 'text' twice"),
        ("", "lacks the column"),
        ("\x00\x01", "lacks the column"),
    ],
)
def test_a_csv_file_that_cannot_be_split_is_refused(tmp_path: Path, content: str, message: str) -> None:
    """The row is named, where it is one row's fault."""
    (tmp_path / "r.csv").write_text(content)
    with pytest.raises(UsageError, match=re.escape(message)):
        read_reviews(tmp_path / "r.csv")


@pytest.mark.parametrize("name", ["r.xlsx", "r.csv", "r.tsv", "r.parquet"])
def test_two_columns_of_one_name_are_refused(tmp_path: Path, name: str) -> None:
    """In every format that can have them, for training and for labelling."""
    import pyarrow
    import pyarrow.parquet

    path, header = tmp_path / name, ("Reviews", "Sentiment", "Reviews")
    separator = "\t" if name.endswith("tsv") else ","
    if name.endswith("xlsx"):
        write_table(path, [header, ("a", "pos", "b")])
    elif name.endswith("parquet"):
        pyarrow.parquet.write_table(pyarrow.table([["a"], ["pos"], ["b"]], names=list(header)), path)
    else:
        path.write_text(f"{separator.join(header)}\n{separator.join('abc')}\n")
    for read in (read_reviews, lambda path: list(read_texts(str(path), None))):
        with pytest.raises(UsageError, match=f"{name} has the column 'Reviews' twice: rename one of them"):
            read(path)


@pytest.mark.parametrize(
    ("name", "reason"), [("r" * 300 + ".csv", "File name too long"), ("r.csv", "Input/output error")]
)
def test_a_file_that_the_system_does_not_give_is_told_with_its_reason(tmp_path: Path, name: str, reason: str) -> None:
    """It may be intact: advice to repair it would mislead."""
    if len(name) < 10:
        (tmp_path / name).symlink_to("/proc/self/mem")
    for read in (read_reviews, lambda path: list(read_texts(str(path), None))):
        with pytest.raises(UsageError, match=re.escape(f"{name} cannot be read ({reason})")):
            read(tmp_path / name)


def test_a_review_of_megabytes_is_read_from_csv(tmp_path: Path) -> None:
    """The limit of the csv library, 131,072 characters, is not ours."""
    rows = [*ROWS[:-1], ("long " * 100_000, "pos")]
    text = "text,label\n" + "".join('"' + t.replace('"', "") + f'",{s}\n' for t, s in rows)
    (tmp_path / "r.csv").write_text(text)
    assert len(read_reviews(tmp_path / "r.csv").texts[-1]) == 500_000


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("r.xls", "cannot be read as .xls (CalamineError)"),
        ("r.ods", "cannot be read as .ods"),
        ("r.docx", "give a file named .xlsx, .xlsm, .xls, .xlsb, .ods, .csv, .tsv, .jsonl, .json, .parquet, or a"),
        ("r.csv.gz", "cannot be read as .csv.gz (BadGzipFile)"),
        ("r.xlsx.gz", "cannot be read as .gz: unpack it"),
        ("reviews", "cannot be read as a file without suffix"),
        ("r.parquet", "cannot be read as .parquet"),
    ],
)
def test_a_file_in_no_known_format_is_refused(tmp_path: Path, name: str, message: str) -> None:
    """Other suffixes, and other content under a known one, get a line that says what would do."""
    (tmp_path / name).write_bytes(b"something else")
    with pytest.raises(UsageError, match=re.escape(message)):
        read_reviews(tmp_path / name)


def test_folders_of_any_name_are_labels_but_unlabelled_ones(tmp_path: Path) -> None:
    """`unsup`, files of other kinds and folders without texts are no labels."""
    directory = write_folders(tmp_path / "data", [(f"film {i}", f"{i % 3} stars") for i in range(30)])
    write_folders(directory, [(f"film {i}", "unsup") for i in range(9)])
    (directory / "labeledBow.feat").write_text("9 0:9")
    (directory / "notes").mkdir()
    (directory / "0 stars" / "readme.md").write_text("none")
    (directory / "0 stars" / "._film.txt").write_text("what a file system left there")
    write_folders(directory, [("what a tool keeps there", ".git")])
    reviews = read_reviews(directory)
    assert reviews.label_names == ("0 stars", "1 stars", "2 stars")
    assert len(reviews) == 30


def test_the_names_of_acl_imdb_say_how_many_stars_were_given(tmp_path: Path) -> None:
    """The files of aclImdb are named number_stars.txt; one that is named otherwise, and no name means stars."""
    directory = tmp_path / "data"
    for number in range(20):
        label, stars = ("neg", number % 4 + 1) if number % 2 else ("pos", number % 4 + 7)
        (directory / label).mkdir(parents=True, exist_ok=True)
        (directory / label / f"{number}_{stars}.txt").write_text(f"film {number}")
    reviews = read_reviews(directory)
    assert {(text, stars) for text, stars in zip(reviews.texts, reviews.stars or (), strict=True)} == {
        (f"film {number}", str(number % 4 + (1 if number % 2 else 7))) for number in range(20)
    }
    assert (reviews.columns, reviews.remarks) == (Columns("text of the file", "folder"), ())
    (directory / "neg" / "extra.txt").write_text("no stars")
    assert read_reviews(directory).stars is None


def test_a_directory_changes_its_sha256_with_any_file(tmp_path: Path) -> None:
    """Contents and names of the files both count."""
    directory = write_folders(tmp_path / "data")
    sums = [read_reviews(directory).sha256]
    (directory / "neg" / "00000_7.txt").rename(directory / "neg" / "00000_1.txt")
    sums.append(read_reviews(directory).sha256)
    (directory / "neg" / "00000_1.txt").write_text("changed")
    sums.append(read_reviews(directory).sha256)
    assert len(set(sums)) == 3


@pytest.mark.parametrize(
    ("folders", "message"),
    [
        (("train", "test"), "data holds train, test: name one of them, as in "),
        (("train", "."), "data holds train, neg, pos: name one of them"),
        ((), "has no folders with .txt files"),
        (("sub/deeper",), "has no folders with .txt files"),
    ],
)
def test_a_directory_that_could_mean_two_things_is_refused(
    tmp_path: Path, folders: tuple[str, ...], message: str
) -> None:
    """The training texts of aclImdb are never mixed with its test texts."""
    (tmp_path / "data").mkdir()
    for folder in folders:
        write_folders(tmp_path / "data" / folder)
    with pytest.raises(UsageError, match=re.escape(message)):
        read_reviews(tmp_path / "data")


def test_a_directory_needs_no_names_of_columns(tmp_path: Path) -> None:
    """The columns of a directory are its files and folders, and other names are refused."""
    directory = write_folders(tmp_path / "data")
    assert read_reviews(directory).columns == Columns("text of the file", "folder")
    with pytest.raises(UsageError, match="lacks the column 'text'"):
        read_reviews(directory, Columns(text="text"))
