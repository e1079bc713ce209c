"""Workers that are too late for their group, and groups that keep rebalancing."""

import json
import re
import signal
import threading
import time

import pytest

from tests.fake_worker import Script
from tests.harness import FakeWorker, Harness
from tests.kafka_helpers import Record
from tests.worker_process import wait_until

pytestmark = [pytest.mark.broker, pytest.mark.timeout(300)]

#: A poll has to be finished within 6 s.
HASTY = {
    "max_poll_interval_seconds": 6,
    "poll_target_seconds": 1,
    "session_timeout_seconds": 4,
    "transaction_timeout_seconds": 5,
    "request_timeout_seconds": 2,
}


@pytest.mark.smoke
def test_row_02_a_worker_that_is_late_publishes_nothing(harness: Harness) -> None:
    """Results that come after the poll interval are rejected: other workers have redone them."""
    # Given a worker that thinks about its second poll until another one has finished everything
    harness.produce(300, bad=0.05)
    harness.watch()
    late = harness.worker(Script({"inferred:2": "pause"}), **HASTY)
    late.await_point("inferred:2")
    harness.worker(**HASTY)
    harness.await_done()
    # When it wants to publish
    late.release("inferred:2")
    # Then it is rejected and rejoins the group, and each record has one result
    wait_until(lambda: "not published" in late.log, 30, "the late worker is refused")
    assert harness.finish().checked == 300


def test_row_02_a_late_worker_without_colleagues_redoes_its_poll(harness: Harness) -> None:
    """The only worker of a group is rejected as well, and repeats the same records after it has rejoined."""
    # Given a worker alone that has left its group without knowing
    harness.produce(300)
    harness.watch()
    late = harness.worker(Script({"inferred:2": "pause"}), **HASTY)
    late.await_point("inferred:2")
    with harness.kafka.admin() as admin:
        group = harness.topics.group
        wait_until(lambda: not admin.describe_groups([group])[group]["members"], 30, "it has left the group")
    # When it wants to publish, then it does not, and then does it right
    late.release("inferred:2")
    assert harness.finish().checked == 300
    assert "not published" in late.log


@pytest.mark.smoke
def test_row_02_a_refused_commit_leaves_nothing_behind_for_the_next_one(harness: Harness) -> None:
    """Rejected offsets are not sent with a later commit, when the worker is a member again."""
    # Given a late worker with records of all four partitions in hand, and another one that has gone further in all
    harness.produce(16)
    harness.watch()
    late = harness.worker(Script({"inferred:1": "pause"}), **HASTY)
    late.await_point("inferred:1")
    harness.worker(**HASTY)
    harness.await_done()
    harness.produce(200)
    harness.await_done()
    # When the late one is refused, joins again, and commits for the partitions that it has then, and for no other
    late.release("inferred:1")
    wait_until(lambda: "not published" in late.log, 30, "the late worker is refused")
    late.await_partitions(2)
    before = harness.committed_by_partition()
    mine = [int(number) for number in re.findall(r"assigned: \[(\d), (\d)\]", late.log)[-1]]
    harness.produce_records([Record(b'{"text": "more %d"}' % n, partition=mine[n % 2]) for n in range(20)])
    harness.await_done()
    # Then the others' offsets have not moved, and each record has one result
    after = harness.committed_by_partition()
    assert all(after[partition] >= before[partition] for partition in before)
    assert harness.finish().checked == 236


@pytest.mark.smoke
def test_row_03_a_worker_that_missed_a_rebalance_starts_from_the_commits(harness: Harness) -> None:
    """A worker that gets back a partition starts where its last owner stopped, not where it was itself."""
    # Given a worker that knows of a rebalance, and is frozen before it takes part in it
    harness.produce(16)
    harness.watch()
    absent = harness.worker(Script({"committed:1": "pause"}), session_timeout_seconds=4)
    absent.await_point("committed:1")
    other = harness.worker(session_timeout_seconds=4)
    with harness.kafka.admin() as admin:
        group = harness.topics.group
        wait_until(
            lambda: admin.describe_groups([group])[group]["group_state"] == "PreparingRebalance", 60, "a rebalance"
        )
    time.sleep(3)  # two heartbeats, by which it hears of it; without them this test shows less, and does not fail
    absent.send(signal.SIGSTOP)
    # And another one that has gone further in all partitions
    other.await_partitions(4)
    harness.produce(200)
    harness.await_done()
    # When it wakes up and shares the partitions again, then each record has one result
    absent.release("committed:1")
    absent.send(signal.SIGCONT)
    absent.await_partitions(2)
    harness.produce(40)
    assert harness.finish().checked == 256


