"""Several models as one: who answers, in which time, and which cascades are refused."""

import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumer.errors import BundleError
from consumer.model.bundle.loading import load_bundle
from consumer.model.cascade.bundle import CascadeBundle, load, models
from consumer.model.cascade.labeller import Cascade
from consumer.model.classifier import Classifier
from consumer.model.labeller import Classified, Failed, Scored, Stats
from consumer.model.opening import load_labeller, open_labeller
from consumer.records.messages import Model
from consumer.service.metrics import Metrics
from tests.tiny_bundle import LABELS, MAX_LENGTH, POISON, WORTH, positive_probability, write_tiny_bundle
from tests.tiny_cascade import SCALES, answering, as_member, seal, write_tiny_cascade

TEXTS = st.lists(st.sampled_from([*WORTH, "unheard"]), max_size=2 * MAX_LENGTH).map(" ".join)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cascade that no test damages."""
    return write_tiny_cascade(tmp_path_factory.mktemp("cascades") / "cascade")


@pytest.fixture(scope="module")
def cascade(whole: Path) -> Iterator[Cascade]:
    """Its models, opened."""
    opened = load_labeller(whole)
    assert isinstance(opened, Cascade)
    yield opened
    opened.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A cascade that a test may damage."""
    return write_tiny_cascade(tmp_path / "cascade")


def assert_answered(result: Scored | Failed, text: str) -> None:
    """`result` is the known answer to `text`, by the member that has to give it, in the labels of the cascade."""
    assert isinstance(result, Scored)
    assert result.member == answering(text)
    assert tuple(result.probabilities) == LABELS
    assert result.probabilities["pos"] == pytest.approx(positive_probability(text, SCALES[result.member]), abs=1e-5)
    if result.score > 0.51:
        assert result.label == max(result.probabilities, key=result.probabilities.__getitem__)


@given(texts=st.lists(TEXTS, max_size=60))
@settings(max_examples=30, deadline=None)
def test_each_text_is_answered_by_the_first_member_that_is_sure_of_it(cascade: Cascade, texts: list[str]) -> None:
    """In order, with repetitions, with the labels of members that have them in another order."""
    classified = cascade.classify(texts)
    assert len(classified.results) == len(texts)
    for text, result in zip(texts, classified.results, strict=True):
        assert_answered(result, text)


def test_the_cost_is_told_by_member(cascade: Cascade) -> None:
    """Three different texts, one of them passed on; the cost of the call is the sum."""
    classified = cascade.classify(["great film", "film", "awful awful", "film"])
    quick, thorough = classified.members["quick"], classified.members["thorough"]
    assert (quick.texts, quick.passed_on, thorough.texts, thorough.passed_on) == (3, 1, 1, 0)
    assert classified.stats.texts == 3
    assert classified.stats.tokens == quick.tokens + thorough.tokens == (4 + 3 + 4) + 3
    assert classified.stats.padded_tokens == quick.padded_tokens + thorough.padded_tokens


def test_the_metrics_are_told_by_member(cascade: Cascade) -> None:
    """All series exist from the start; the range that an alert compares with comes from the manifest."""
    metrics = Metrics()
    manifest = cascade.bundle.manifest
    model = Model(name=manifest.name, version=manifest.version, digest=cascade.digest, variant=cascade.variant)
    metrics.note_model(model, cascade.labels, manifest)
    value = metrics.registry.get_sample_value
    assert value("reviews_member_passed_on_total", {"member": "quick"}) == 0
    assert value("reviews_member_expected_share", {"member": "quick", "end": "high"}) == 0.4
    assert value("reviews_member_expected_share", {"member": "thorough", "end": "high"}) is None
    metrics.note_member_work(cascade.classify(["great film", "film", "the film"]).members)
    assert value("reviews_member_texts_total", {"member": "quick"}) == 3
    assert value("reviews_member_passed_on_total", {"member": "quick"}) == 2
    assert value("reviews_member_texts_total", {"member": "thorough"}) == 2
    assert value("reviews_member_tokens_total", {"member": "thorough"}) == 3 + 4
    seconds = value("reviews_member_seconds_total", {"member": "thorough"})
    assert seconds is not None
    assert seconds > 0


