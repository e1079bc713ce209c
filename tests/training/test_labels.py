"""Labels: classes are used as they are, and labels that are no classes are refused with advice."""

import json
import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from consumer.errors import UsageError
from tests.tiny_encoder import write_table
from training.data.reviews import read_reviews

pytestmark = pytest.mark.training


def labelled(path: Path, labels: Sequence[object], rows: int = 40) -> Path:
    """A file of `rows` different reviews, `labels` in turn; jsonl or xlsx."""
    table = [(f"film number {i}", labels[i % len(labels)]) for i in range(rows)]
    if path.suffix == ".xlsx":
        return write_table(path, [("Reviews", "Sentiment"), *table])
    path.write_text("\n".join(json.dumps({"Reviews": text, "Sentiment": label}) for text, label in table))
    return path


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        ((0, 1), ("0", "1")),
        ((0.0, 1.0), ("0", "1")),
        (("0.0", 1), ("0", "1")),
        ((-1, 0, 1), ("-1", "0", "1")),
        ((" pos ", "neg"), ("neg", "pos")),
        (("+1", "-0.0", "1.0", "0"), ("0", "1")),
        (("01", "-02"), ("-02", "01")),
        ((True, False), ("False", "True")),
        (("very good, really", "bad"), ("bad", "very good, really")),
        (("sci-fi/fantasy", "drama"), ("drama", "sci-fi/fantasy")),
        (("1.5x", "2.5x"), ("1.5x", "2.5x")),
        (("nan", "inf"), ("inf", "nan")),
    ],
)
@pytest.mark.parametrize("name", ["r.jsonl", "r.xlsx"])
def test_classes_are_taken_as_they_are(
    tmp_path: Path, name: str, labels: Sequence[object], names: Sequence[str]
) -> None:
    """Two or several; whole numbers lose the .0 that spreadsheets give them; a comma in a name is a comma."""
    assert read_reviews(labelled(tmp_path / name, labels)).label_names == names


@pytest.mark.parametrize(
    ("one", "other", "shown"),
    [("pos", "Pos", "Pos"), ("pos", "pos\u200b", r"pos\\u200b"), ("\xe9", "e\u0301", r"e\\u0301")],
)
def test_labels_that_look_alike_are_refused(tmp_path: Path, one: str, other: str, shown: str) -> None:
    """They would be separate classes, and accuracy would be halved."""
    with pytest.raises(
        UsageError, match=f"and '{shown}' in 'Sentiment' differ in case only, or in what cannot be seen"
    ):
        read_reviews(labelled(tmp_path / "r.jsonl", (one, "neg", other)))


def test_labels_that_would_steer_a_terminal_are_refused(tmp_path: Path) -> None:
    """They are shown in tables, cards and logs of the worker, as texts are not."""
    with pytest.raises(UsageError, match=r"the label 'p\\x1b\[31m' in 'Sentiment' holds control characters"):
        read_reviews(labelled(tmp_path / "r.jsonl", ("p\x1b[31m", "neg")))


@pytest.mark.parametrize(
    ("labels", "listed"),
    [
        ((0, 1, True, False), "'0', '1', 'False', 'True'"),
        (("1.0", "true", "0"), "'0', '1', 'true'"),
        ((True, False, 0), "'0', 'False', 'True'"),
    ],
)
@pytest.mark.parametrize("name", ["r.jsonl", "r.xlsx"])
def test_flags_written_in_two_ways_are_refused(
    tmp_path: Path, name: str, labels: Sequence[object], listed: str
) -> None:
    """0 and False, 1 and True would be four classes that mean two; the message names those that are mixed."""
    # Given a column with some flags written as numbers and some as words
    file = labelled(tmp_path / name, labels)
    # When it is read, then it is refused
    with pytest.raises(UsageError, match=f"the labels {listed} in 'Sentiment' mix numbers with true and false"):
        read_reviews(file)


@pytest.mark.parametrize("labels", [(7.3, 2, 8, 4), ("7.3", "2"), ("7,3", "2,5"), (0.5, 1, 1.5)])
def test_continuous_ratings_are_refused_with_advice(tmp_path: Path, labels: Sequence[object]) -> None:
    """Grades with fractions are no classes, however few of them there are."""
    with pytest.raises(UsageError, match=r"are numbers such as .*, and classes are needed: make some of them first"):
        read_reviews(labelled(tmp_path / "r.jsonl", labels))


@pytest.mark.parametrize(
    "labels", [("war|drama", "war"), ("war;drama", "drama;love"), ("war, drama", "war"), ("['war', 'love']", "['war']")]
)
def test_several_labels_in_a_cell_are_refused(tmp_path: Path, labels: Sequence[str]) -> None:
    """Cells whose parts occur in other cells are lists of labels."""
    with pytest.raises(UsageError, match=re.escape(f"{labels[0]!r} in 'Sentiment' looks like several labels")):
        read_reviews(labelled(tmp_path / "r.jsonl", labels))


def test_lists_of_labels_are_refused(tmp_path: Path) -> None:
    """Lists in jsonl or parquet are named with the row of the first."""
    import pyarrow
    import pyarrow.parquet

    labels = ["war", ["war", "drama"]]
    with pytest.raises(UsageError, match="row 2: the label is a list; several labels per text cannot be learned"):
        read_reviews(labelled(tmp_path / "r.jsonl", labels))
    table = pyarrow.table({"text": ["a", "b"], "label": [["war"], ["war", "drama"]]})
    pyarrow.parquet.write_table(table, tmp_path / "r.parquet")
    with pytest.raises(UsageError, match="row 1: the label is a list"):
        read_reviews(tmp_path / "r.parquet")


@pytest.mark.parametrize("flags", [(0, 1), (0.0, 1.0), (False, True)])
def test_several_columns_of_flags_are_refused(tmp_path: Path, flags: tuple[object, object]) -> None:
    """A file with a column of 0 and 1 per label is not taken for one whose label column has an unusual name."""
    records = [{"text": f"film {i}", "toxic": flags[i % 2], "rude": flags[i % 3 == 0]} for i in range(40)]
    (tmp_path / "r.jsonl").write_text("\n".join(map(json.dumps, records)))
    with pytest.raises(UsageError, match="2 columns of 0 and 1 \\('toxic', 'rude'\\), as for several labels per text"):
        read_reviews(tmp_path / "r.jsonl")
