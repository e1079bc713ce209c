"""`review-training inspect`: what a file holds, before an hour of training shows it."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.tiny_bundle import seal, write_tiny_bundle
from tests.tiny_encoder import write_reviews, write_table
from training.cli import main
from training.data.describe import detect_languages

pytestmark = pytest.mark.training

ENGLISH = "I went to see this film with my whole family, and we were very happy with every minute of it"
GERMAN = "Ich war mit meiner ganzen Familie in diesem Film, und wir waren mit jeder Minute sehr zufrieden"
FRENCH = "Je suis allé voir ce film avec toute ma famille, et nous avons aimé chaque minute de cette histoire"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """30 English and 10 German texts of 21 and 18 words, a repeated one, two that contradict, an empty one."""
    table = [("Reviews", "Sentiment")]
    table += [(f"{ENGLISH if i % 4 else GERMAN} {i}", ("neg", "pos")[i % 2]) for i in range(40)]
    table += [(f"{GERMAN} 0", "neg"), ("good bad", "pos"), ("Good  Bad", "neg"), ("", "neg")]
    return write_table(tmp_path / "reviews.xlsx", table)


def inspected(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[str, Any]:
    """What `inspect --json` prints."""
    assert main(["inspect", *map(str, arguments), "--json"]) == 0
    result: dict[str, Any] = json.loads(capsys.readouterr().out)
    return result


def test_a_file_is_described_in_numbers(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Rows, labels, repeats and lengths in words are those of the file."""
    (found,) = inspected(capsys, file)["files"]
    assert (found["rows"], found["usable"], found["repeated"], found["contradicting"]) == (44, 43, 1, 2)
    assert found["labels"] == {"neg": 22, "pos": 21}
    assert found["language_sample"] == 43
    assert found["words"]["median"] == 21
    assert found["words"]["max"] == 21
    assert found["words"]["mean"] == pytest.approx((30 * 21 + 11 * 18 + 2 * 2) / 43)
    assert (found["tokens"], found["truncated"], found["max_length"]) == (None, None, None)


def test_a_file_is_described_for_people(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same in a few lines on stdout; stderr reports the row that is left out."""
    assert main(["inspect", str(file)]) == 0
    shown = capsys.readouterr()
    assert "  rows      44, 43 usable, 1 repeated, 2 with contradicting labels" in shown.out
    assert "  labels    two classes: neg 22 (51.2%), pos 21 (48.8%)" in shown.out
    assert "  words     mean 19, median 21, 95 % up to 21, 99 % up to 21, longest 21" in shown.out
    assert "tokens" not in shown.out
    assert "reviews.xlsx: row 45 left out: no text" in shown.err


def test_languages_are_distinguished(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each language has its share of the texts, whatever the order of the file."""
    shares = inspected(capsys, file)["files"][0]["languages"]
    assert shares["English"] == pytest.approx(32 / 43)
    assert shares["German"] == pytest.approx(11 / 43)
    assert detect_languages([FRENCH] * 3 + ["12345"]) == {"French": 3, "unknown": 1}


def test_the_sample_is_bounded_and_the_same_every_time() -> None:
    """64 texts are asked for their language, drawn with a fixed seed."""
    texts = [ENGLISH] * 300 + [GERMAN] * 100
    first = detect_languages(texts)
    assert first.total() == 64
    assert first == detect_languages(texts)
    assert first["German"] < 32


@pytest.mark.parametrize("option", ["--base", "--tokenizer"])
def test_the_share_that_a_limit_cuts_off_is_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str
) -> None:
    """Tokens are those of the tokenizer, its special ones included, and never cut before they are counted."""
    bundle = write_tiny_bundle(tmp_path / "bundle")
    rows = [
        ("the film was good " * 100, "pos"),
        *((f"good film {'bad ' * i}", "neg" if i % 2 else "pos") for i in range(19)),
    ]
    file = write_table(tmp_path / "r.xlsx", [("Reviews", "Sentiment"), *rows])
    source = bundle if option == "--base" else bundle / "tokenizer.json"
    (found,) = inspected(capsys, file, option, source, "--max-length", 12)["files"]
    assert found["tokens"]["max"] == 402
    assert found["tokens"]["median"] == pytest.approx(13.5)
    assert found["max_length"] == 12
    assert found["truncated"] == pytest.approx((1 + 10) / 20)
    assert main(["inspect", str(file), option, str(source)]) == 0
    limit, share = (40, "5.00%") if option == "--base" else (512, "0.00%")
    assert f"  truncated {share} of the texts are longer than {limit} tokens" in capsys.readouterr().out


