"""Reviews that take much longer than those before them: polls are cut when their cost is known."""

import json
import signal
import time
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

import pytest
from kafka import TopicPartition

from consumer.kafka.broker import Broker
from consumer.kafka.fixes import positions
from consumer.kafka.publisher import Step
from consumer.local.broker import LocalBroker
from consumer.model.bundle.loading import load_bundle
from consumer.model.cascade.bundle import load
from consumer.model.cascade.labeller import Cascade
from consumer.model.classifier import Classifier
from consumer.model.engines.base import Engine, EngineFailure, Logits
from consumer.model.inference.batching import TokenBatch
from consumer.model.labeller import Labeller
from consumer.model.opening import open_labeller
from consumer.records.messages import Model
from consumer.records.poll import Poll
from consumer.records.record import Record as ReadRecord
from consumer.service.health import Health
from consumer.service.metrics import Metrics
from consumer.worker import Worker
from tests.fake_bundle import write_bundle
from tests.fake_worker import FakeEngine, Script
from tests.harness import Harness
from tests.kafka_helpers import Record, read_all
from tests.live_broker import first_poll, live_broker
from tests.tiny_cascade import write_tiny_cascade

pytestmark = [pytest.mark.broker, pytest.mark.timeout(300)]

TARGET_SECONDS = 1.0


#: The same worker comes back, and its partitions are its own again at once.
COMES_BACK = {"instance_id": "w", "static_membership": True, "session_timeout_seconds": 3}


@pytest.fixture
def wide(harness_on: Callable[..., Harness], kafka: LocalBroker) -> Harness:
    """A harness whose topics have eight partitions, so that a poll may hold many large records."""
    return harness_on(kafka, partitions=8)


class Slow:
    """An engine that takes its time."""

    def __init__(self, engine: Engine, seconds_per_token: float) -> None:
        self.variant, self.policy = engine.variant, engine.policy
        self._engine, self._seconds = engine, seconds_per_token

    def infer(self, batches: Sequence[TokenBatch]) -> list[Logits | EngineFailure]:
        """What the engine says, later."""
        time.sleep(self._seconds * sum(batch.ids.size for batch in batches))
        return self._engine.infer(batches)

    def close(self) -> None:
        """Close the engine."""
        self._engine.close()


def drained(harness: Harness, labeller: Labeller) -> tuple[list[float], Metrics]:
    """Let a worker of this process drain the input; the seconds between two commits, and what it counted."""
    settings = harness.topics.settings(drain=True, poll_target_seconds=TARGET_SECONDS)
    commits: list[float] = []

    def at(step: Step) -> None:
        if step == "committed" or not commits:
            commits.append(time.monotonic())

    metrics = Metrics()
    with live_broker(settings, at) as (broker, _):
        Worker(
            settings,
            broker,
            labeller,
            model=Model(name="m", version="1", digest="0" * 64, variant=labeller.variant),
            metrics=metrics,
            health=Health(60),
            alive=lambda: None,
        ).run()
    return [later - earlier for earlier, later in pairwise(commits)], metrics


def cut_polls(metrics: Metrics) -> float:
    """Polls that were cut because of their cost."""
    return metrics.registry.get_sample_value("reviews_poll_ends_total", {"cause": "cost"}) or 0.0


def reviews(harness: Harness, texts: Sequence[str]) -> None:
    """Produce these, spread over the partitions."""
    records = [
        Record(json.dumps({"text": text}).encode(), partition=n % harness.partitions) for n, text in enumerate(texts)
    ]
    harness.produce_records(records)


@pytest.mark.smoke
def test_row_34_long_reviews_behind_short_ones_hold_up_no_commit(wide: Harness, tmp_path: Path) -> None:
    """1,024 reviews of 2,000 words come after short ones: no two commits are further apart than twice the target."""
    # Given short reviews, by which a worker comes to take many at once, and long ones that cost 50 times as much
    short, long = (f"short {n}" for n in range(3000)), (f"{n} " + "a b c d e " * 400 for n in range(1024))
    reviews(wide, [*short, *long])
    wide.watch()
    classifier = Classifier(load_bundle(write_bundle(tmp_path / "fake")), FakeEngine(Script(seconds_per_token=1e-5)))
    classifier.self_check()
    # When a worker labels all of them
    intervals, metrics = drained(wide, classifier)
    # Then polls were cut, and commits went on in time
    print(f"{cut_polls(metrics):.0f} of {len(intervals)} polls cut; longest interval {max(intervals):.2f} s")
    assert cut_polls(metrics) > 0
    assert sum(intervals) > 5 * TARGET_SECONDS  # else nothing here was long
    assert max(intervals) < 2 * TARGET_SECONDS
    # And each record has one result, in order
    assert wide.verdict().checked == 4024


