"""Brokers that die, freeze, lose their leader or their disk."""

import resource
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from consumer.local.broker import LocalBroker
from consumer.local.cluster import LocalCluster
from tests.fake_worker import Script
from tests.harness import Harness
from tests.kafka_helpers import end_offsets, internal
from tests.worker_process import wait_until

pytestmark = [pytest.mark.broker, pytest.mark.timeout(400)]

SLOW = Script(seconds_per_poll=0.2)


@pytest.fixture
def harness(broker: LocalBroker, harness_on: Callable[..., Harness]) -> Harness:
    """On a broker of this test alone."""
    return harness_on(broker)


@pytest.fixture(scope="module")
def three() -> Iterator[LocalCluster]:
    """Three brokers; topics are on all of them, and two have to agree."""
    with LocalCluster(3) as made:
        yield made


@pytest.mark.smoke
def test_row_05_an_idle_worker_outlives_its_broker(harness: Harness, broker: LocalBroker) -> None:
    """A worker whose broker dies reports that it is not ready, waits, and resumes when the broker is back."""
    # Given a worker that has nothing to do, and no broker
    harness.produce(100)
    harness.watch()
    worker = harness.worker()
    harness.await_done()
    broker.kill()
    wait_until(lambda: worker.get("/ready")[0] == 503, 60, "not ready")
    assert worker.get("/live")[0] == 200
    assert "no answer from" in worker.get("/ready")[1]
    # When the broker is back with more to do, then the same process does it
    broker.start()
    harness.produce(100)
    assert harness.finish().checked == 200
    assert len(harness.workers) == 1


def test_row_05_a_busy_worker_resumes_after_twenty_seconds_without_broker(
    harness: Harness, broker: LocalBroker
) -> None:
    """A broker killed under load and gone for 20 s: nothing is lost, nothing comes twice."""
    # Given a busy worker
    harness.produce(1500, bad=0.02)
    harness.watch()
    supervised = harness.supervised(SLOW)
    wait_until(lambda: harness.committed() > 100, 60, "work is under way")
    # When its broker is dead for 20 s
    broker.kill()
    time.sleep(20)
    broker.start()
    # Then each record has one result; the worker waited, or was started again
    assert harness.finish(120).checked == 1500
    assert set(supervised.exits) <= {0, 4, 5}


def test_row_05_a_busy_worker_resumes_after_its_broker_restarts_at_once(harness: Harness, broker: LocalBroker) -> None:
    """A commit that finds its coordinator down is sent when the broker is back, without the watchdog."""
    # Given a worker whose results of a second poll are on the broker, but not committed
    harness.produce(200)
    harness.watch()
    worker = harness.worker(Script({"sent:2": "pause"}), max_poll_records=10, transaction_timeout_seconds=30)
    worker.await_point("sent:2")
    at = internal(harness.kafka), harness.topics.output

    def uncommitted() -> int:
        return sum(end_offsets(*at).values()) - sum(end_offsets(*at, committed=True).values())

    wait_until(lambda: uncommitted() == 10, 30, "all results are delivered")
    # When it sends its offsets to a broker that is down, and the broker comes back
    broker.kill()
    worker.release("sent:2")
    wait_until(lambda: "trying to find a node" in worker.log, 20, "the request finds no broker")
    broker.start()
    # Then the same process publishes everything, once
    assert harness.finish(35).checked == 200
    assert len(harness.workers) == 1


def test_row_05_a_worker_may_start_before_its_broker(harness: Harness, broker: LocalBroker) -> None:
    """Started without a broker, a worker reports what it waits for, and begins when the broker is up."""
    # Given a backlog on a broker that is down
    harness.produce(100)
    broker.kill()
    worker = harness.worker()
    wait_until(lambda: "refuses connections" in worker.get("/ready")[1], 60, "it reports what it waits for")
    assert worker.get("/ready")[0] == 503
    # When the broker comes, then the same process does the work
    broker.start()
    assert harness.finish().checked == 100
    assert len(harness.workers) == 1


@pytest.mark.parametrize("role", ["input", "output", "transactions", "group"])
def test_row_05_another_broker_takes_the_lead(
    three: LocalCluster, harness_on: Callable[..., Harness], role: str
) -> None:
    """The leader of a topic, the transaction log or the groups is killed: others take over, each record once."""
    # Given a busy worker on a cluster of three
    three.start()
    harness = harness_on(three)
    harness.produce(1500)
    harness.watch()
    supervised = harness.supervised(SLOW)
    wait_until(lambda: harness.committed() > 100, 60, "work is under way")
    # When the broker that leads is killed, for good as far as this test goes
    topic = {
        "input": harness.topics.input,
        "output": harness.topics.output,
        "transactions": "__transaction_state",
        "group": "__consumer_offsets",
    }[role]
    leader = _leader(three, topic)
    three.nodes[leader - 1].kill()
    # Then the work is finished by the other two
    harness.await_done(120)
    three.start(three.nodes[leader - 1])
    assert harness.finish().checked == 1500
    print(f"exits: {supervised.exits}")


