"""`review-training cascade`: what it chooses, what it measures, what it writes, and what it refuses."""

import json
import random
import re
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from consumer.model.bundle.manifest import Source
from consumer.model.cascade.bundle import CascadeBundle, load
from consumer.model.opening import load_labeller
from tests.tiny_bundle import positive_probability, write_tiny_bundle
from tests.tiny_encoder import write_table as write_rows
from training.cli import main
from training.comparison.contestants import measure_bundle
from training.data.reviews import file_sha256, read_reviews
from training.measure.cascades.routing import Loss, choose, lost, passed_on_range, route
from training.predictor import Predictor

pytestmark = pytest.mark.training


def probabilities(*positive: float) -> Any:
    """Shape (rows, 2)."""
    return np.array([[1 - each, each] for each in positive])


def test_each_row_is_answered_by_the_first_member_that_is_sure() -> None:
    """At the threshold a member answers; a failure is passed on, and one of the last member is wrong."""
    first, last = probabilities(0.8, 0.7, 0.1, np.nan, np.nan), probabilities(0.4, 0.4, 0.9, 0.9, np.nan)
    routed = route([first, last], np.array([1, 1, 0, 1, 1]), (0.8,))
    assert routed.member.tolist() == [0, 1, 0, 1, 1]
    assert routed.right.tolist() == [True, False, True, True, False]
    assert (routed.share(0), routed.share(1)) == (1.0, 0.6)


def test_three_members_take_turns() -> None:
    """Each gets what the one before it passes on."""
    members = [probabilities(0.9, 0.6, 0.6), probabilities(0.1, 0.9, 0.6), probabilities(0.1, 0.1, 0.1)]
    assert route(members, np.array([1, 1, 1]), (0.8, 0.8)).member.tolist() == [0, 1, 2]


def test_what_is_lost_is_counted_on_pairs() -> None:
    """12 rows only the reference has right, 4 only the cascade; scipy's figure for the exact test."""
    reference = np.array([True] * 12 + [False] * 4 + [True] * 80 + [False] * 4)
    cascade = np.array([False] * 12 + [True] * 4 + [True] * 80 + [False] * 4)
    loss = lost(reference, cascade)
    assert (loss.rows, loss.worse, loss.better, loss.points) == (100, 12, 4, 8.0)
    assert loss.p_value == pytest.approx(0.0768, abs=1e-4)
    low, high = loss.interval
    assert low < 8 < high
    # Agresti & Min 2005, section 3, by hand: (12.5 - 4.5) / 102 +- 1.96 * sqrt(17 - 64 / 102) / 102
    assert (low, high) == pytest.approx((0.0641, 15.6222), abs=1e-2)
    assert lost(reference, reference) == Loss(100, 0, 0, 1.0)


def test_the_interval_covers_what_it_promises() -> None:
    """Of 400 samples of 500 pairs, about 95 % have the true loss in their interval."""
    generator = np.random.default_rng(3)
    covered = 0
    for _ in range(400):
        drawn = generator.random(500)
        loss = lost(drawn >= 0.03, ~((drawn >= 0.03) & (drawn < 0.08)))  # 3 % only the cascade, 5 % only the reference
        covered += loss.interval[0] <= 2.0 <= loss.interval[1]
    assert covered >= 0.93 * 400


def overlapping(rows: int, seed: int = 0) -> tuple[list[Any], Any]:
    """Two calibrated members on the same rows: the second one knows more."""
    generator = np.random.default_rng(seed)
    signal = generator.normal(0, 2, rows)
    truth = (generator.random(rows) < 1 / (1 + np.exp(-3 * signal))).astype(np.int64)
    noisy = signal + generator.normal(0, 0.5, rows)
    return [probabilities(*(1 / (1 + np.exp(-2.5 * noisy)))), probabilities(*(1 / (1 + np.exp(-3 * signal))))], truth


def test_the_cheapest_thresholds_are_chosen_that_lose_little_enough() -> None:
    """Less may be lost, more is passed on; at the chosen ones and at all more cautious ones no more is lost."""
    members, truth = overlapping(4000)
    alone = route(members[1:], truth, ()).accuracy
    shares = []
    for allowed in (0.5, 1.0, 2.0):
        below = choose(members, truth, (1, 16), allowed)
        assert below is not None
        for threshold in np.linspace(below[0], 1, 20):
            assert 100 * (alone - route(members, truth, (threshold,)).accuracy) <= allowed + 0.3
        assert round(100 * (alone - route(members, truth, below).accuracy), 6) <= allowed
        shares.append(route(members, truth, below).share(1))
    assert shares[0] > shares[1] > shares[2] > 0
    assert choose([1 - members[1], members[1]], truth, (1, 16), 0.0) is None


