"""Another bundle takes the place of the one that is served, and a bad one never does."""

import gc
import itertools
import json
import logging
import os
import shutil
import threading
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from consumer.errors import UsageError
from consumer.model.labeller import Labeller, Scored
from consumer.model.memory import free_bytes
from consumer.model.opening import AnyBundle
from consumer.records.messages import Model
from consumer.run import open_classifier
from consumer.service.health import Health
from consumer.service.metrics import Metrics
from consumer.service.page.page import Page
from consumer.service.page.recent import RecentLines
from consumer.service.table import SwapEnd
from consumer.serving import preparation, swap
from consumer.serving.canary import MOST_TEXTS, read_canary
from consumer.serving.served import Opener
from consumer.serving.swap import Swap
from consumer.settings import WorkerSettings
from tests.fake_broker import FakeBroker, run
from tests.tiny_bundle import seal, write_tiny_bundle
from tests.tiny_cascade import write_tiny_cascade
from tests.worker_process import wait_until

TEXTS = ("good film", "the film was awful", "great")


class Rig:
    """What a worker has around the model, and a loop that takes its turns when the test says so.

    Attributes:
        open: how many models are open now, and at most at once.
    """

    def __init__(self, directory: Path, **settings: object) -> None:
        self.path = directory / "served"
        self.settings = WorkerSettings.model_validate(
            {"bundle": self.path, "reload_bundle": "watch", "threads": 1, "cache_texts": 100} | settings
        )
        self.metrics = Metrics()
        self.open = SimpleNamespace(now=0, most=0)
        opener = Opener(self.settings, self._open, read_canary(self.settings), self.metrics.note_lookups)
        self.swap = Swap(self.settings, opener, 1, self.metrics)
        self.labeller: Labeller = self.swap.served.labeller
        self.model: Model = self.swap.served.model

    def _open(self, bundle: AnyBundle, at_work: Callable[[], None]) -> Labeller:
        labeller = open_classifier(self.settings, bundle, at_work)
        self.open.now += 1
        self.open.most = max(self.open.most, self.open.now)
        close = labeller.close

        def closed() -> None:
            self.open.now -= 1
            labeller.close = close  # type: ignore[method-assign]
            close()

        labeller.close = closed  # type: ignore[method-assign]
        return labeller

    def turn(self) -> str:
        """One turn of the loop: what is ready takes over; returns the version that labels then."""

        def serve(labeller: Labeller, model: Model) -> None:
            self.labeller, self.model = labeller, model

        self.swap.between_polls(serve)
        return self.model.version

    def look(self) -> str:
        """Look often enough for a bundle to be taken, and turn."""
        self.swap.look()
        self.swap.look()
        return self.turn()

    def labels(self) -> list[str]:
        """Of the texts, by what is served."""
        results = self.labeller.classify(TEXTS).results
        return [result.label for result in results if isinstance(result, Scored)]

    def count(self, end: SwapEnd) -> float:
        """Bundles with this end."""
        return self.value("reviews_model_swaps_total", outcome=end.value)

    def value(self, name: str, **labels: str) -> float:
        """Of a sample that exists."""
        found = self.metrics.registry.get_sample_value(name, labels)
        assert found is not None
        return found

    def models(self) -> list[str]:
        """The digests that the metrics report."""
        return [sample.labels["digest"] for sample in next(iter(self.metrics.model.collect())).samples]


def link(path: Path, target: Path) -> None:
    """Let the link at `path` lead to `target`, in one step."""
    path.with_name("new").symlink_to(target)
    path.with_name("new").replace(path)


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Version 1, version 2 that labels everything the other way round, and version 3 as 1."""
    directory = tmp_path_factory.mktemp("bundles")
    for version, scale in (("1", 1.0), ("2", -1.0), ("3", 2.0)):
        write_tiny_bundle(directory / version, scale=scale, version=version)
    return directory


@pytest.fixture
def rig(tmp_path: Path, bundles: Path) -> Iterator[Rig]:
    """It serves version 1 through a link."""
    link(tmp_path / "served", bundles / "1")
    made = Rig(tmp_path)
    yield made
    made.swap.close()
    assert made.open.now == 0


def test_a_link_that_is_switched_switches_the_model(rig: Rig, bundles: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Between two polls: answers, cache, results, metrics, page and log change in the same turn, and not before."""
    caplog.set_level(logging.INFO)
    first, before = rig.model.digest, rig.labels()
    began = rig.value("reviews_model_since_timestamp_seconds")
    link(rig.path, bundles / "2")
    rig.swap.look()
    assert (rig.turn(), rig.swap.served.model.digest) == ("1", first), "it was taken before it stood still"
    rig.swap.look()
    assert rig.labels() == before
    assert rig.models() == [first]
    assert rig.turn() == "2"
    assert rig.labels() == [{"pos": "neg", "neg": "pos"}[label] for label in before]
    assert rig.models() == [rig.model.digest] != [first]
    assert rig.value("reviews_model_since_timestamp_seconds") > began
    assert rig.count(SwapEnd.SWITCHED) == 1
    (line,) = [each for each in caplog.messages if "takes the place of" in each]
    assert caplog.text.count("drift is not watched: the bundle has no profile") == 1
    assert first[:12] in line
    assert rig.model.digest[:12] in line
    page = Page(rig.settings, Health(60), rig.metrics.registry, RecentLines()).render().decode()
    assert rig.model.digest in page
    assert first not in page
    rig.swap.look()
    assert (rig.open.now, rig.open.most) == (1, 2)