def test_row_05_a_partition_without_a_leader_holds_up_no_other(
    three: LocalCluster, harness_on: Callable[..., Harness]
) -> None:
    """One input partition is offline: the worker that has it labels the others, and that one when it is back."""
    # Given an input topic with each partition on one broker only, and one of these brokers dead
    three.start()
    harness = harness_on(three, partitions=3)
    harness.topics = replace(harness.topics, input=f"{harness.topics.input}.alone")
    where = {"assignments": {0: [1], 1: [2], 2: [3]}, "configs": {"min.insync.replicas": "1"}}
    with three.admin() as admin:
        admin.create_topics({harness.topics.input: where}, wait_for_metadata=True)
    harness.produce(90)
    harness.watch()
    three.nodes[1].kill()
    # When a worker gets all three
    worker = harness.worker()
    # Then the other two are done
    wait_until(lambda: harness.committed() == 60, 60, "two partitions are done")
    worker.await_partitions(3)
    # And the third as soon as its broker is back
    three.start(three.nodes[1])
    assert harness.finish().checked == 90
    assert len(harness.workers) == 1


@pytest.mark.smoke
def test_row_06_a_frozen_broker_ends_the_worker_and_loses_nothing(harness: Harness, broker: LocalBroker) -> None:
    """A broker that stops answering during a commit: the worker gives up in time and is restarted."""
    # Given a worker whose broker freezes while a transaction is open
    harness.produce(600)
    harness.watch()
    supervised = harness.supervised(Script({"sent:2": "pause"}))
    first = supervised.worker
    first.await_point("sent:2")
    broker.pause()
    # When it continues, then it gives up within its timeouts rather than wait forever
    first.release("sent:2")
    assert first.wait_exit(60) == 5
    # And when the broker wakes up, its next start does the work once
    broker.resume()
    assert harness.finish(120).checked == 600


def test_row_24_sigterm_while_the_start_waits_for_a_broker(harness: Harness, broker: LocalBroker) -> None:
    """A worker that has nothing to finish yet exits with code 0 at once, not after the start timeout."""
    # Given a worker that waits for its broker
    broker.kill()
    worker = harness.worker()
    wait_until(lambda: "refuses connections" in worker.get("/ready")[1], 60, "it reports what it waits for")
    # When it is asked to stop, then it does
    began = time.monotonic()
    assert worker.stop(signal.SIGTERM) == 0, worker.log
    assert time.monotonic() - began < 20
    assert "stopped before connecting to Kafka" in worker.log


def test_row_24_sigterm_while_the_broker_is_down(harness: Harness, broker: LocalBroker) -> None:
    """A worker stops cleanly although no broker answers."""
    # Given an idle worker without a broker
    harness.produce(50)
    worker = harness.worker(stop_timeout_seconds=4)
    harness.await_done()
    broker.kill()
    # When it is asked to stop, then it does within its time
    began = time.monotonic()
    assert worker.stop(signal.SIGTERM) == 0, worker.log
    assert time.monotonic() - began < 20


def test_row_27_a_full_disk_stops_the_broker_and_loses_nothing(harness: Harness, broker: LocalBroker) -> None:
    """The broker cannot write and dies; with space again, all acknowledged records have one result."""
    # Given a busy worker
    harness.produce(1000)
    harness.watch()
    harness.supervised(SLOW)
    wait_until(lambda: harness.committed() > 100, 60, "work is under way")
    # When no file of the broker may grow any more, which is what a full disk does to it, without being root
    resource.prlimit(broker.pid, resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
    wait_until(lambda: not broker.node.running, 60, "the broker gives up its disk")
    # And is started again with space
    broker.start()
    # Then each record has one result
    assert harness.finish(150).checked == 1000


def _leader(kafka: LocalCluster, topic: str) -> int:
    """The broker that leads most partitions of a topic."""
    with kafka.admin() as admin:
        (described,) = admin.describe_topics([topic])
    leaders = [int(partition["leader_id"]) for partition in described["partitions"]]
    return max(set(leaders), key=leaders.count)
