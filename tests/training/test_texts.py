"""`predict` reads the same texts from a file as `fit`: none is torn, swallowed or guessed."""

import json
import re
from pathlib import Path

import pytest

from consumer.errors import UsageError
from consumer.tables.names import USUAL
from training.data.columns import choose_columns
from training.data.readers import read_table
from training.data.texts import Row, read_texts

pytestmark = pytest.mark.training


def write(path: Path, content: str) -> str:
    """`path` with `content`, as `read_texts` takes it."""
    path.write_text(content, encoding="utf-8")
    return str(path)


def test_a_row_that_an_unquoted_comma_tore_has_no_text(tmp_path: Path) -> None:
    """Half a review gets no label: the row has the same reason that `fit` reports."""
    file = write(tmp_path / "r.csv", "text\nGreat, really great\nfine\ntrailing,,\nBad, not good\n")
    torn = "2 cells under 1 columns: a text is not quoted"
    assert list(read_texts(file, None)) == [
        Row(file, 2, None, torn),
        Row(file, 3, "fine"),
        Row(file, 4, "trailing"),
        Row(file, 5, None, torn),
    ]
    assert [(bad.row, bad.reason) for bad in read_table(Path(file)).broken] == [(2, torn), (5, torn)]


@pytest.mark.parametrize(
    ("name", "lines", "texts"),
    [
        ("never quotes.tsv", ['"Great film\tpos', "Bad film\tneg"], ['"Great film', "Bad film"]),
        (
            "quotes.tsv",
            ['"Great\tfilm,\n\nreally\nso"\tpos', "Bad film\tneg"],
            ["Great\tfilm,\n\nreally\nso", "Bad film"],
        ),
        ("quotes.csv", ['"Great film,\nreally",pos', "Bad film,neg"], ["Great film,\nreally", "Bad film"]),
    ],
)
def test_quotation_marks_mean_what_they_mean_to_fit(
    tmp_path: Path, name: str, lines: list[str], texts: list[str]
) -> None:
    """A tsv file that never quotes keeps them in its texts, and none of them swallows the rows below it."""
    header = "text,label" if name.endswith(".csv") else "text\tlabel"
    file = write(tmp_path / name, "\n".join([header, *lines]))
    assert [row.text for row in read_texts(file, None)] == texts == read_table(Path(file)).columns["text"]


@pytest.mark.parametrize(
    ("name", "content"),
    [("open.csv", 'text,label\nfine,pos\n"never closed,neg\nfine,pos\n'), ("inside.csv", 'text\n"a "word" inside"\n')],
)
def test_a_quotation_mark_in_a_wrong_place_is_refused_as_fit_refuses_it(
    tmp_path: Path, name: str, content: str
) -> None:
    """It would swallow the rest of the file: hundreds of texts would be one, without a word."""
    file = write(tmp_path / name, content)
    with pytest.raises(UsageError) as by_fit:
        read_table(Path(file))
    with pytest.raises(UsageError, match=re.escape(str(by_fit.value))):
        list(read_texts(file, None))


@pytest.mark.parametrize("name", ["comment", "Reviews", " Review_Text", "CONTENT"])
def test_a_column_that_fit_finds_is_found_here(tmp_path: Path, name: str) -> None:
    """A file needs the same options to be labelled as to be trained on, as a table and as objects."""
    table = write(tmp_path / "r.csv", f"id,{name},stars\n1,fine,9\n")
    objects = write(tmp_path / "r.jsonl", json.dumps({"id": 1, name: "fine", "stars": 9}))
    for file in (table, objects):
        assert [row.text for row in read_texts(file, None)] == ["fine"]
        assert choose_columns(Path(file), read_table(Path(file)), USUAL) == (name, "stars")


def test_the_field_of_texts_is_one_for_the_whole_file(tmp_path: Path) -> None:
    """An object without its text is not labelled by another field that is called like one; `fit` leaves it out too."""
    lines = [{"document": "a.txt"}, {"text": "fine", "document": "b.txt"}, {"text": None}]
    file = write(tmp_path / "r.jsonl", "\n".join(map(json.dumps, lines)))
    assert list(read_texts(file, None)) == [
        Row(file, 1, None, "no field text", {"document": "a.txt"}),
        Row(file, 2, "fine", None, {"document": "b.txt"}),
        Row(file, 3, None),
    ]
    assert read_table(Path(file)).columns["text"] == [None, "fine", None]
