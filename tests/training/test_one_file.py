"""One file that trains and measures: what is held out of it, and what happens to texts that repeat."""

from pathlib import Path

import pytest

from consumer.errors import UsageError
from tests.tiny_encoder import write_reviews, write_table
from training.data.leaks import find_leaks
from training.data.one_file import prepare_one
from training.data.prepare import DataOptions, Prepared

OPTIONS = DataOptions(test_share=0.25)


def prepared(file: Path, seed: int = 1) -> tuple[Prepared, list[str]]:
    """The rows of `file` and what was reported."""
    said: list[str] = []
    return prepare_one(file, seed, OPTIONS, said.append), said


def test_a_share_of_each_label_is_held_out(tmp_path: Path) -> None:
    """Stratified, drawn with the seed, and every row is on one side."""
    reviews = write_reviews(tmp_path / "reviews.xlsx", 120, seed=1, labels=("neg", "pos", "so"))
    data, said = prepared(reviews)
    assert {label: data.test.labels.count(label) for label in data.test.label_names} == {"neg": 10, "pos": 10, "so": 10}
    assert len(data.train) == 90
    assert set(data.train.texts).isdisjoint(data.test.texts)
    assert data.test.texts == prepared(reviews)[0].test.texts
    assert data.test.texts != prepared(reviews, seed=2)[0].test.texts
    assert said[-1].endswith("30 are held out to measure on (25% of reviews.xlsx, not an independent file)")


def test_near_duplicates_stay_on_one_side(tmp_path: Path) -> None:
    """Groups of texts that differ in a word: none is split between training and measuring, and none is lost."""
    words = [f"w{number}" for number in range(400)]
    rows: list[tuple[object, object]] = [("Reviews", "Sentiment")]
    for group in range(8):
        text = words[group * 30 : group * 30 + 30]
        rows += [(" ".join([*text, f"end{version}"]), ("neg", "pos")[group % 2]) for version in range(4)]
    single = [words[number : number + 40] for number in range(240, 360, 2)]
    rows += [
        (" ".join(sorted(text, key=lambda word: hash_of(word, i))), ("neg", "pos")[i % 2])
        for i, text in enumerate(single)
    ]
    data, said = prepared(write_table(tmp_path / "reviews.xlsx", rows))
    assert len(data.train) + len(data.test) == len(rows) - 1
    assert any("are near duplicates of others, and trained on instead" in line for line in said)
    leaks = find_leaks(data.train, data.test, OPTIONS.near)
    assert len(leaks) == 0


def hash_of(word: str, salt: int) -> int:
    """An order of words that differs from text to text."""
    return (int(word[1:]) * 7919 + salt * 104729) % 1009


def test_too_few_rows_to_hold_out_are_refused(tmp_path: Path) -> None:
    """With what to do about it."""
    reviews = write_reviews(tmp_path / "reviews.xlsx", 40, seed=1)
    with pytest.raises(UsageError, match="change --test-share, or give another file with --test"):
        prepared(reviews)