def test_a_third_member_is_used_if_it_saves() -> None:
    """The cheap one in the middle spares the expensive one some rows."""
    (first, last), truth = overlapping(500)
    middle = (first + 3 * last) / 4
    below = choose([first, middle, last], truth, (1, 4, 100), 0.5)
    assert below is not None
    routed = route([first, middle, last], truth, below)
    assert 0 < routed.share(2) < routed.share(1) < 1


def test_the_range_of_the_share_covers_short_and_long_texts() -> None:
    """Long texts are passed on three times as often; an alert must not take them for another kind of traffic."""
    tokens = np.arange(1000)
    passed_on = np.where(tokens < 800, tokens % 10 == 0, tokens % 10 < 3)
    found = passed_on_range(tokens, passed_on)
    assert found.share == pytest.approx(0.14)
    assert 0.05 < found.low < 0.1
    assert 0.3 < found.high < 0.4


def write_table(path: Path, texts: Sequence[str], labels: Sequence[str]) -> Path:
    """Labelled reviews as a workbook."""
    return write_rows(path, [("Reviews", "Sentiment"), *zip(texts, labels, strict=True)])


def write_reviews(path: Path, rows: int, seed: int) -> Path:
    """Reviews whose labels are mostly what the words say; fixed seed."""
    generator = random.Random(seed)
    words = ("good", "great", "moving", "awful", "bad")
    texts = [" ".join([generator.choice(words)] * generator.randint(1, 3)) + f" unheard{seed}x{n}" for n in range(rows)]
    labels = ["pos" if generator.random() < positive_probability(text, 0.8) else "neg" for text in texts]
    return write_table(path, texts, labels)


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two members, of which the quick one does not know that moving is good; rows to choose and rows to measure."""
    path = tmp_path_factory.mktemp("cascade")
    write_tiny_bundle(path / "quick", name="quick", ignored=("moving",))
    write_tiny_bundle(path / "thorough", flipped=True, scale=0.8, name="thorough")
    write_reviews(path / "choose.xlsx", 400, 1)
    write_reviews(path / "test.xlsx", 500, 2)
    return path


def arguments(path: Path, out: str = "cascade", **changes: Any) -> list[str]:
    """A command line that works, with changes."""
    given = {"choose": path / "choose.xlsx", "test": path / "test.xlsx", "speed_rows": 50, "max_loss": 1} | changes
    options = [f"--{name.replace('_', '-')}={value}" for name, value in given.items()]
    return ["cascade", f"--member={path / 'quick'}", f"--member={path / 'thorough'}", f"--out={path / out}", *options]


@pytest.fixture(scope="module")
def built(workplace: Path) -> Path:
    """A cascade of them."""
    assert main(arguments(workplace, keep_answers=workplace / "kept")) == 0
    return workplace / "cascade"


def test_a_cascade_is_a_bundle_that_is_served_and_says_what_was_measured(built: Path) -> None:
    """Members by digest and relative path, golden texts for each, card, record and picture, all in the manifest."""
    loaded = load(built)
    assert isinstance(loaded, CascadeBundle)
    manifest = loaded.manifest
    assert [member.path for member in manifest.members] == ["../quick", "../thorough"]
    assert {"golden.json", "run.json", "MODEL_CARD.md", "cascade.png"} == manifest.files.keys()
    assert (built / "cascade.png").read_bytes()[:4] == b"\x89PNG"
    labeller = load_labeller(built)
    labeller.self_check()
    labeller.close()
    record = json.loads((built / "run.json").read_text())
    assert manifest.measured is not None
    assert record["lost"]["points"] == manifest.measured.lost <= 1
    assert record["lost"]["interval"][0] <= record["lost"]["points"] <= record["lost"]["interval"][1]
    assert (record["data"]["choose"]["rows"], record["data"]["test"]["rows"]) == (400, 500)
    assert record["evaluation"]["rows"] == 500
    assert len(record["speed"]["members"]) == 2
    assert all(each["reviews_per_second"] > 0 for each in record["points"])
    assert record["speed"]["rows"] == 50
    first = manifest.members[0]
    assert first.passed_on is not None
    assert first.passed_on.low < first.passed_on.share < first.passed_on.high
    card = (built / "MODEL_CARD.md").read_text()
    assert "`quick` (fp32), `../quick`" in card
    assert "McNemar" in card
    assert "points allowed" in card


def test_what_was_measured_is_what_is_served(built: Path, workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`evaluate` on the same file gives the same accuracy, and the rows of each member."""
    assert main(["evaluate", f"--bundle={built}", f"--data={workplace / 'test.xlsx'}", "--json"]) == 0
    measured = json.loads(capsys.readouterr().out)
    record = json.loads((built / "run.json").read_text())
    assert measured["accuracy"] == pytest.approx(record["evaluation"]["accuracy"])
    assert measured["log_loss"] == pytest.approx(record["evaluation"]["log_loss"], abs=1e-6)
    members = {each["name"]: each["rows"] for each in measured["slices"] if each["by"] == "member"}
    assert members == {name: round(500 * share) for name, share in record["answered"].items()}
    assert len(members) == 2