def test_what_is_unsure_does_not_depend_on_who_answers(cascade: Cascade) -> None:
    """One threshold, 0.9, for the scores of all members: 0.82 by either is unsure, 0.95 by either is not."""
    texts = ["bad film", "film", "great", "good bad film film"]
    results = [result for result in cascade.classify(texts).results if isinstance(result, Scored)]
    assert [(result.member, result.unsure) for result in results] == [
        ("quick", True),
        ("thorough", True),
        ("quick", False),
        ("thorough", False),
    ]
    assert [round(result.score, 2) for result in results] == [0.82, 0.82, 0.95, 0.95]


def test_a_text_on_which_a_member_fails_is_passed_on(cascade: Cascade, monkeypatch: pytest.MonkeyPatch) -> None:
    """It becomes a dead letter only if the last member fails on it, too."""
    assert cascade.classify([f"good {POISON}"]).results == [Failed("NotFinite")]
    quick = cascade.members["quick"]
    monkeypatch.setattr(quick, "classify", lambda texts, *_: Classified([Failed("Odd")] * len(texts), Stats()))
    (result,) = cascade.classify(["great film"]).results
    assert isinstance(result, Scored)
    assert result.member == "thorough"


class Clocked:
    """A member of the cascade that takes so many seconds for a text, by a clock that all of them share."""

    now = 0.0

    def __init__(self, member: Classifier, seconds: float) -> None:
        self._member = member
        self.seconds = seconds

    def classify(
        self, texts: Sequence[str], at_work: Callable[[], None] = lambda: None, seconds: float | None = None
    ) -> Classified:
        """The real answers, to as many texts as fit."""
        count = len(texts) if seconds is None else max(1, min(len(texts), int(seconds / self.seconds + 1e-6)))
        Clocked.now += count * self.seconds
        return self._member.classify(texts[:count])


@pytest.fixture
def clocked(cascade: Cascade, monkeypatch: pytest.MonkeyPatch) -> Cascade:
    """The cascade with a member that takes 1 ms for a text, and one that takes 50."""
    monkeypatch.setattr("consumer.model.cascade.labeller.time.perf_counter", lambda: Clocked.now)
    members: dict[str, Any] = {
        name: Clocked(member, seconds)
        for (name, member), seconds in zip(cascade.members.items(), (0.001, 0.05), strict=True)
    }
    return Cascade(cascade.bundle, list(members.values()))


def mixed(count: int, doubtful: int) -> list[str]:
    """`count` different texts; of each ten, so many are passed on."""
    return [("film" if n % 10 < doubtful else "great great") + f" unheard{n}" for n in range(count)]


def test_a_cascade_labels_what_fits_into_the_time(clocked: Cascade) -> None:
    """A tenth is doubtful: ten texts take 60 ms in all, and results cover the first texts in their order."""
    for attempt in range(8):
        texts, begun = mixed(1000, doubtful=1), Clocked.now
        results = clocked.classify(texts, seconds=1.0).results
        taken = Clocked.now - begun
        for text, result in zip(texts, results, strict=False):
            assert_answered(result, text)
        assert taken <= 1.06
        assert len(results) >= 150 * (attempt > 3)


def test_traffic_that_becomes_doubtful_at_once_takes_no_longer(clocked: Cascade) -> None:
    """Each poll ends in time, also the first after the step, and the quick member soon stops working in vain."""
    for _ in range(5):
        clocked.classify(mixed(1000, doubtful=1), seconds=1.0)
    vain = []
    for _ in range(10):
        begun = Clocked.now
        classified = clocked.classify(mixed(1000, doubtful=10), seconds=1.0)
        assert Clocked.now - begun <= 1.06
        assert len(classified.results) >= 10
        vain.append(classified.members["quick"].texts - len(classified.results))
    assert vain[0] > 50
    assert vain[-1] < 10
    assert len(clocked.classify(mixed(1000, doubtful=10), seconds=0.0).results) == 1


def test_repeated_texts_behind_the_cut_are_not_labelled(clocked: Cascade) -> None:
    """Results are those of the first texts, even if a later one is equal to one of them."""
    texts = ["film one", "film one", "film two", "film one"]
    results = clocked.classify(texts, seconds=0.0).results
    assert len(results) == 2


