"""The loop on a broker that never runs empty, refuses every commit, or does not answer."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from consumer import probe
from consumer.errors import GaveUp
from consumer.model.bundle.loading import load_bundle
from consumer.model.classifier import Classifier
from consumer.records.poll import Obstacle
from consumer.service.health import Health, State
from consumer.service.metrics import Metrics
from tests.fake_broker import FakeBroker, drain
from tests.fake_bundle import write_bundle
from tests.fake_worker import FakeEngine, Script


@pytest.fixture
def metrics() -> Metrics:
    """Of one worker."""
    return Metrics()


@pytest.fixture(autouse=True)
def probe_always(monkeypatch: pytest.MonkeyPatch) -> None:
    """No time between two probes."""
    monkeypatch.setattr(probe, "PROBE_SECONDS", 0.0)


def run(
    broker: FakeBroker,
    directory: Path,
    metrics: Metrics,
    health: Health | None = None,
    alive: Callable[[], None] = lambda: None,
) -> None:
    """Run a worker that drains `broker`."""
    classifier = Classifier(load_bundle(write_bundle(directory / "bundle")), FakeEngine(Script()))
    drain(broker, classifier, metrics, health or Health(60), alive)


def review(number: int) -> bytes:
    """A review like no other."""
    return json.dumps({"text": f"review {number}"}).encode()


def test_a_drain_ends_although_no_poll_is_ever_empty(tmp_path: Path, metrics: Metrics) -> None:
    """The drain is over when the backlog of its start is done, even if producers never pause."""
    broker = FakeBroker([review(1)], polls=1000, done_with=3)
    run(broker, tmp_path, metrics)
    assert broker.commits == 3


def test_the_lag_is_measured_while_publishing_fails(tmp_path: Path, metrics: Metrics) -> None:
    """A worker that retries is ready and not restarted; only its lag shows that records wait."""
    broker = FakeBroker([review(1)], polls=1000, publishes=False, lag=7)
    with pytest.raises(GaveUp, match=r"publishing failed 6 times .*refused"):
        run(broker, tmp_path, metrics)
    assert metrics.registry.get_sample_value("reviews_lag", {"partition": "0"}) == 7


def test_every_dead_letter_is_in_a_log_line(tmp_path: Path, metrics: Metrics, caplog: pytest.LogCaptureFixture) -> None:
    """The first ones at once, those of the following minute together, and what is left when the worker ends."""
    run(FakeBroker([b"junk", None], polls=4), tmp_path, metrics)
    lines = [each for each in caplog.messages if "dead letters" in each]
    last = "the last one is partition 0, offset 1"
    assert lines == [
        f"2 dead letters: 1 not_json (syntax), 1 tombstone; {last}",
        f"6 dead letters: 3 not_json (syntax), 3 tombstone; {last}",
    ]


def test_a_poll_of_tombstones_does_not_change_the_pace(tmp_path: Path, metrics: Metrics) -> None:
    """Tombstones cost next to nothing; a thousand reviews polled at once after them would take minutes."""
    broker = FakeBroker([None] * 32, polls=3)
    run(broker, tmp_path, metrics)
    assert broker.asked_for == [32, 32, 32]


def test_a_poll_that_takes_long_is_no_hang(tmp_path: Path, metrics: Metrics, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the model works on a poll of long reviews, the loop keeps showing signs of life."""
    monkeypatch.setattr("consumer.model.inference.computation.BATCHES_AT_ONCE", 1)
    signs: list[int] = []
    reviews = [json.dumps({"text": f"{number} {'x' * 400}"}).encode() for number in range(200)]
    run(FakeBroker(reviews, polls=1), tmp_path, metrics, alive=lambda: signs.append(1))
    assert len(signs) > 5  # two polls, one of which is empty


@pytest.mark.parametrize("obstacle", Obstacle)
def test_a_worker_that_cannot_read_is_not_ready(
    tmp_path: Path, metrics: Metrics, monkeypatch: pytest.MonkeyPatch, obstacle: Obstacle
) -> None:
    """Brokers may answer while the coordinator of the group does not; then nothing is read, and /ready says why."""
    broker, health = FakeBroker([], polls=0, done_after=2, obstacle=obstacle), Health(60)
    run(broker, tmp_path, metrics, health)
    assert (health.readiness.state, health.readiness.reason) == (State.BLOCKED, obstacle.value)
    assert not health.ready
    # And it is ready as soon as the obstacle is gone, without waiting for the next probe
    broker.obstacle = None
    monkeypatch.setattr(probe, "PROBE_SECONDS", 1000.0)
    run(broker, tmp_path, metrics, health)
    assert health.ready


def test_a_worker_without_an_answer_is_not_ready_until_a_broker_answers(
    tmp_path: Path, metrics: Metrics, caplog: pytest.LogCaptureFixture
) -> None:
    """Empty polls are no answer. The loss of the brokers is logged once, and a probe that succeeds ends it."""
    broker, health = FakeBroker([], polls=0, done_after=3, answers=False), Health(60)
    run(broker, tmp_path, metrics, health)
    assert health.readiness.state is State.UNANSWERED
    assert [message for message in caplog.messages if "no answer from" in message] == [
        "no answer from localhost:9092; waiting for it"
    ]
    broker.answers = True
    run(broker, tmp_path, metrics, health)
    assert health.ready
