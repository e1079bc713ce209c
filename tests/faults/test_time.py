"""Where the time of a worker goes, how long records wait, and what its group and its transactions do."""

import time
from pathlib import Path
from typing import Any

import pytest
from kafka.producer.sender import Sender

from consumer.kafka.broker import Broker
from consumer.kafka.publisher import Step
from consumer.model.bundle.loading import load_bundle
from consumer.model.classifier import Classifier
from consumer.records.messages import Model
from consumer.records.outgoing import Outgoing
from consumer.records.poll import NotPublished
from consumer.service.health import Health
from consumer.service.metrics import Metrics
from consumer.service.stopwatch import Stage
from consumer.settings import WorkerSettings
from consumer.worker import Worker
from tests.fake_bundle import write_bundle
from tests.fake_worker import FakeEngine, Script
from tests.harness import Harness
from tests.kafka_helpers import Record, read_all, transaction
from tests.live_broker import first_poll, live_broker
from tests.worker_process import wait_until

pytestmark = [pytest.mark.broker, pytest.mark.timeout(300)]


def worker(settings: WorkerSettings, broker: Broker, bundle: Path, metrics: Metrics, **options: Any) -> Worker:
    """A worker of this process whose model takes 10 ms for a review."""
    classifier = Classifier(load_bundle(write_bundle(bundle)), FakeEngine(Script(seconds_per_token=3e-4)))
    classifier.self_check()
    model = Model(name="m", version="1", digest="0" * 64, variant="int8")
    return Worker(
        settings, broker, classifier, model=model, metrics=metrics, health=Health(60), alive=lambda: None, **options
    )


@pytest.mark.smoke
def test_the_stages_add_up_to_the_wall_time(harness: Harness, tmp_path: Path) -> None:
    """No moment is in two stages or in none; a worker with nothing to do is idle, and not waiting for Kafka."""
    harness.produce(300)
    metrics, settings = Metrics(), harness.topics.settings()

    def seconds(stage: Stage) -> float:
        return metrics.registry.get_sample_value("reviews_stage_seconds_sum", {"stage": stage}) or 0.0

    def activity(name: str) -> float:
        return metrics.registry.get_sample_value("reviews_time_seconds_total", {"activity": name}) or 0.0

    # Given a worker that labels for some seconds, and then waits with a transaction of a producer open
    with live_broker(settings) as (broker, _), transaction(harness.kafka, harness.topics.input) as producer:
        ending: list[float] = []
        made = worker(settings, broker, tmp_path / "fake", metrics, stopping=lambda: time.monotonic() > ending[0])
        began = time.monotonic()
        ending.append(began + 6.5)
        made.run()
        wall = time.monotonic() - began
        producer.abort_transaction()
    assert made.counts["labelled"] == 300
    # Then its stages are its time, and so are its activities
    stages = {stage: seconds(stage) for stage in Stage}
    print({stage.value: round(each, 3) for stage, each in stages.items()}, round(wall, 3))
    assert sum(stages.values()) == pytest.approx(wall, rel=0.02)
    assert activity("idle") + activity("waiting") + activity("computing") == pytest.approx(wall, rel=0.02)
    # And each of them has what belongs to it
    assert stages[Stage.INFER] > 2.5
    assert stages[Stage.IDLE] > 0.6 * (wall - stages[Stage.INFER])
    assert stages[Stage.OTHER] < 0.02 * wall
    assert all(stages[stage] > 0 for stage in (Stage.POLL, Stage.PARSE, Stage.TOKENISE, Stage.SERIALISE, Stage.PUBLISH))


def test_rebalances_and_transactions_are_counted(harness: Harness) -> None:
    """Each rebalance of this worker with its duration, and each transaction by how it ended."""
    metrics = Metrics()

    def value(name: str, **labels: str) -> float:
        return metrics.registry.get_sample_value(f"reviews_{name}", labels) or 0.0

    harness.produce(8)
    with live_broker(harness.topics.settings(), events=metrics) as (broker, _):
        poll = first_poll(broker)
        joined = value("rebalance_seconds_count")  # twice, if a partition of a topic this new was not known at first
        assert joined >= 1
        assert 0 < value("rebalance_seconds_sum") < 10
        # When a transaction fails and the next one succeeds
        with pytest.raises(NotPublished):
            broker.publish(poll, [Outgoing(harness.topics.output, 0, None, b"x" * 2_000_000, [])])
        broker.publish(poll, [])
        assert (value("transactions_total", result="aborted"), value("transactions_total", result="committed")) == (
            1,
            1,
        )
        # When another worker joins, then there is one more rebalance
        other = harness.worker()
        wait_until(lambda: (broker.poll(10), len(broker.assignment()) == 2)[1], 60, "partitions are shared")
        assert value("rebalance_seconds_count") > joined
        wait_until(lambda: (broker.poll(10), other.metric("reviews_rebalance_seconds_count") >= 1)[1], 60, "its own")


@pytest.mark.smoke
def test_a_poll_wakes_the_sender_once(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many batches the results of a poll fill, the client's thread is woken once for them."""
    steps: list[Step] = []
    woken: list[Step] = []
    wakeup = Sender.wakeup

    def noted_wakeup(sender: Any) -> None:
        woken.append(steps[-1])
        wakeup(sender)

    harness.produce(8)
    with live_broker(harness.topics.settings(), at=steps.append) as (broker, _):
        poll = first_poll(broker)
        topics = harness.topics.output, harness.topics.dead_letter
        broker.publish(poll, [Outgoing(topic, 0, None, b"x", []) for topic in topics])  # the topics are looked up once
        # When there are three batches for each partition of two topics
        monkeypatch.setattr(Sender, "wakeup", noted_wakeup)
        results = [Outgoing(topic, n % 4, None, b"x" * 1000, []) for n in range(1600) for topic in topics]
        broker.publish(poll, results)
        # Then they are all sent at once
        assert woken.count("begun") == 1
        assert len(read_all(harness.topics.bootstrap, topics[0])) == 1601


def test_the_age_of_the_oldest_record_grows_while_nothing_is_committed(harness: Harness) -> None:
    """A worker that cannot publish shows how long its records wait; one that has committed all shows none waiting."""
    # Given a worker that has committed all there was
    harness.produce(4)
    slow = harness.worker(Script(seconds_per_token=5e-4), poll_target_seconds=10)
    harness.await_done()
    wait_until(lambda: slow.metric("reviews_last_commit_timestamp_seconds") > 0, 30, "it committed")
    before = slow.metric("reviews_last_commit_timestamp_seconds")
    assert abs(before - time.time()) < 30
    wait_until(lambda: slow.metric("reviews_oldest_waiting_seconds") == 0, 30, "nothing waits", every_s=0.3)
    # When records come that take four seconds
    text = b'{"text": "%s"}'
    harness.produce_records([Record(text % (b"%d " % n + b"x" * 500), partition=1) for n in range(16)])
    # Then they grow older meanwhile, and no other partition shows any
    wait_until(lambda: slow.metric("reviews_oldest_waiting_seconds", partition="1") > 2.5, 30, "they grow older")
    assert slow.metric("reviews_oldest_waiting_seconds") == slow.metric("reviews_oldest_waiting_seconds", partition="1")
    # And their wait ends with their commit
    harness.await_done()
    wait_until(lambda: slow.metric("reviews_oldest_waiting_seconds") == 0, 30, "nothing waits", every_s=0.3)
    assert slow.metric("reviews_last_commit_timestamp_seconds") > before