@pytest.mark.smoke
def test_row_35_reviews_that_all_turn_doubtful_hold_up_no_commit(wide: Harness, tmp_path: Path) -> None:
    """A cascade whose quick model is suddenly sure of nothing cuts its polls before the thorough one begins."""
    # Given reviews that the quick model answers, and after them some that it passes on, which cost 600 times as much
    reviews(wide, [*(f"great film {n}" for n in range(6000)), *(f"the film {n}" for n in range(250))])
    cascade = open_labeller(load(write_tiny_cascade(tmp_path / "cascade")))
    assert isinstance(cascade, Cascade)
    for member, seconds in zip(cascade.members.values(), (2e-6, 1.2e-3), strict=True):
        member._engine = Slow(member._engine, seconds)
    cascade.self_check()
    # When a worker labels all of them
    intervals, metrics = drained(wide, cascade)
    # Then polls were cut, and commits went on in time
    print(f"{cut_polls(metrics):.0f} of {len(intervals)} polls cut; longest interval {max(intervals):.2f} s")
    assert (metrics.registry.get_sample_value("reviews_member_passed_on_total", {"member": "quick"}) or 0) >= 250
    assert cut_polls(metrics) > 0
    assert sum(intervals) > 2 * TARGET_SECONDS  # else nothing here was expensive
    assert max(intervals) < 2 * TARGET_SECONDS
    # And each record has one result
    results = read_all(wide.topics.bootstrap, wide.topics.output)
    assert Counter(result.source for result in results) == Counter(
        (record.topic, record.partition, record.offset) for record in wide.produced
    )


def test_row_34_a_worker_killed_while_its_polls_are_cut(harness: Harness) -> None:
    """Records that were put back are read again, by the same worker and by its successor."""
    # Given reviews of all lengths, some of them bad, and a worker whose every poll costs too much
    texts = ["x" * harness.random.choice((5, 50, 500)) + str(n) for n in range(250)]
    reviews(harness, texts)
    harness.produce(100, bad=0.5)
    harness.watch()
    slow = {"poll_target_seconds": 0.1, **COMES_BACK}
    for step in ("inferred", "offsets_sent"):
        worker = harness.worker(Script({f"{step}:3": "kill"}, seconds_per_token=5e-5), **slow)
        assert worker.wait_exit() == -signal.SIGKILL, worker.log
    # When the next one labels the rest, then polls were cut, and each record has one result, in order
    last = harness.worker(Script(seconds_per_token=5e-5), **slow)
    harness.await_done()
    assert last.metric("reviews_poll_ends_total", cause="cost") > 1
    assert harness.finish().checked == 350
    assert "old committed offset" not in last.log


def test_row_34_what_does_not_fit_is_polled_again(harness: Harness) -> None:
    """A poll is cut in each partition. If what is left is refused, all of it comes again; if not, only the rest."""
    produced = {(record.partition, record.offset) for record in harness.produce(8)}
    with live_broker(harness.topics.settings()) as (broker, connection):
        poll = first_poll(broker)
        first, *others = sorted({record.partition for record in poll.records})
        assert others
        # When all of one partition and half of the others is put back, and what is left is refused
        counts = {first: 0, **dict.fromkeys(others, 1)}
        left = broker.cut(poll, counts)
        assert sorted(map(place, left.records)) == [(each, 0) for each in others]
        assert {(span.partition, span.next) for span in left.spans} == {(each, 1) for each in others}
        broker.rewind(left)
        # Then all records come again, each once
        polls = polled(broker, len(produced))
        assert sorted(place(record) for poll in polls for record in poll.records) == sorted(produced)
        # When what is left is published instead, then only the rest comes again
        *_, last = polls
        counts = dict.fromkeys((span.partition for span in last.spans), 1)
        left = broker.cut(last, counts)
        # (The position keeps the leader epoch of the record before it: without it, a log that loses its end and grows
        # again would go unnoticed.)
        for span in left.spans:
            position = positions.position(connection.consumer, TopicPartition(harness.topics.input, span.partition))
            assert position is not None
            assert (position.offset, position.leader_epoch) == (span.next, span.leader_epoch)
            assert span.leader_epoch >= 0
        broker.publish(left, [])
        assert harness.committed_by_partition() == {span.partition: span.next for span in left.spans}
        rest = polled(broker, len(last.records) - len(left.records))
        expected = set(map(place, last.records)) - set(map(place, left.records))
        assert sorted(place(record) for poll in rest for record in poll.records) == sorted(expected)


def place(record: ReadRecord) -> tuple[int, int]:
    """Its partition and offset."""
    return record.partition, record.offset


def polled(broker: Broker, count: int) -> list[Poll]:
    """The next polls that bring so many records."""
    polls: list[Poll] = []
    while sum(len(poll.records) for poll in polls) < count:
        polls.append(first_poll(broker))
    return polls
