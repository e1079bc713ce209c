"""The report of an evaluation: the same content as JSON, as text and as a page that needs nothing but itself."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from tests.tiny_bundle import POISON, positive_probability, seal, write_tiny_bundle
from tests.tiny_encoder import write_table
from training.cli import main
from training.measure.evaluate import wilson_interval

pytestmark = pytest.mark.training

TEXTS = ("good film", "the film was great", "moving", "bad film was", "awful", "the bad film " * 20)
EVIL = "awful <script>alert(1)</script> <img src=x onerror=alert(1)> & 'quoted'"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A correct bundle."""
    return write_tiny_bundle(tmp_path_factory.mktemp("report") / "bundle")


def write_data(path: Path, *extra: tuple[str, str, Any]) -> Path:
    """48 reviews with stars, labelled as the tiny model labels them, and then `extra`."""
    rows: list[Sequence[object]] = [("Reviews", "Sentiment", "Rating")]
    for number in range(48):
        text = TEXTS[number % len(TEXTS)]
        positive = positive_probability(text) > 0.5
        rows.append((f"{text} unheard{number}", "pos" if positive else "neg", 9 if positive else 1 + number % 2))
    return write_table(path, [*rows, *extra])


def evaluated(bundle: Path, data: Path, capsys: pytest.CaptureFixture[str], *options: str) -> dict[str, Any]:
    """What `evaluate --json` prints."""
    assert main(["evaluate", "--bundle", str(bundle), "--data", str(data), "--json", *options]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


class Page(HTMLParser):
    """What a page would run or load, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.loads: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note it."""
        self.tags.add(tag)
        self.loads += [name for name, _ in attrs if name in {"src", "href", "xlink:href"} or name.startswith("on")]

    def handle_data(self, data: str) -> None:
        """Note it."""
        self.text += data


def test_the_json_has_every_part(bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Figures with intervals, confusion, reliability, slices by length, truncation and stars, and the top losses."""
    # Given 48 reviews labelled as the model does, one labelled otherwise, and one that the model fails on
    data = write_data(tmp_path / "r.xlsx", ("great great", "neg", 2.0), (POISON, "pos", None))
    # When they are evaluated
    found = evaluated(bundle, data, capsys, "--top-losses", "2")
    # Then the counts are right
    assert (found["rows"], found["failed"], found["accuracy"]) == (50, 1, 48 / 50)
    assert found["confusion"] == {"neg": {"neg": 24, "pos": 1}, "pos": {"neg": 0, "pos": 24}}
    metric = found["metrics"]["accuracy"]
    assert metric["low"] < metric["value"] == found["accuracy"] < metric["high"]
    assert found["metrics"].keys() == {
        *("accuracy", "f1_macro", "roc_auc", "log_loss", "brier", "calibration_error", "ece")
    }
    assert (found["majority"], found["majority_accuracy"]) == ("neg", 0.5)
    assert (metric["low"], metric["high"]) == tuple(found["interval"]) == wilson_interval(48, 50)
    assert found["metrics"]["ece"].keys() == {"value", "by_chance", "chance_limit"}
    assert found["f1"].keys() == {"neg", "pos"}
    assert found["calibration"] is None
    assert sum(each["rows"] for each in found["reliability"]) == 49
    # And the slices split the rows, those without an answer left out of the lengths
    rows: dict[str, dict[str, int]] = {}
    for part in found["slices"]:
        rows.setdefault(part["by"], {})[part["name"]] = part["rows"]
    assert sum(rows["tokens read"].values()) == 49
    assert rows["read"] == {"whole": 41, "in part": 8}
    assert rows["stars"] == {"1": 8, "2": 17, "9": 24, "not a number": 1}
    # And the one review that the model erred on is the one loss, though two were asked for
    (worst,) = found["top_losses"]
    assert (worst["text"], worst["truth"], worst["predicted"]) == ("great great", "neg", "pos")
    assert worst["probability"] == pytest.approx(1 - positive_probability("great great"), abs=1e-4)
    assert (found["model"]["variant"], found["data"]["sha256"]) == (
        "fp32",
        hashlib.sha256(data.read_bytes()).hexdigest(),
    )


def test_the_page_needs_nothing_and_runs_nothing(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No script, no link, nothing loaded, whatever stands in a review, a label or the name of a file."""
    data = write_data(tmp_path / "<b>&r.xlsx", (EVIL, "pos", 10))
    page = tmp_path / "report.html"
    found = evaluated(bundle, data, capsys, "--report", str(page))
    text = page.read_text(encoding="utf-8")
    parsed = Page(text)
    assert parsed.loads == []
    assert not parsed.tags & {"script", "img", "link", "iframe", "b&r.xlsx"}
    assert "@import" not in text
    assert "url(" not in text
    assert "http:" not in text
    assert "https:" not in text
    assert EVIL in parsed.text
    assert "<b>&r.xlsx" in parsed.text
    # And it says what the JSON says
    assert f"{found['accuracy']:.2%}" in parsed.text
    assert f"{found['metrics']['roc_auc']['value']:.4f}" in parsed.text
    assert found["model"]["digest"] in parsed.text
    assert len(re.findall(r"<circle", text)) == len(found["reliability"])
    assert "prefers-color-scheme: dark" in text
    assert "@media print" in text


def test_a_calibrated_bundle_says_how_many_are_unsure(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Their share and the accuracy of the others stand in the figures, in the slices and on the page."""
    calibration = {
        "temperature": 1.0,
        "threshold": 0.9,
        "target_precision": 0.95,
        "unsure": 0.5,
        "ece_before": 0.1,
        "ece_after": 0.1,
        "variant": "fp32",
        "data": {"file": "held.xlsx", "sha256": "0" * 64, "rows": 100},
    }
    unsure = seal(Path(shutil.copytree(bundle, tmp_path / "bundle")), calibration=calibration)
    page = tmp_path / "report.html"
    found = evaluated(unsure, write_data(tmp_path / "r.xlsx"), capsys, "--report", str(page))
    below = sum(max(p := positive_probability(text), 1 - p) < 0.9 for text in TEXTS) / len(TEXTS)
    assert 0 < below < 1
    assert found["metrics"]["unsure"]["value"] == pytest.approx(below)
    assert found["metrics"]["accuracy_of_sure"]["value"] == 1
    assert found["calibration"]["threshold"] == 0.9
    assert all(part["unsure"] is not None for part in found["slices"])
    assert "Predictions with a probability below 0.9000 are marked unsure" in page.read_text()


def test_the_terminal_shows_figures_slices_and_losses(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """For people, without --json; --top-losses 0 shows no text of a review."""
    data = write_data(tmp_path / "r.xlsx", ("good film", "neg", 1), ("great great film", "neg", 1))
    command = ["evaluate", "--bundle", str(bundle), "--data", str(data)]
    assert main(command) == 0
    out = capsys.readouterr().out
    assert all(part in out for part in ("on 50 reviews", "ROC-AUC", "F1, neg", "truth", "tokens read", "stars 9"))
    assert 0 < out.index("great great film") < out.index("good film")
    assert out.count("but predicted pos") == 2
    assert "unheard" not in out
    assert main([*command, "--top-losses", "0"]) == 0
    assert "good film" not in capsys.readouterr().out


def test_a_review_does_not_steer_the_terminal_nor_end_the_program(bundle: Path, tmp_path: Path) -> None:
    """What a terminal would obey is not shown to it; what its encoding lacks is an escape."""
    # Given a review that is answered wrongly, with an escape sequence and an emoji, and a terminal without emojis
    data = tmp_path / "r.csv"
    rows = [(text, "pos" if positive_probability(text) > 0.5 else "neg") for text in TEXTS]
    rows = [(f"{text} unheard{n}", label) for n, (text, label) in enumerate(rows * 8)]
    lines = [f"{text},{label}" for text, label in [*rows, ("good \x1b]0;title\x07film \N{GRINNING FACE}", "neg")]]
    data.write_text("\n".join(["Reviews,Sentiment", *lines]))
    # When it is among the top losses
    command = [sys.executable, "-m", "training.cli", "evaluate", "--bundle", str(bundle), "--data", str(data)]
    environment = os.environ | {"PYTHONIOENCODING": "latin-1"}
    ended = subprocess.run(command, env=environment, capture_output=True, timeout=120, check=False)
    # Then it is shown, harmless
    assert ended.returncode == 0, ended.stderr.decode("latin-1")
    assert b"good ]0;titlefilm \\U0001f600" in ended.stdout
    assert b"\x1b" not in ended.stdout


def test_a_limit_draws_from_the_whole_file(bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file sorted by label, here always the wrong one, is measured on both, and twice on the same rows."""
    rows = [(f"{text} unheard{i}", label) for text, label in (("great", "neg"), ("awful", "pos")) for i in range(40)]
    data = write_table(tmp_path / "r.xlsx", [("Reviews", "Sentiment"), *rows])
    options = ("--limit", "20", "--top-losses", "20")
    found = evaluated(bundle, data, capsys, *options)
    of_label = {label: sum(predicted.values()) for label, predicted in found["confusion"].items()}
    assert sum(of_label.values()) == found["rows"] == 20
    assert min(of_label.values()) > 4
    assert len(found["top_losses"]) == 20
    again = evaluated(bundle, data, capsys, *options)
    assert [loss["text"] for loss in again["top_losses"]] == [loss["text"] for loss in found["top_losses"]]


def test_the_page_says_which_rows_were_measured(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """All of them, some that were drawn, or what is left without those that the training file has too."""
    data, page = write_data(tmp_path / "r.xlsx"), tmp_path / "report.html"
    shared = [(f"{TEXTS[number % len(TEXTS)]} unheard{number}", ("pos", "neg")[number % 2]) for number in range(16)]
    train = write_table(tmp_path / "train.xlsx", [("Reviews", "Sentiment"), *shared])
    dropping = ("--train", str(train), "--drop-leaked")
    dropped = evaluated(bundle, data, capsys, *dropping)["dropped"]
    assert dropped >= 16
    left_out = f", {dropped} that occur in the training file left out"
    for options, words in (
        ((), "48 usable rows"),
        (("--limit", "48"), "48 usable rows"),
        (("--limit", "20"), "20 usable rows, drawn with a fixed seed"),
        (dropping, f"{48 - dropped} usable rows{left_out}"),
        ((*dropping, "--limit", "9"), f"9 usable rows, drawn with a fixed seed{left_out}"),
    ):
        evaluated(bundle, data, capsys, *options, "--report", str(page))
        assert f", {words}</p>" in page.read_text()


def test_rows_of_one_label_are_measured_as_far_as_they_go(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A small --limit leaves no ROC-AUC; everything else is reported, on the page as well."""
    page = tmp_path / "report.html"
    found = evaluated(bundle, write_data(tmp_path / "r.xlsx"), capsys, "--limit", "1", "--report", str(page))
    assert found["rows"] == 1
    assert found["metrics"]["roc_auc"] is None
    assert "no meaning on these rows" in page.read_text()


def test_a_model_that_guesses_is_reported_as_such(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Half of the labels are wrong: 50 % accuracy, which always answering one label reaches as well."""
    rows = [(f"{('great', 'awful')[i % 2]} unheard{i}", ("neg", "pos")[i // 2 % 2]) for i in range(40)]
    page = tmp_path / "report.html"
    data = write_table(tmp_path / "r.xlsx", [("Reviews", "Sentiment"), *rows])
    assert main(["evaluate", "--bundle", str(bundle), "--data", str(data), "--report", str(page)]) == 0
    warning = "WARNING: not measurably better than always answering neg (50.00%)"
    out = capsys.readouterr().out
    assert warning in out
    assert re.search(r"Always neg +50.00%", out)
    assert warning in Page(page.read_text()).text
    # And a good model is compared with the same baseline, without the warning
    assert main(["evaluate", "--bundle", str(bundle), "--data", str(write_data(tmp_path / "good.xlsx"))]) == 0
    out = capsys.readouterr().out
    assert "Always neg" in out
    assert "WARNING" not in out


@pytest.mark.parametrize("rows", [[("good", "pos")] * 10, [("good", "pos"), ("bad", "neg")] * 5, [("awful", "neg")]])
def test_a_few_rows_or_one_label_can_be_measured(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], rows: list[tuple[str, str]]
) -> None:
    """Training needs 8 rows of each label; an accuracy needs one row, and its interval says how little that is."""
    table = [("Reviews", "Sentiment"), *((f"{text} unheard{i}", label) for i, (text, label) in enumerate(rows))]
    data = write_table(tmp_path / "r.xlsx", table)
    found = evaluated(bundle, data, capsys)
    assert (found["rows"], found["accuracy"]) == (len(rows), 1)
    assert tuple(found["interval"]) == wilson_interval(len(rows), len(rows))
    # And compared with what the model was trained on, with one leaked text
    train = write_table(tmp_path / "train.xlsx", [*table[:2], ("another text", "pos")])
    if len(rows) > 1:
        options = ("--train", str(train), "--drop-leaked", "--near-duplicate", "1")
        assert evaluated(bundle, data, capsys, *options)["rows"] < len(rows)
    else:
        command = ["evaluate", "--bundle", str(bundle), "--data", str(data), "--train", str(train), "--drop-leaked"]
        assert main(command) == 2
        assert "no row is left to measure on" in capsys.readouterr().err


def test_nothing_answered_is_a_report_too(bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file of nothing but texts that the model fails on is 0 % right, and no crash."""
    table = [("Reviews", "Sentiment"), *((f"{POISON} unheard{i}", ("neg", "pos")[i % 2]) for i in range(20))]
    page = tmp_path / "report.html"
    found = evaluated(bundle, write_table(tmp_path / "r.xlsx", table), capsys, "--report", str(page))
    assert (found["accuracy"], found["failed"], found["reliability"], found["top_losses"]) == (0, 20, [], [])
    assert "20 reviews got no answer" in page.read_text()


def test_measuring_on_the_training_file_is_told(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By its content, on the terminal and on the page."""
    data = write_data(tmp_path / "other-name.xlsx")
    source = {"file": "train.xlsx", "sha256": hashlib.sha256(data.read_bytes()).hexdigest(), "rows": 48}
    trained = seal(Path(shutil.copytree(bundle, tmp_path / "bundle")), training_data=[source])
    page = tmp_path / "report.html"
    command = ["evaluate", "--bundle", str(trained), "--data", str(data), "--report", str(page)]
    assert main(command) == 0
    assert "is what tiny was trained on" in capsys.readouterr().err
    assert "The model was trained on this file" in page.read_text()
    assert evaluated(trained, data, capsys)["data"]["trained_on"] is True
    assert evaluated(bundle, data, capsys)["data"]["trained_on"] is False


def test_a_column_with_many_values_is_no_star_column(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A price called score gives no slices, and a line that says so."""
    extra = tuple((f"good unheard{n}", "pos", n / 7) for n in range(30))
    assert main(["evaluate", "--bundle", str(bundle), "--data", str(write_data(tmp_path / "r.xlsx", *extra))]) == 0
    printed = capsys.readouterr()
    assert "no slices by stars" in printed.err
    assert "stars" not in printed.out


def test_a_report_that_cannot_be_written_is_refused_before_measuring(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A directory that does not exist, or a directory itself."""
    data = write_data(tmp_path / "r.xlsx")
    for page, message in (
        (tmp_path / "none" / "report.html", "its directory does not exist"),
        (tmp_path, "is a directory"),
    ):
        command = ["evaluate", "--bundle", str(bundle), "--data", str(data), "--report", str(page)]
        assert main(command) == 2
        printed = capsys.readouterr()
        assert message in printed.err
        assert printed.out == ""
        assert "measuring" not in printed.err


@pytest.mark.parametrize("number", ["-1", "many", "1.5"])
def test_a_wrong_number_of_losses_is_refused(number: str, capsys: pytest.CaptureFixture[str]) -> None:
    """With the usage of the command."""
    with pytest.raises(SystemExit, match="2"):
        main(["evaluate", "--bundle", "b", "--data", "d", "--top-losses", number])
    assert "--top-losses" in capsys.readouterr().err


def test_labels_that_the_bundle_does_not_know_are_refused(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The line names both."""
    table = [("Reviews", "Sentiment"), *((f"film {i}", ("schlecht", "gut")[i % 2]) for i in range(20))]
    data = write_table(tmp_path / "r.xlsx", table)
    assert main(["evaluate", "--bundle", str(bundle), "--data", str(data)]) == 2
    assert "has the labels gut, schlecht; the bundle knows neg, pos" in capsys.readouterr().err


def test_reviews_whose_words_are_unknown_are_a_part_of_their_own(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """How many, and how accurate; where the words are known, nothing is said of them."""
    known = evaluated(bundle, write_data(tmp_path / "known.xlsx"), capsys)
    assert not any(part["by"] == "words" for part in known["slices"])
    data = write_data(tmp_path / "r.xlsx", ("😍😍😍", "pos", None), ("🤮🤮🤮", "neg", None))
    parts = {part["name"]: part["rows"] for part in evaluated(bundle, data, capsys)["slices"] if part["by"] == "words"}
    assert parts == {"mostly known": known["rows"], "mostly unknown": 2}