def test_a_directory_that_is_renamed_into_place_switches_the_model(tmp_path: Path, bundles: Path) -> None:
    """And a manifest that only was written again switches nothing: its digest is the same."""
    shutil.copytree(bundles / "1", tmp_path / "served")
    shutil.copytree(bundles / "2", tmp_path / "next")
    rig = Rig(tmp_path)
    os.utime(rig.path / "manifest.json", (1, 1))
    assert rig.look() == "1"
    assert rig.open.most == 1
    rig.path.rename(tmp_path / "before")
    (tmp_path / "next").rename(rig.path)
    assert rig.look() == "2"
    rig.swap.close()


def test_a_volume_of_kubernetes_switches_the_model(tmp_path: Path, bundles: Path) -> None:
    """There the directory stays, its entries are links through `..data`, and that link is switched."""
    served = tmp_path / "served"
    served.mkdir()
    for version in ("1", "2"):
        shutil.copytree(bundles / version, served / f"..v{version}")
    link(served / "..data", Path("..v1"))
    for name in ("manifest.json", "golden.json", "tokenizer.json", "openvino"):
        (served / name).symlink_to(f"..data/{name}")
    rig = Rig(tmp_path)
    link(served / "..data", Path("..v2"))
    assert rig.look() == "2"
    rig.swap.close()


def torn(path: Path) -> None:
    """A copy that ended early."""
    (path / "openvino/fp32.bin").write_bytes(b"")


def changed(path: Path) -> None:
    """A byte of the weights."""
    weights = path / "openvino/fp32.bin"
    weights.write_bytes(bytes([weights.read_bytes()[0] ^ 1]) + weights.read_bytes()[1:])


def misremembered(path: Path) -> None:
    """Golden answers of another model."""
    golden = json.loads((path / "golden.json").read_text())
    for text in golden["texts"]:
        text["probabilities"]["fp32"] = {"neg": 0.4, "pos": 0.6}
    (path / "golden.json").write_text(json.dumps(golden))
    seal(path, version="bad")


def unreadable(path: Path) -> None:
    """No graph, but its checksum is right."""
    (path / "openvino/fp32.xml").write_text("<net>")
    seal(path, version="bad")


def from_the_future(path: Path) -> None:
    """A format that this version does not know."""
    manifest = json.loads((path / "manifest.json").read_text())
    (path / "manifest.json").write_text(json.dumps(manifest | {"format": 99}))


def fifo(path: Path) -> None:
    """What never ends."""
    (path / "tokenizer.json").unlink()
    os.mkfifo(path / "tokenizer.json")


def empty(path: Path) -> None:
    """Nothing at all."""
    shutil.rmtree(path)
    path.mkdir()


def relabelled(path: Path) -> None:
    """Labels that readers of the results have never seen."""
    seal(path, labels=("bad", "good"))


BAD: dict[Callable[[Path], None], tuple[SwapEnd, str]] = {
    torn: (SwapEnd.INVALID, "has 0 bytes, not"),
    changed: (SwapEnd.INVALID, "its SHA-256 differs"),
    misremembered: (SwapEnd.INVALID, "golden text"),
    unreadable: (SwapEnd.INVALID, "cannot be read by OpenVINO"),
    from_the_future: (SwapEnd.INVALID, "upgrade review-consumer"),
    fifo: (SwapEnd.INVALID, "is not a regular file"),
    empty: (SwapEnd.INVALID, "has no manifest.json"),
    shutil.rmtree: (SwapEnd.INVALID, "is not a directory"),
    relabelled: (SwapEnd.LABELS, "its labels are bad, good, not neg, pos"),
}


