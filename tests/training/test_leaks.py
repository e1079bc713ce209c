"""Leak check: no text that was trained on, exactly or slightly changed, is measured on unnoticed."""

import itertools
import json
import random
import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from consumer.errors import UsageError
from consumer.model.texts.cleaning import normalised
from tests.tiny_bundle import write_tiny_bundle
from tests.tiny_encoder import write_table
from training.cli import main
from training.data.leaks import examples, find_leaks
from training.data.prepare import DEFAULTS, DataOptions, prepare, prepare_test
from training.data.reviews import Reviews, read_reviews

pytestmark = pytest.mark.training

WORDS = [f"word{i}" for i in range(500)]
DROP = DataOptions(drop_leaked=True)


def texts(count: int, seed: int, words: int = 60) -> list[str]:
    """Different texts of `words` words that have no five of them in a row in common."""
    draw = random.Random(seed)
    return [" ".join(draw.choices(WORDS, k=words)) for _ in range(count)]


def reviews(name: str, rows: Sequence[str]) -> Reviews:
    """These texts, labels in turn, as if read from the file `name`."""
    labels = tuple(("neg", "pos")[row % 2] for row in range(len(rows)))
    return Reviews(Path(name), "0" * 64, tuple(rows), labels, places=tuple(range(2, len(rows) + 2)))


def write(path: Path, rows: Sequence[str]) -> Path:
    """A spreadsheet of these texts, labels in turn."""
    return write_table(
        path, [("Reviews", "Sentiment"), *((text, ("neg", "pos")[i % 2]) for i, text in enumerate(rows))]
    )


def shingles(text: str) -> set[tuple[str, ...]]:
    """Word 5-grams, the slow way."""
    words = normalised(text).split()
    return set(zip(*(words[start:] for start in range(5)), strict=False)) or {tuple(words)}


def test_a_text_is_the_same_whatever_its_case_spacing_and_line_breaks() -> None:
    """Exact duplicates are counted for each test row, and every training row with the text is found."""
    train = reviews("train.xlsx", [*texts(20, seed=1), "A fine<br />film, really", "a FINE film,&nbsp;really"])
    test = reviews("test.xlsx", ["A fine film,  really", *texts(20, seed=2), "a fine film, really"])
    leaks = find_leaks(train, test, 0.8)
    assert [(match.train, match.test) for match in leaks.exact] == [(20, 0), (20, 21)]
    assert (len(leaks.near), set(leaks.train_rows), set(leaks.test_rows)) == (0, {20, 21}, {0, 21})


def test_a_text_with_a_sentence_added_is_a_near_duplicate() -> None:
    """60 words with 10 added: 56 of 66 word 5-grams are shared, 0.848, which is near at 0.8 and not at 0.9."""
    train = reviews("train.xlsx", texts(30, seed=1))
    added = train.texts[7] + " " + texts(1, seed=3, words=10)[0]
    test = reviews("test.xlsx", [*texts(30, seed=2), added])
    (match,) = find_leaks(train, test, 0.8).near
    assert (match.train, match.test) == (7, 30)
    assert match.similarity == pytest.approx(56 / 66)
    assert len(find_leaks(train, test, 0.9)) == 0


@pytest.mark.parametrize(("first", "last"), [("\u4e00", "\u9fff"), ("\u0e01", "\u0e2e"), ("\u3041", "\u3096")])
def test_a_letter_is_a_word_where_words_have_no_spaces(first: str, last: str) -> None:
    """Chinese, Thai and Japanese: 120 letters with one changed share 111 of 121 runs of five."""
    draw = random.Random(6)
    letters = [chr(draw.randint(ord(first), ord(last))) for _ in range(120)]
    changed = [*letters[:60], "x", *letters[61:]]
    train = reviews("train.xlsx", [*texts(5, seed=1), "".join(letters)])
    (match,) = find_leaks(train, reviews("test.xlsx", ["".join(changed)]), 0.8).near
    assert match.train == 5
    assert match.similarity == pytest.approx(111 / 121, abs=0.01)


