"""Accuracy over cost: every way of reading, on the same rows, through the worker's own classifier."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from consumer.model.bundle.loading import load_bundle
from tests.tiny_bundle import write_tiny_bundle
from tests.tiny_cascade import write_tiny_cascade
from tests.tiny_encoder import write_table
from training.cli import main
from training.data.reviews import Reviews
from training.measure.curves.load import is_loaded
from training.measure.curves.points import Point, with_front
from training.measure.curves.reading_curve import measure_readings, positions

pytestmark = pytest.mark.training

SHIPPED = Path(__file__).parents[2] / "bundles" / "student-imdb"

#: The verdict comes last: only who reads so far gets it right. 60 words are 62 tokens.
LATE = "good " + "the was " * 28 + "awful awful awful"
EARLY = "great film " + "the was " * 29


def reviews(rows: int = 40) -> Reviews:
    """Long reviews, half with their verdict at the end, each with one word of its own."""
    texts = [f"{LATE if row % 2 else EARLY} x{row}" for row in range(rows)]
    return Reviews(Path("rows.csv"), "0" * 64, tuple(texts), tuple("neg" if row % 2 else "pos" for row in range(rows)))


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model that adds up words; it reads 40 tokens, head and tail."""
    return write_tiny_bundle(tmp_path_factory.mktemp("curve") / "bundle")


def test_each_way_is_really_read_in_that_way(bundle: Path) -> None:
    """Head misses a verdict at the end, and a long enough head, tail or windows find it; differences are paired."""
    curve = measure_readings(load_bundle(bundle), None, reviews(), lengths=(24, 40, 128))
    found = {point.name: point for point in curve.points}
    assert len(found) == 9
    assert (found["head 24"].accuracy, found["head 40"].accuracy) == (0.5, 0.5)
    assert {name for name, point in found.items() if point.accuracy == 1.0} == found.keys() - {"head 24", "head 40"}
    assert (found["head 24"].tokens, found["head 128"].tokens) == (24, 63)
    assert curve.own is found["head and tail 40"]
    assert found["head 24"].difference is not None
    points, low, high = found["head 24"].difference
    assert points == -50
    assert low < -50 < high < -30
    assert all(point.reviews_per_second > 0 for point in curve.points)


def test_lengths_without_positions_are_left_out() -> None:
    """The model is asked: a shipped one has 512 positions, and the report says what is missing."""
    curve = measure_readings(load_bundle(SHIPPED), None, reviews(2), lengths=(64, 512, 640))
    assert {point.max_length for point in curve.points} == {64, 340, 512}
    assert curve.too_long == (640,)
    assert positions(load_bundle(SHIPPED), "int8") == 512  # a graph may answer beyond its table, with nonsense
    assert "not measured: 640 tokens; the model has fewer positions" in "\n".join(curve.as_lines())


def test_a_kept_answer_is_not_asked_again(bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a kill, the same command asks the model only what is missing; each way has answers of its own."""
    first = measure_readings(load_bundle(bundle), None, reviews(), tmp_path, lengths=(24,))
    asked: list[int] = []
    monkeypatch.setattr("training.measure.curves.reading_curve.score", lambda _, texts: asked.append(len(texts)))
    again = measure_readings(load_bundle(bundle), None, reviews(), tmp_path, lengths=(24,))
    assert asked == []
    assert len(list(tmp_path.iterdir())) == len(first.points) == 4
    assert [each.accuracy for each in again.points] == [each.accuracy for each in first.points]


def point(accuracy: float, rate: float) -> Point:
    """A way of reading that was measured so."""
    return Point("head 8", "head", 8, None, False, accuracy, (0, 1), 0, 8.0, rate, None)


def test_the_front_has_what_nothing_beats() -> None:
    """Slower and no more accurate is beaten; equals are both on it."""
    points = with_front([point(0.9, 10), point(0.8, 20), point(0.8, 15), point(0.95, 5), point(0.95, 5), point(0.9, 9)])
    assert [each.best for each in points] == [True, True, False, True, True, False]


@pytest.mark.parametrize(
    ("busy", "cores", "used", "loaded"), [(0.1, 2, 2, False), (0.5, 2, 2, True), (6, 8, 2, False), (7, 8, 2, True)]
)
def test_a_loaded_machine_is_noticed(busy: float, cores: int, used: int, *, loaded: bool) -> None:
    """If other processes need the cores that the model is timed on; idle ones beside them do not count."""
    assert is_loaded(busy, cores, used) is loaded


def test_the_warning_and_the_advice_are_in_the_text(bundle: Path) -> None:
    """What is wrong with the times, and the fastest way that loses less than a point."""
    curve = measure_readings(load_bundle(bundle), None, reviews(), lengths=(24,))
    fast = replace(curve.points[0], reviews_per_second=2 * curve.own.reviews_per_second, best=True)
    quiet = replace(curve, loaded=False, points=(fast, curve.own))
    assert quiet.remarks == []  # half of its answers are wrong
    alike = replace(fast, against_own=fast.against_own and replace(fast.against_own, rows=4000, worse=9, better=9))
    advised = replace(quiet, points=(alike, curve.own))
    assert "2.0 times the throughput" in advised.remarks[0]
    assert replace(advised, load=1.5, loaded=True).remarks[0].startswith("WARNING: other processes kept 1.5 cores busy")


def table(path: Path) -> Path:
    """The same reviews as a file."""
    rows = reviews()
    return write_table(path, [("Reviews", "Sentiment"), *zip(rows.texts, rows.labels, strict=True)])


def test_the_command_writes_it_everywhere(bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """JSON and the page have every point; without the flag neither has a curve."""
    data, page = table(tmp_path / "r.xlsx"), tmp_path / "page.html"
    words = ["evaluate", "--bundle", str(bundle), "--data", str(data), "--json", "--report", str(page)]
    assert main([*words, "--reading-curve", "--curve-rows", "20"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)["reading_curve"]
    assert (found["rows"], len(found["points"])) == (20, 16)
    assert sum(each["own"] for each in found["points"]) == 1
    text = page.read_text(encoding="utf-8")
    assert text.count('class="ring"') == 1
    _, drawn, table_of_points = re.split("<h2>Accuracy over cost</h2>|</figure>", text)[-3:]
    assert drawn.count('<circle class="point"') == 16
    assert all(f'<th class="name">{each["name"]}</th>' in table_of_points for each in found["points"])
    assert main(words) == 0
    assert "reading_curve" not in json.loads(capsys.readouterr().out)
    assert "Accuracy over cost" not in page.read_text(encoding="utf-8")


def test_what_cannot_be_compared_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A cascade, before anything is measured, and rows for a curve that is not drawn: exit code 2, and why."""
    cascade, data = write_tiny_cascade(tmp_path / "cascade"), table(tmp_path / "r.xlsx")
    for more, why in (
        (["--reading-curve"], "the members of a cascade read in ways of their own"),
        (["--curve-rows", "9"], "--curve-rows needs --reading-curve"),
    ):
        assert main(["evaluate", "--bundle", str(cascade), "--data", str(data), *more]) == 2
        assert why in capsys.readouterr().err.splitlines()[-1]