def test_a_bundle_counts_with_its_own_length_and_windows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """2 windows of 10 tokens that share 2 read 8 + 6 words: no text of 14 is cut, every text of 15 is."""
    bundle = write_tiny_bundle(tmp_path / "bundle")
    seal(bundle, max_length=10, truncation="windows", windows={"overlap": 0.2, "most": 2})
    rows = [("good " * words + f"film {i}", "neg" if i % 2 else "pos") for words in (12, 13) for i in range(10)]
    file = write_table(tmp_path / "r.xlsx", [("Reviews", "Sentiment"), *rows])
    (found,) = inspected(capsys, file, "--base", bundle)["files"]
    assert (found["max_length"], found["truncation"]) == (10, "windows")
    assert found["windows"] == {"overlap": 0.2, "most": 2}
    assert (found["tokens"]["mean"], found["tokens"]["max"]) == (16.5, 17)
    assert found["truncated"] == 0.5
    assert inspected(capsys, file, "--base", bundle, "--max-length", 11)["files"][0]["truncated"] == 0
    assert main(["inspect", str(file), "--base", str(bundle)]) == 0
    assert "50.00% of the texts are longer than 2 windows of 10 tokens" in capsys.readouterr().out


def test_two_files_are_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Both are described, and what they share is reported but not refused."""
    train = write_reviews(tmp_path / "train.xlsx", 40, seed=1)
    result = inspected(capsys, train, train)
    assert [found["usable"] for found in result["files"]] == [40, 40]
    assert result["leaks"] == {"exact": 40, "near": 0, "threshold": 0.8, "share": 1.0, "train_rows": 40}
    assert main(["inspect", str(train), str(write_reviews(tmp_path / "test.xlsx", 40, seed=2))]) == 0
    assert "leak check: 0 of 40 test texts (0.00%) also occur in train.xlsx" in capsys.readouterr().out


def test_columns_can_be_named_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The options of reading are those of fit and evaluate."""
    table = [("Reviews", "plot", "x"), *((f"film {i}", f"plot {i}", ("n", "p")[i % 2]) for i in range(20))]
    file = write_table(tmp_path / "r.xlsx", table)
    found = inspected(capsys, file, "--text-column", "plot", "--label-column", "x")["files"][0]
    assert found["labels"] == {"n": 10, "p": 10}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--max-length", "128"), "--max-length counts tokens: add --base or --tokenizer"),
        (("--tokenizer", "nowhere.json"), "nowhere.json cannot be read (FileNotFoundError): name a tokenizer.json"),
        (("--tokenizer", "{file}"), "name a tokenizer.json"),
        (("--tokenizer", "{no_tokenizer}"), "tokenizer.json cannot be read"),
        (("--base", "{no_bundle}"), "manifest.json cannot be read (ValidationError): name another --base"),
        (("--label-column", "stars"), "lacks the column 'stars'"),
    ],
)
def test_what_cannot_be_counted_is_refused(
    tmp_path: Path, file: Path, capsys: pytest.CaptureFixture[str], options: tuple[str, str], message: str
) -> None:
    """Wrong files and options end in one line and exit code 2."""
    no_tokenizer = tmp_path / "empty.json"
    no_tokenizer.write_text("{}")
    no_bundle = write_tiny_bundle(tmp_path / "bundle")
    (no_bundle / "manifest.json").write_text("{}")
    named = options[1].format(file=file, no_tokenizer=no_tokenizer, no_bundle=no_bundle)
    command = ["inspect", str(file), options[0], named]
    assert main(command) == 2
    assert message in capsys.readouterr().err.strip().splitlines()[-1]