def test_predictions_say_which_member_answered(
    built: Path, workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In Python and in files; a single model says nothing of members."""
    with Predictor.load(built) as predictor:
        assert predictor.members == ("quick", "thorough")
        outcomes = predictor.outcomes(["great great", "moving", ""])
    assert [outcome.member for outcome in outcomes] == ["quick", "thorough", None]
    source = write_table(workplace / "texts.xlsx", ["great great", "moving"], ["pos", "pos"])
    for bundle, members in ((built, ["quick", "thorough"]), (workplace / "quick", [None, None])):
        for suffix in ("jsonl", "csv"):
            out = workplace / f"labels.{suffix}"
            assert main(["predict", f"--bundle={bundle}", f"--out={out}", str(source)]) == 0
            lines = out.read_text().splitlines()
            if suffix == "jsonl":
                assert [json.loads(line).get("member") for line in lines] == members
            else:
                assert ("member" in lines[0].split(",")) == (members != [None, None])


def test_explain_asks_the_member_that_answers(built: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its probability is that of the cascade."""
    assert main(["explain", f"--bundle={built}", "--json", "moving"]) == 0
    explained = json.loads(capsys.readouterr().out)
    with Predictor.load(built) as predictor:
        (outcome,) = predictor.outcomes(["moving"])
    assert explained["score"] == pytest.approx(outcome.score)
    assert outcome.member == "thorough"


def test_compare_takes_a_cascade_for_one_model(built: Path, workplace: Path) -> None:
    """As accurate as it was measured, and as large as its members together."""
    result = measure_bundle("cascade", built, read_reviews(workplace / "test.xlsx"), {})
    single = measure_bundle("quick", workplace / "quick", read_reviews(workplace / "test.xlsx"), {})
    record = json.loads((built / "run.json").read_text())
    assert result.accuracy == pytest.approx(record["evaluation"]["accuracy"])
    assert result.parameters == 2 * single.parameters
    assert single.bytes < result.bytes < 3 * single.bytes
    assert result.note.startswith("fp32 + fp32")


def test_kept_answers_are_not_asked_again(workplace: Path, built: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With other options the members answer only golden texts: thresholds come from what is kept."""
    from consumer.model.classifier import Classifier

    asked: Counter[int] = Counter()
    classify = Classifier.classify

    def counted(self: Classifier, texts: Sequence[str], *others: Any) -> Any:
        asked[len(texts)] += 1
        return classify(self, texts, *others)

    monkeypatch.setattr(Classifier, "classify", counted)
    changed = arguments(workplace, "other", keep_answers=workplace / "kept", max_loss=5, speed_rows=0)
    assert main(changed) == 0
    assert max(asked) < 250  # golden texts and candidates for them
    record = json.loads((workplace / "other/run.json").read_text())
    assert record["speed"] is None
    assert record["max_loss"] == 5


def test_rows_that_choose_do_not_measure(workplace: Path) -> None:
    """If the files share texts, these are left out of what is measured."""
    both = [read_reviews(workplace / name) for name in ("choose.xlsx", "test.xlsx")]
    texts = [*both[1].texts, *both[0].texts[:300]]
    write_table(workplace / "overlapping.xlsx", texts, [*both[1].labels, *both[0].labels[:300]])
    assert main(arguments(workplace, "some", test=workplace / "overlapping.xlsx", speed_rows=0)) == 0
    record = json.loads((workplace / "some/run.json").read_text())
    assert record["data"]["test"]["rows"] == 500
    assert record["lost"]["on_all_rows"]["rows"] == 800


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"test": "choose.xlsx"}, "measuring needs at least 100"),
        ({"max_loss": 0, "member": "bad"}, "no thresholds lose at most 0 points"),
        ({"max_loss": -1}, "--max-loss is in percentage points"),
        ({"precision": 1}, "--precision is a share"),
        ({"choose": "few.xlsx"}, "choosing needs at least 100"),
        ({"choose": "trained.xlsx", "member": "taught"}, "taught was trained on"),
        ({"member": "quick"}, "two members have the same name"),
        ({"member": "other/elsewhere"}, None),
        ({"member": "/tmp"}, "has no manifest.json"),
        ({"member": "labels"}, "members must share theirs"),
        ({"member": "../outside"}, "copied together"),
        ({"member": "cascade"}, "is a cascade of several models"),
        ({"out": "quick"}, "--member .* is in --out"),
    ],
)
def test_what_cannot_keep_its_word_is_refused(
    workplace: Path, built: Path, capsys: pytest.CaptureFixture[str], changes: dict[str, Any], told: str | None
) -> None:
    """One line, exit code 2 or 3, and nothing is written."""
    _write_odd_members(workplace)
    options = {
        name: (workplace / value if name in ("test", "choose") else value)
        for name, value in changes.items()
        if name not in ("member", "out")
    }
    command = arguments(workplace, changes.get("out", "refused"), speed_rows=0, **options)
    if "member" in changes:
        command[2 if changes["member"] != "bad" else 1] = f"--member={workplace / changes['member']}"
    if told is None:
        assert main(command) == 0
        shutil.rmtree(workplace / "refused")
        return
    before = sorted(workplace.iterdir())
    assert main(command) in (2, 3)
    assert re.search(told, capsys.readouterr().err.splitlines()[-1])
    assert sorted(workplace.iterdir()) == before


def _write_odd_members(path: Path) -> None:
    if (path / "bad").exists():
        return
    write_tiny_bundle(path / "bad", name="bad", scale=-1.0)
    write_tiny_bundle(path / "labels", name="labels", labels=("bad", "good"))
    write_tiny_bundle(path.parent / "outside", name="outside")
    write_tiny_bundle(path / "other/elsewhere", name="elsewhere", scale=0.8)
    write_reviews(path / "few.xlsx", 60, 3)
    trained = write_reviews(path / "trained.xlsx", 200, 4)
    source = Source(file=trained.name, sha256=file_sha256(trained), rows=200)
    write_tiny_bundle(path / "taught", name="taught", scale=0.8, training_data=(source,))


def test_more_lost_than_allowed_on_the_rows_that_measure_is_refused(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The rows that choose promised less: nothing is written, and the line has the interval."""
    write_tiny_bundle(workplace / "hasty", name="hasty", ignored=("moving", "bad"))
    choosing = read_reviews(workplace / "choose.xlsx")
    known = [(text, label) for text, label in zip(choosing.texts, choosing.labels, strict=True) if "bad" not in text]
    write_table(workplace / "kind.xlsx", [text for text, _ in known], [label for _, label in known])
    write_table(
        workplace / "unkind.xlsx",
        [f"bad bad great unheard5x{n}" for n in range(300)],
        ["neg"] * 290 + ["pos"] * 10,
    )
    files = {"choose": workplace / "kind.xlsx", "test": workplace / "unkind.xlsx"}
    command = arguments(workplace, "refused", **files, max_loss=2, speed_rows=0)
    command[1] = f"--member={workplace / 'hasty'}"
    assert main(command) == 2
    assert "93.33 points are lost on the 300 rows that measure (95 % interval" in capsys.readouterr().err
    assert not (workplace / "refused").exists()


def test_one_member_is_no_cascade(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two at least."""
    command = arguments(workplace)
    del command[2]
    assert main(command) == 2
    assert "--member at least twice" in capsys.readouterr().err


def test_what_cannot_be_done_with_a_cascade_says_what_can(
    workplace: Path, built: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`calibrate` points to this command; another variant than the measured one is refused."""
    data = workplace / "choose.xlsx"
    assert main(["calibrate", f"--bundle={built}", f"--data={data}", f"--out={workplace / 'calibrated'}"]) == 2
    assert "measure it again with review-training cascade" in capsys.readouterr().err
    assert main(["evaluate", f"--bundle={built}", f"--data={data}", "--variant=int8"]) == 3
    assert "measured with fp32 only" in capsys.readouterr().err