def test_a_whole_cascade_passes_its_golden_texts_and_knows_who_answers(whole: Path) -> None:
    """Each member has a text that it answers."""
    bundle = load(whole)
    assert isinstance(bundle, CascadeBundle)
    labeller = open_labeller(bundle, threads=1)
    labeller.self_check()
    assert labeller.variant == "fp32"
    assert labeller.digest == bundle.digest
    assert {answering(each.text) for each in bundle.golden.texts} == set(SCALES)
    assert [model.path for model in models(bundle)] == [whole.parent / "quick", whole.parent / "thorough"]
    labeller.close()


def test_a_threshold_that_leaves_a_member_without_work_is_refused(path: Path) -> None:
    """Every digest is right, but the second model would never be asked."""
    facts = json.loads((path / "manifest.json").read_text())
    facts["members"][0]["below"] = 0.01
    labeller = load_labeller(seal(path, members=facts["members"]))
    with pytest.raises(BundleError, match="no golden text is answered by thorough"):
        labeller.self_check()
    labeller.close()


def test_another_temperature_than_was_measured_is_noticed(path: Path) -> None:
    """The golden texts pin what each member answers within the cascade."""
    facts = json.loads((path / "manifest.json").read_text())
    facts["members"][1]["calibration"]["temperature"] = 2
    labeller = load_labeller(seal(path, members=facts["members"]))
    with pytest.raises(BundleError, match="golden text 0 is off by"):
        labeller.self_check()
    labeller.close()


def _changed_weights(path: Path) -> Path:
    weights = path.parent / "thorough/openvino/fp32.bin"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    return weights


def _changed_manifest(path: Path) -> Path:
    manifest = path.parent / "quick/manifest.json"
    manifest.write_text(manifest.read_text() + "\n")
    return path.parent / "quick"


def _missing(path: Path) -> Path:
    shutil.rmtree(path.parent / "quick")
    return path.parent / "quick"


def _fifo(path: Path) -> Path:
    _missing(path)
    os.mkfifo(path.parent / "quick")
    return path.parent / "quick"


def _link_out(path: Path) -> Path:
    outside = path.parent.parent / f"{path.parent.name}-outside"
    (path.parent / "quick").rename(outside)
    (path.parent / "quick").symlink_to(outside)
    return path.parent / "quick"


def _loop(path: Path) -> Path:
    _missing(path)
    (path.parent / "quick").symlink_to("quick")
    return path.parent / "quick"


def _file_in_member_is_a_link(path: Path) -> Path:
    weights = path.parent / "quick/openvino/fp32.bin"
    weights.rename(path.parent / "thorough/elsewhere.bin")
    weights.symlink_to(path.parent / "thorough/elsewhere.bin")
    return weights


def _changed_golden(path: Path) -> Path:
    (path / "golden.json").write_text((path / "golden.json").read_text().replace("unheard", "unheerd"))
    return path / "golden.json"


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "damage",
    [
        *(_changed_weights, _changed_manifest, _changed_golden, _missing, _fifo),
        *(_link_out, _loop, _file_in_member_is_a_link),
    ],
)
def test_a_cascade_with_a_damaged_member_is_refused(path: Path, damage: Callable[[Path], Path]) -> None:
    """Whatever is wrong with a file of a member or of the cascade; the message names it."""
    named = damage(path)
    with pytest.raises(BundleError) as refused:
        load(path)
    assert f"{named.parent.name}/{named.name}" in str(refused.value)
    assert refused.value.exit_code == 3


def test_links_beside_the_cascade_are_followed(path: Path) -> None:
    """A member may be a link to a version of it in the same directory, and the cascade a link as well."""
    (path.parent / "quick").rename(path.parent / "quick-1")
    (path.parent / "quick").symlink_to("quick-1")
    link = path.parent / "elsewhere" / "served"
    link.parent.mkdir()
    link.symlink_to(path)
    loaded = load(link)
    assert isinstance(loaded, CascadeBundle)
    assert [member.path.name for member in loaded.members] == ["quick-1", "thorough"]


def test_members_may_be_inside_the_cascade(path: Path) -> None:
    """One directory to copy."""
    members = json.loads((path / "manifest.json").read_text())["members"]
    for member in members:
        shutil.move(path.parent / member["name"], path / "members" / member["name"])
        member["path"] = f"members/{member['name']}"
    moved = path.rename(path.parent / "elsewhere")
    loaded = load(seal(moved, members=members))
    assert [model.path for model in models(loaded)] == [moved / "members/quick", moved / "members/thorough"]


