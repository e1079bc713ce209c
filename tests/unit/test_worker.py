"""The loop on a broker that cannot be had otherwise: one that is never empty, refuses for ever, or lets nobody in."""

import json
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest
from kafka.structs import ConsumerGroupMetadata

from consumer import worker as loop
from consumer.bundle import load_bundle
from consumer.classifier import Classifier
from consumer.errors import GaveUp
from consumer.health import Health
from consumer.messages import Model, Record
from consumer.metrics import Metrics
from consumer.outcomes import Outgoing
from consumer.publisher import NotPublished, Poll
from consumer.settings import WorkerSettings
from consumer.stall import Progress
from consumer.watchdog import Watchdog
from consumer.worker import Worker
from tests.fake_bundle import write_bundle
from tests.fake_worker import FakeEngine, Script

GROUP = ConsumerGroupMetadata("g", 1, "m", None)


class Broker:
    """In the place of Kafka: `values` in each of so many polls, then nothing; `lag` records wait behind them."""

    def __init__(self, values: Sequence[bytes | None], polls: int, *, publishes: bool = True, lag: int = 0) -> None:
        self.rounds = 0
        self.in_group = True
        self.asked_for: list[int] = []
        self.published = 0
        self._records = [Record("reviews", 0, n, 0, None, value, ()) for n, value in enumerate(values)]
        self._polls, self._publishes, self._lag = polls, publishes, lag

    def poll(self, most: int) -> Poll:
        """The same again."""
        self.asked_for.append(most)
        return Poll(self._records if len(self.asked_for) <= self._polls else [], {}, {}, GROUP)

    def publish(self, _poll: Poll, _outgoing: Sequence[Outgoing]) -> None:
        """Count it, or refuse it."""
        if not self._publishes:
            raise NotPublished("refused")
        self.published += 1

    def rewind(self, _poll: Poll) -> None:
        """The same is polled again anyway."""

    def assignment(self) -> frozenset[int]:
        """One partition."""
        return frozenset({0})

    def progress(self, _timeout_seconds: float) -> dict[int, Progress]:
        """It never moves."""
        return {0: Progress(0, self._lag)}

    def settle(self) -> bool:
        """Nothing is open."""
        return False

    def drained(self) -> bool:
        """What was there at the start is done with the third poll."""
        return self.published >= 3


@pytest.fixture
def metrics() -> Metrics:
    """Of one worker."""
    return Metrics()


@pytest.fixture(autouse=True)
def probe_always(monkeypatch: pytest.MonkeyPatch) -> None:
    """No time between two probes."""
    monkeypatch.setattr(loop, "PROBE_SECONDS", 0.0)


def run(broker: Broker, directory: Path, metrics: Metrics, health: Health | None = None) -> None:
    """A draining worker on `broker`."""
    classifier = Classifier(load_bundle(write_bundle(directory / "bundle")), FakeEngine(Script()))
    with closing(Watchdog(60)) as watchdog:
        Worker(
            WorkerSettings(drain=True),
            broker,  # type: ignore[arg-type]
            classifier,
            model=Model(name="m", version="1", digest="0" * 64, variant="fp32"),
            metrics=metrics,
            health=health or Health(60),
            watchdog=watchdog,
        ).run()


def review(number: int) -> bytes:
    """A review like no other."""
    return json.dumps({"text": f"review {number}"}).encode()


def test_a_drain_ends_though_no_poll_is_ever_empty(tmp_path: Path, metrics: Metrics) -> None:
    """What was there at the start is done, while producers go on for ever."""
    broker = Broker([review(1)], polls=1000)
    run(broker, tmp_path, metrics)
    assert broker.published == 3


def test_the_lag_is_measured_while_nothing_can_be_published(tmp_path: Path, metrics: Metrics) -> None:
    """That alone tells that records wait: a worker that tries and tries is ready, and not started again."""
    broker = Broker([review(1)], polls=1000, publishes=False, lag=7)
    with pytest.raises(GaveUp, match=r"nothing could be published .*refused"):
        run(broker, tmp_path, metrics)
    assert metrics.registry.get_sample_value("reviews_lag", {"partition": "0"}) == 7


def test_a_poll_of_tombstones_says_nothing_about_the_pace(tmp_path: Path, metrics: Metrics) -> None:
    """They cost next to nothing; a thousand reviews at once behind them would take minutes."""
    broker = Broker([None] * 32, polls=3)
    run(broker, tmp_path, metrics)
    assert broker.asked_for == [32, 32, 32]


def test_a_worker_that_is_in_no_group_is_not_ready(tmp_path: Path, metrics: Metrics) -> None:
    """Brokers may answer while the one that coordinates the group does not; nothing is read then."""
    broker, health = Broker([], polls=0), Health(60)
    broker.in_group = False
    broker.drained = lambda: len(broker.asked_for) > 1  # type: ignore[method-assign]
    run(broker, tmp_path, metrics, health)
    assert health.not_ready_because == "not in the consumer group yet"
    assert not health.ready