def test_row_04_progress_while_workers_come_and_go(harness: Harness) -> None:
    """Three places whose workers start and stop at random: reviews get labelled in every 15 s, each once."""
    # Given a stream of reviews, and places that are emptied or filled every 2 s for a minute
    harness.watch()
    ending = threading.Event()
    stream = threading.Thread(target=_produce_until, args=(harness, ending))
    stream.start()
    places: list[FakeWorker | None] = [harness.worker(), None, None]
    began, shown = time.monotonic(), 0
    progress: list[int] = []
    told: set[FakeWorker | None] = set()
    try:
        while (now := time.monotonic() - began) < 60:
            place = harness.random.randrange(3)
            worker = places[place]
            if worker is None or not worker.is_running:
                places[place] = harness.worker()
            elif worker.reached_ready and worker not in told and len(set(places) - told - {None}) > 1:
                worker.send(signal.SIGTERM)  # once: a second one would end it at once
                told.add(worker)
            if now > 15 * (len(progress) + 1):
                done = harness.committed()
                progress.append(done - shown)
                shown = done
            time.sleep(2)
    finally:
        ending.set()
        stream.join()
    # Then each window saw progress, every stop was in order, and each record has one result
    print(f"committed per window: {progress}")
    assert len(progress) == 3
    assert min(progress) > 0
    assert harness.finish().checked == len(harness.produced)
    assert {worker.process.returncode for worker in harness.workers} == {0}


@pytest.mark.smoke
def test_row_30_a_partition_that_is_never_read_again_ends_the_worker(harness: Harness) -> None:
    """The client silently stops reading one partition: the worker detects it, names it, and gives up."""
    # Given a client with that fault (kafka-python 3.0.7 had it after a rebalance)
    harness.produce(100)
    harness.watch()
    stuck = harness.worker(Script(stuck_partition=2), stall_timeout_seconds=3, transaction_timeout_seconds=2)
    wait_until(lambda: "partitions assigned" in stuck.log, 60, "it has partitions")
    # When there is more to read, then the worker gives up, because a new process reads it
    harness.produce(100)
    assert stuck.wait_exit(60) == 5
    assert "partition 2" in stuck.last_line
    # And the next one does the rest
    harness.worker()
    assert harness.finish().checked == 200


def test_row_30_a_partition_that_is_never_read_again_is_noticed_under_load(harness: Harness) -> None:
    """A backlog in the other partitions, which keeps the worker busy for hours, does not hide it."""
    # Given a client with that fault, and more to read than it can within the time of a stall
    padding = "x" * 8_000
    reviews = [json.dumps({"id": f"r-{n}", "text": f"a film {n}", "padding": padding}).encode() for n in range(1200)]
    for start in range(0, len(reviews), 200):
        harness.produce_records(
            [Record(value, partition=n % 4) for n, value in enumerate(reviews[start : start + 200], start)]
        )
    harness.watch()
    # (The target keeps the size of polls up, whatever few records one of them happens to bring.)
    script = Script(stuck_partition=2, seconds_per_poll=2.0)
    stuck = harness.worker(script, stall_timeout_seconds=3, transaction_timeout_seconds=2, poll_target_seconds=12)
    # When it works on the rest, then it gives up before that is done and names the partition
    assert stuck.wait_exit(120) == 5, stuck.log
    assert "partition 2 has not moved" in stuck.last_line
    assert harness.committed() < 900
    # And the next one does the rest
    harness.worker()
    assert harness.finish(120).checked == 1200


def _produce_until(harness: Harness, ending: threading.Event) -> None:
    while not ending.wait(0.5):
        harness.produce(20, bad=0.05)
