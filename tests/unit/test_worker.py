"""The loop on a broker that cannot be had otherwise: one that is never empty, refuses for ever, or lets nobody in."""

import json
from pathlib import Path

import pytest

from consumer import worker as loop
from consumer.errors import GaveUp
from consumer.kafka.broker import OUTSIDE
from consumer.model.bundle import load_bundle
from consumer.model.classifier import Classifier
from consumer.service.health import Health
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
    monkeypatch.setattr(loop, "PROBE_SECONDS", 0.0)


def run(broker: FakeBroker, directory: Path, metrics: Metrics, health: Health | None = None) -> None:
    """A draining worker on `broker`."""
    classifier = Classifier(load_bundle(write_bundle(directory / "bundle")), FakeEngine(Script()))
    drain(broker, classifier, metrics, health or Health(60))


def review(number: int) -> bytes:
    """A review like no other."""
    return json.dumps({"text": f"review {number}"}).encode()


def test_a_drain_ends_though_no_poll_is_ever_empty(tmp_path: Path, metrics: Metrics) -> None:
    """What was there at the start is done, while producers go on for ever."""
    broker = FakeBroker([review(1)], polls=1000, done_with=3)
    run(broker, tmp_path, metrics)
    assert broker.commits == 3


def test_the_lag_is_measured_while_nothing_can_be_published(tmp_path: Path, metrics: Metrics) -> None:
    """That alone tells that records wait: a worker that tries and tries is ready, and not started again."""
    broker = FakeBroker([review(1)], polls=1000, publishes=False, lag=7)
    with pytest.raises(GaveUp, match=r"nothing could be published .*refused"):
        run(broker, tmp_path, metrics)
    assert metrics.registry.get_sample_value("reviews_lag", {"partition": "0"}) == 7


def test_a_poll_of_tombstones_says_nothing_about_the_pace(tmp_path: Path, metrics: Metrics) -> None:
    """They cost next to nothing; a thousand reviews at once behind them would take minutes."""
    broker = FakeBroker([None] * 32, polls=3)
    run(broker, tmp_path, metrics)
    assert broker.asked_for == [32, 32, 32]


def test_a_poll_that_takes_long_is_no_hang(tmp_path: Path, metrics: Metrics, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the model answers the loop counts as turning, however many of its reviews are long."""
    monkeypatch.setattr("consumer.model.classifier.BATCHES_AT_ONCE", 1)
    turns: list[int] = []
    health = Health(60)
    monkeypatch.setattr(health, "turned", lambda: turns.append(1))
    reviews = [json.dumps({"text": f"{number} {'x' * 400}"}).encode() for number in range(200)]
    run(FakeBroker(reviews, polls=1), tmp_path, metrics, health)
    assert len(turns) > 5  # two polls, of which one is empty


def test_a_worker_that_is_in_no_group_is_not_ready(
    tmp_path: Path, metrics: Metrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Brokers may answer while the one that coordinates the group does not; nothing is read then."""
    broker, health = FakeBroker([], polls=0), Health(60)
    broker.obstacle = OUTSIDE
    broker.drained = lambda: len(broker.asked_for) > 1  # type: ignore[method-assign]
    run(broker, tmp_path, metrics, health)
    assert health.not_ready_because == "not in the consumer group yet"
    assert not health.ready
    # And is, as soon as it has joined: the next look at the broker would be seconds away
    broker.obstacle = ""
    monkeypatch.setattr(loop, "PROBE_SECONDS", 1000.0)
    run(broker, tmp_path, metrics, health)
    assert health.ready