@pytest.mark.parametrize(
    "where", ["/etc", "../../quick", "..", ".", "../", "a/../../quick", "../quick/..", "", "../qu\u0131ck", "../a b"]
)
def test_a_manifest_cannot_point_anywhere_else(path: Path, where: str) -> None:
    """At most one step up, and then down: never at other directories of the machine."""
    facts = json.loads((path / "manifest.json").read_text())
    facts["members"][0]["path"] = where
    (path / "manifest.json").write_text(json.dumps(facts))
    with pytest.raises(BundleError, match=r"manifest\.json is not valid \(members\.0\.path"):
        load(path)


def test_a_pinned_digest_pins_the_members(path: Path) -> None:
    """The manifest names the digest of each of them."""
    digest = load(path).digest
    assert load(path, digest).digest == digest
    _changed_manifest(path)
    with pytest.raises(BundleError, match=r"is not the member that .* was measured with"):
        load(path, digest)
    with pytest.raises(BundleError, match="allows only 0000"):
        load(path, "0" * 64)


def test_a_cascade_of_cascades_is_refused(path: Path) -> None:
    """Its members can be named directly."""
    inner = write_tiny_cascade(_made(path.parent / "inner") / "tiny")
    outer = json.loads((path / "manifest.json").read_text())["members"]
    outer[0] |= {"path": "../inner/tiny", "digest": load(inner).digest}
    seal(path, members=outer)
    with pytest.raises(BundleError, match="is a cascade itself"):
        load(path)


def _made(path: Path) -> Path:
    path.mkdir()
    return path


def test_members_with_other_labels_are_refused(path: Path) -> None:
    """Their answers could not stand side by side."""
    other = write_tiny_bundle(path.parent / "other", labels=("bad", "good"), name="thorough")
    members = json.loads((path / "manifest.json").read_text())["members"]
    members[1] = as_member(other, "../other", below=None)
    seal(path, members=members)
    with pytest.raises(BundleError, match="has another name or other labels"):
        load(path)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"labels": ["neg", "neg"]}, "labels repeat"),
        ({"members.0.below": None}, "has no threshold"),
        ({"members.1.below": 0.5}, "nobody to pass texts on to"),
        ({"members.1.name": "quick"}, "names of members repeat"),
        ({"members.1.calibration.threshold": 0.5}, "differ in what is unsure"),
        ({"members": []}, "at least 2 items"),
        ({"format": 4}, "upgrade review-consumer"),
    ],
)
def test_a_manifest_that_contradicts_itself_is_refused(path: Path, change: dict[str, Any], told: str) -> None:
    """The message says what is wrong with it."""
    facts = json.loads((path / "manifest.json").read_text())
    for where, value in change.items():
        *way, last = where.split(".")
        place = facts
        for step in way:
            place = place[int(step) if step.isdigit() else step]
        place[last] = value
    (path / "manifest.json").write_text(json.dumps(facts))
    with pytest.raises(BundleError, match=told):
        load(path)


def test_what_needs_a_single_model_says_so(path: Path) -> None:
    """A cascade is neither a base nor a teacher, and has one variant only."""
    with pytest.raises(BundleError, match="is a cascade of several models"):
        load_bundle(path)
    with pytest.raises(BundleError, match="has no variant 'int8'"):
        load_labeller(path, "int8")
    load_labeller(path, "fp32").close()


def test_texts_that_all_members_read_alike_are_known_by_what_is_read(path: Path, cascade: Cascade) -> None:
    """A cache may take such texts for one; not if a member reads them by other rules."""
    assert cascade.clean("good<BR>film") == "good\nfilm"
    assert cascade.clean("a\u200bb") == "a\u200bb"  # format 1
    newer = write_tiny_bundle(path.parent / "newer", flipped=True, scale=3.0, name="thorough", format=2)
    members = json.loads((path / "manifest.json").read_text())["members"]
    members[1] = as_member(newer, "../newer", below=None)
    opened = load_labeller(seal(path, members=members))
    assert opened.clean("a\u200bb") == "a\u200bb"
    assert opened.clean("good<BR>film") == "good<BR>film"
    opened.close()


def test_explaining_asks_the_member_that_answers(cascade: Cascade) -> None:
    """A word that is left out must not change who is asked."""
    assert cascade.answering("great film") is cascade.members["quick"]
    assert cascade.answering("film") is cascade.members["thorough"]
    assert cascade.answering(POISON) is cascade.members["thorough"]