def test_a_test_text_counts_once_and_all_its_relatives_leave_the_training_rows() -> None:
    """A test text with an exact and two near duplicates is one leak and three training rows."""
    text = texts(1, seed=1)[0]
    train = reviews("train.xlsx", [*texts(10, seed=2), text + " more", text, "once " + text])
    leaks = find_leaks(train, reviews("test.xlsx", [text.upper()]), 0.8)
    assert (len(leaks.exact), len(leaks.near), set(leaks.train_rows)) == (1, 0, {10, 11, 12})
    # Without the exact one the nearest is named
    leaks = find_leaks(reviews("train.xlsx", [text + " more", text[: len(text) * 9 // 10]]), reviews("t", [text]), 0.8)
    (match,) = leaks.near
    assert match.train == 0
    assert match.similarity == pytest.approx(56 / 57)


def test_no_pair_above_the_threshold_is_missed_and_none_below_is_found() -> None:
    """200 changed texts: the hashed search finds what comparing everything with everything finds."""
    draw = random.Random(5)
    originals = texts(200, seed=4)
    changed = []
    for text in originals:
        words = text.split()
        for _ in range(draw.randint(1, 6)):
            words[draw.randrange(len(words))] = draw.choice(WORDS)
        changed.append(" ".join(words))
    slow = {
        (i, j)
        for (i, one), (j, other) in itertools.product(
            enumerate(map(shingles, originals)), enumerate(map(shingles, changed))
        )
        if len(one & other) / len(one | other) >= 0.6
    }
    found = find_leaks(reviews("train.xlsx", originals), reviews("test.xlsx", changed), 0.6)
    assert {(match.train, match.test) for match in (*found.near, *found.exact)} == slow
    assert 50 < len(slow) < 150


def test_short_texts_are_near_only_if_all_their_words_are_the_same() -> None:
    """Fewer than five words make one shingle; a text of emoji is compared as well."""
    train = reviews("train.xlsx", ["a good film", "bad", "👍"])
    test = reviews("test.xlsx", ["a good film too", "bad film", "👍", "👎"])
    leaks = find_leaks(train, test, 0.5)
    assert [(match.train, match.test) for match in leaks.exact] == [(2, 2)]
    assert leaks.near == ()


def test_examples_show_where_the_texts_stand_and_how_they_begin() -> None:
    """Three of each kind at most, 80 characters of each on one line."""
    base = texts(10, seed=1)
    base[1] = f"\x1b[2J{base[1]}"  # would clear the screen
    train = reviews("train.xlsx", base)
    test = reviews("test.xlsx", [*base[:4], *(f"added\n{text}" for text in base[4:8])])
    lines = examples(find_leaks(train, test, 0.8), train, test)
    assert len(lines) == 6
    assert lines[0] == f'test.xlsx row 2, the same in train.xlsx row 2: "{base[0][:80]}"'
    assert "[2J" in lines[1]
    assert "\x1b" not in lines[1]
    assert lines[3] == f'test.xlsx row 6, nearly the same (0.98) in train.xlsx row 6: "added {base[4][:74]}"'


def test_leaked_texts_leave_the_training_rows(tmp_path: Path) -> None:
    """Exact and near duplicates are both removed and reported; the test file is unchanged."""
    base = texts(120, seed=1)
    train = write(tmp_path / "train.xlsx", base)
    test = write(tmp_path / "test.xlsx", [*texts(98, seed=2), base[0].upper(), base[1] + " more"])
    said: list[str] = []
    data = prepare(train, test, DEFAULTS, said.append)
    assert (len(data.train), len(data.test), data.dropped) == (118, 100, 0)
    assert data.train.texts[0] == base[2]
    assert "leak check: 2 of 100 test texts (2.00%) also occur in train.xlsx: 1 exactly, 1 nearly" in "\n".join(said)
    assert "2 training rows with these texts are left out" in said


def test_near_duplicates_count_for_the_refusal(tmp_path: Path) -> None:
    """A test file of slightly changed training texts is refused like a copy."""
    base = texts(40, seed=1)
    train, test = write(tmp_path / "train.xlsx", base), write(tmp_path / "test.xlsx", [f"{text} more" for text in base])
    with pytest.raises(UsageError, match=re.escape("100.0% of the test texts occur in the training file")):
        prepare(train, test, DEFAULTS, print)


def test_leaked_texts_leave_the_test_rows_on_request(tmp_path: Path) -> None:
    """With --drop-leaked any share is allowed, because the rest was never seen; the number is reported."""
    base = texts(60, seed=1)
    train = write(tmp_path / "train.xlsx", base)
    test = write(tmp_path / "test.xlsx", [*base[:20], *texts(20, seed=2)])
    said: list[str] = []
    data = prepare(train, test, DROP, said.append)
    assert (len(data.train), len(data.test), data.dropped) == (40, 20, 20)
    assert "20 test rows with these texts are left out" in said


@pytest.mark.parametrize("options", [DROP, DataOptions(max_overlap=1.0)])
def test_a_file_without_a_row_left_is_refused(tmp_path: Path, options: DataOptions) -> None:
    """Training and measuring on the same file is refused with every option."""
    file = write(tmp_path / "train.xlsx", texts(40, seed=1))
    with pytest.raises(UsageError, match=r"without the texts that are in both files, .* 0 label"):
        prepare(file, file, options, print)


def test_dropping_leaks_without_the_training_file_is_refused(tmp_path: Path) -> None:
    """A report never claims a check that could not be made."""
    with pytest.raises(UsageError, match="--drop-leaked needs --train"):
        prepare_test(write(tmp_path / "test.xlsx", texts(40, seed=1)), None, DROP, print)


def test_evaluate_measures_without_leaked_texts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Given the training file, evaluate refuses a leak, or leaves it out and reports how many rows that were."""
    base = texts(60, seed=1)
    train = write(tmp_path / "train.xlsx", base)
    test = write(tmp_path / "test.xlsx", [*base[:20], *texts(20, seed=2)])
    command = ["evaluate", "--bundle", str(write_tiny_bundle(tmp_path / "bundle")), "--data", str(test), "--json"]
    assert main([*command, "--train", str(train)]) == 2
    assert "would be meaningless" in capsys.readouterr().err
    assert main([*command, "--train", str(train), "--drop-leaked"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["rows"], result["dropped"]) == (20, 20)
    assert main(command) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["rows"], result["dropped"]) == (40, 0)


@pytest.mark.parametrize("value", ["0.4", "1.1", "most"])
def test_a_similarity_that_cannot_be_searched_is_refused(value: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Below 0.5 too many pairs would be missed for the count to mean anything."""
    with pytest.raises(SystemExit) as stop:
        main(["inspect", "reviews.xlsx", "--near-duplicate", value])
    assert stop.value.code == 2
    assert "invalid similarity value" in capsys.readouterr().err


def test_the_row_of_a_filtered_file_stays_its_row(tmp_path: Path) -> None:
    """Rows left out before do not shift the numbers that are shown."""
    file = write_table(
        tmp_path / "r.xlsx",
        [("Reviews", "Sentiment"), ("", "pos"), *((t, "np"[i % 2]) for i, t in enumerate(texts(20, 1)))],
    )
    assert read_reviews(file).only([0, 5]).place(1) == "row 8"