@pytest.mark.parametrize("spoil", BAD, ids=lambda spoil: spoil.__name__)
def test_a_bad_bundle_leaves_the_old_one_serving_and_says_why_once(
    rig: Rig,
    bundles: Path,
    spoil: Callable[[Path], None],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is counted by kind; the gauge stays up until the path holds a good one, which is then taken."""
    end, why = BAD[spoil]
    before, digest = rig.labels(), rig.model.digest
    bad = shutil.copytree(bundles / "2", rig.path.with_name("bad"))
    spoil(bad)
    link(rig.path, bad)
    assert [rig.look() for _ in range(5)] == ["1"] * 5
    assert (rig.labels(), rig.models()) == (before, [digest])
    assert rig.count(end) == 1
    assert rig.value("reviews_bundle_refused") == 1
    page = Page(rig.settings, Health(60), rig.metrics.registry, RecentLines()).render().decode()
    assert "was refused" in page
    # It is tried again later, in silence
    monkeypatch.setattr(rig.swap, "_retry_at", 0.0)
    assert rig.look() == "1"
    assert rig.count(end) == 2
    (line,) = [each.message for each in caplog.records if each.levelno == logging.WARNING]
    assert why in line
    assert "tiny 1 (fp32) stays" in line
    link(rig.path, bundles / "3")
    assert rig.look() == "3"
    assert rig.value("reviews_bundle_refused") == 0


def test_a_copy_that_is_completed_later_is_taken(
    rig: Rig, bundles: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The manifest came first and was seen: nothing else tells that the rest has come, but a later try."""
    monkeypatch.setattr(swap, "RETRY_SECONDS", 0.0)
    bad = shutil.copytree(bundles / "2", tmp_path / "bad")
    torn(bad)
    link(rig.path, bad)
    assert rig.look() == "1"
    shutil.copy(bundles / "2/openvino/fp32.bin", bad / "openvino")
    assert rig.look() == "2"


def test_with_a_pin_nothing_else_is_served(tmp_path: Path, bundles: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever `reload_bundle` says."""
    link(tmp_path / "served", bundles / "1")
    pinned = Rig(tmp_path)
    rig = Rig(tmp_path, bundle_digest=pinned.model.digest)
    link(rig.path, bundles / "2")
    assert rig.look() == "1"
    assert rig.count(SwapEnd.INVALID) == 1
    assert f"but bundle_digest allows only {pinned.model.digest}" in caplog.text
    rig.swap.close()
    pinned.swap.close()


def test_a_bundle_for_which_there_is_no_room_is_not_opened(
    rig: Rig, bundles: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Opening it could end the worker."""
    monkeypatch.setattr(preparation, "free_bytes", lambda: 1 << 20)
    link(rig.path, bundles / "2")
    assert rig.look() == "1"
    assert (rig.count(SwapEnd.MEMORY), rig.open.most) == (1, 1)
    assert "beside the model that is served, and 1 MiB are free" in caplog.text


def test_what_is_free_is_the_least_of_the_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the control groups, without caches that can be dropped, and of the machine."""
    monkeypatch.setattr("consumer.model.memory.own_group", lambda: "/slice/worker")
    (tmp_path / "slice/worker").mkdir(parents=True)
    (tmp_path / "meminfo").write_text("MemTotal: 9000 kB\nMemAvailable:    5000 kB\n")
    assert free_bytes(tmp_path, tmp_path / "meminfo") == 5000 * 1024
    for name, content in (("max", "1000000\n"), ("current", "700000\n"), ("stat", "anon 1\ninactive_file 200000\n")):
        (tmp_path / f"slice/memory.{name}").write_text(content)
    assert free_bytes(tmp_path, tmp_path / "meminfo") == 500_000
    assert free_bytes(tmp_path / "nowhere", tmp_path / "nothing") is None


def canary(directory: Path, texts: tuple[str, ...] = TEXTS) -> Path:
    """A file with these texts."""
    file = directory / "canary.jsonl"
    file.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return file


def test_a_bundle_that_disagrees_on_too_many_canary_texts_is_refused(
    tmp_path: Path, bundles: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The bound is a share, and its model is closed again."""
    link(tmp_path / "served", bundles / "1")
    rig = Rig(tmp_path, canary_file=canary(tmp_path), max_disagreement=0.99)
    link(rig.path, bundles / "2")
    assert rig.look() == "1"
    assert (rig.count(SwapEnd.CANARY), rig.open.now, rig.open.most) == (1, 1, 2)
    assert "it labels 3 of the 3 texts of canary_file differently" in caplog.text
    assert "film" not in caplog.text
    rig.swap.close()


def test_a_bundle_that_agrees_on_the_canary_texts_is_taken(
    tmp_path: Path, bundles: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The log says on how many it does not; a table with a column of texts will do."""
    caplog.set_level(logging.INFO)
    link(tmp_path / "served", bundles / "1")
    file = tmp_path / "canary.csv"
    file.write_text("id,text\n1,good film\n2,awful\n")
    rig = Rig(tmp_path, canary_file=file, max_disagreement=0)
    link(rig.path, bundles / "3")
    assert rig.look() == "3"
    assert "it labels 0 of 2 canary texts differently" in caplog.text
    assert rig.value("reviews_cache_lookups_total", result="miss") == 0
    rig.swap.close()


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", "has no rows"),
        ('{"text": "good"}\n{"txt": "bad"}\n', "row 2 of canary_file .* has no text in text"),
        ('{"text": "good"}\n' * (MOST_TEXTS + 1), "more than 1,000 texts"),
        (None, "does not exist"),
    ],
)
def test_a_canary_file_that_cannot_be_used_is_a_wrong_setting(
    tmp_path: Path, content: str | None, problem: str
) -> None:
    """At the start, when there is somebody to read it."""
    file = tmp_path / "canary.jsonl"
    if content is not None:
        file.write_text(content)
    with pytest.raises(UsageError, match=problem):
        read_canary(WorkerSettings(reload_bundle="watch", canary_file=file))
    with pytest.raises(ValueError, match="set reload_bundle"):
        WorkerSettings(canary_file=file)


def test_the_latest_bundle_wins(rig: Rig, bundles: Path) -> None:
    """One that was ready, and replaced before the loop had taken it, is given up; never more than two are open."""
    link(rig.path, bundles / "2")
    rig.swap.look()
    rig.swap.look()
    link(rig.path, bundles / "3")
    assert rig.look() == "3"
    assert (rig.count(SwapEnd.REPLACED), rig.count(SwapEnd.SWITCHED), rig.open.most) == (1, 1, 2)
    # And one that was given up is taken if it comes back
    link(rig.path, bundles / "2")
    assert rig.look() == "2"


def test_a_bundle_that_is_replaced_while_it_is_opened_is_not_served(
    rig: Rig, bundles: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever rolls back in the middle never sees an answer of what was rolled back."""
    check = preparation.Preparation._check_canary

    def roll_back(*arguments: object) -> None:
        link(rig.path, bundles / "1")
        check(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(preparation.Preparation, "_check_canary", roll_back)
    link(rig.path, bundles / "2")
    assert rig.look() == "1"
    monkeypatch.undo()
    assert [rig.look() for _ in range(3)] == ["1"] * 3
    assert (rig.count(SwapEnd.REPLACED), rig.count(SwapEnd.SWITCHED), rig.open.now) == (1, 0, 1)


def test_a_cascade_is_switched_as_a_whole(tmp_path: Path, bundles: Path) -> None:
    """From a single model to a cascade with the members beside it, and back: metrics know only who is there."""
    write_tiny_cascade(tmp_path / "two/cascade")
    link(tmp_path / "served", bundles / "1")
    rig = Rig(tmp_path)
    link(rig.path, tmp_path / "two/cascade")
    rig.look()
    assert rig.model.name == "tiny-cascade"
    assert rig.value("reviews_member_texts_total", member="quick") == 0
    assert rig.value("reviews_member_expected_share", member="quick", end="high") == 0.4
    rig.metrics.note_member_work(rig.labeller.classify(TEXTS).members)
    assert rig.value("reviews_member_texts_total", member="quick") == 3
    link(rig.path, bundles / "3")
    assert rig.look() == "3"
    for metric in (rig.metrics.member_texts, rig.metrics.member_seconds, rig.metrics.member_expected):
        assert next(iter(metric.collect())).samples == []
    # A member that was changed is found out, although the manifest of the cascade is the same
    changed(tmp_path / "two/thorough")
    link(rig.path, tmp_path / "two/cascade")
    assert rig.look() == "3"
    assert rig.count(SwapEnd.INVALID) == 1
    rig.swap.close()


def resident_bytes() -> int:
    """Memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_the_memory_is_that_of_one_model_however_often_it_is_switched(rig: Rig, bundles: Path, tmp_path: Path) -> None:
    """Twenty times: what a model took is free again, in Python and for the system."""
    # Given two bundles with 8 MiB of weights
    for version, scale in (("4", 1.0), ("5", 2.0)):
        weights = write_tiny_bundle(tmp_path / version, scale=scale) / "openvino/fp32.bin"
        weights.write_bytes(weights.read_bytes() + bytes(8 << 20))
        seal(tmp_path / version, version=version)
    sizes, models = [], []
    # When they are switched, then only the last one is left
    for number in range(25):
        link(rig.path, tmp_path / "45"[number % 2])
        assert rig.look() == "45"[number % 2]
        assert len(rig.labels()) == 3
        rig.swap.look()
        assert rig.open.now == 1
        models.append(weakref.ref(rig.labeller))
        gc.collect()
        sizes.append(resident_bytes())
    assert [each() is not None for each in models] == [False] * 24 + [True]
    grown = (sizes[-1] - sizes[4]) / (1 << 20)
    print(f"{grown:.1f} MiB more after 20 swaps")
    assert grown < 40


def test_a_running_worker_labels_on_while_a_bundle_is_prepared(
    tmp_path: Path, bundles: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every poll is labelled by one of the two, none waits; a signal is enough, without a look at the path."""
    link(tmp_path / "served", bundles / "1")
    rig = Rig(tmp_path, reload_bundle="signal")
    preparing, go_on = threading.Event(), threading.Event()
    check = preparation.Preparation._check_memory

    def slow(*arguments: object) -> None:
        preparing.set()
        assert go_on.wait(30)
        check(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(preparation.Preparation, "_check_memory", slow)
    monkeypatch.setattr(swap, "WATCH_SECONDS", 0.01)
    rig.swap.start()
    link(rig.path, bundles / "2")
    broker = FakeBroker([b'{"text": "good film"}'], polls=1_000_000, done_with=1_000_000)
    during: list[int] = []

    def stopping() -> bool:
        """Steps of the test, between two polls of the worker."""
        versions = [json.loads(each.value or b"")["model"]["version"] for each in broker.published]
        if len(versions) == 5:
            assert not preparing.is_set(), "it looked without a signal"
            rig.swap.ask()
        if preparing.is_set() and not go_on.is_set():
            during.append(len(versions))
            if len(during) > 20:
                go_on.set()
        return versions[-1:] == ["2"]

    run(broker, rig.swap, rig.metrics, stopping)
    assert during[-1] - during[0] == 20, "the loop waited"
    versions = [json.loads(each.value or b"")["model"]["version"] for each in broker.published]
    assert versions == sorted(versions)
    labels = {json.loads(each.value or b"")["label"] for each in broker.published[:-1]}
    assert labels == {"pos"}
    assert json.loads(broker.published[-1].value or b"")["label"] == "neg"
    rig.swap.close()


def test_a_worker_that_stops_does_not_wait_for_a_bundle_to_be_prepared(
    rig: Rig, bundles: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The step that has begun ends, no other one begins, and nothing stays open."""
    begun = threading.Event()
    check = preparation.Preparation._check_memory

    def slow(*arguments: object) -> None:
        begun.set()
        assert rig.swap._is_closed.wait(30)
        check(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(preparation.Preparation, "_check_memory", slow)
    monkeypatch.setattr(swap, "WATCH_SECONDS", 0.01)
    rig.swap.start()
    link(rig.path, bundles / "2")
    assert begun.wait(30)
    rig.swap.close()
    assert not rig.swap._thread.is_alive()
    assert rig.count(SwapEnd.SWITCHED) == 0
    assert (rig.open.now, rig.open.most) == (0, 1)


def test_a_worker_that_stops_does_not_wait_for_the_golden_texts(
    rig: Rig, bundles: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a large model they take seconds, so the worker gives up between two of them."""
    asked = itertools.count(1)
    monkeypatch.setattr(rig.swap._preparation, "_is_closed", lambda: next(asked) > 4)
    link(rig.path, bundles / "2")
    assert rig.look() == "1"
    assert next(asked) == 6, "it was asked again after it had given up, or never in between"
    assert (rig.open.now, rig.open.most) == (1, 1)


def test_a_signal_to_a_worker_that_keeps_its_bundle_is_answered(
    tmp_path: Path, bundles: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Off is the default: nobody is surprised by a bundle that was only meant for the next start."""
    link(tmp_path / "served", bundles / "1")
    rig = Rig(tmp_path, reload_bundle=WorkerSettings().reload_bundle)
    rig.swap.start()
    link(rig.path, bundles / "2")
    rig.swap.ask()
    wait_until(lambda: "SIGUSR2 is ignored, because reload_bundle is off" in caplog.text, 10, "it is logged")
    assert rig.turn() == "1"
    rig.swap.close()
