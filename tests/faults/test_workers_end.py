"""Workers that are killed, frozen or stopped, at every step of a commit."""

import json
import signal
import time
from collections.abc import Callable

import pytest

from consumer.local.broker import LocalBroker
from tests.fake_worker import Script
from tests.harness import Harness
from tests.kafka_helpers import Record, read_all
from tests.worker_process import wait_until

pytestmark = [pytest.mark.broker, pytest.mark.timeout(300)]

STEPS = ("polled", "inferred", "begun", "sent", "offsets_sent")
#: The same worker comes back: its partitions and its transactional id are its own again at once. The short session is
#: for the end, when the broker waits for it again.
COMES_BACK = {"instance_id": "w", "static_membership": True, "session_timeout_seconds": 3}


@pytest.mark.parametrize("step", [*STEPS[:-1], pytest.param(STEPS[-1], marks=pytest.mark.smoke)])
def test_row_01_a_worker_killed_at_any_step_leaves_nothing_behind(harness: Harness, step: str) -> None:
    """What a worker had begun when it was killed stays invisible, and its next start does it once."""
    # Given a worker that is killed in its second poll
    harness.produce(300, bad=0.2)
    harness.watch()
    first = harness.worker(Script({f"{step}:2": "kill"}), **COMES_BACK)
    assert first.wait_exit() == -signal.SIGKILL
    # When it starts again, then each record has one result, and the committed offsets matched the results
    second = harness.worker(**COMES_BACK)
    assert harness.finish().checked == 300
    assert "old committed offset" not in second.log


@pytest.mark.smoke
def test_row_01_an_open_transaction_of_a_worker_that_never_returns_is_aborted(harness: Harness) -> None:
    """A worker with another name takes over; it waits for what the dead one left open, then redoes it."""
    # Given a worker killed when its results and offsets were sent and not committed
    harness.produce(300)
    harness.watch()
    first = harness.worker(Script({"offsets_sent:2": "pause"}))
    first.await_point("offsets_sent:2")
    wait_until(lambda: _copies(harness) > harness.committed(), 20, "the results have reached the broker")
    first.kill()
    # When another one takes over, then each record has one result for readers of committed records
    harness.worker()
    assert harness.finish().checked == 300
    # And the aborted copies are there for others to see, so this was the case that it claims to be
    assert _copies(harness) > 300


def test_row_01_twenty_kills_at_random(harness: Harness) -> None:
    """A worker that is killed again and again makes progress, and each record has one result."""
    # Given twenty lives, each ended at a random step of one of its first polls
    harness.produce(2000, bad=0.05)
    harness.watch()
    for _ in range(20):
        point = f"{harness.random.choice(STEPS)}:{harness.random.randint(1, 3)}"
        worker = harness.worker(Script({point: "kill"}), max_poll_records=16, **COMES_BACK)
        assert worker.wait_exit() == -signal.SIGKILL, worker.log
    # When the next one lives, then each record has one result
    harness.worker(**COMES_BACK)
    assert harness.finish().checked == 2000


def test_row_01_at_least_once_repeats_and_loses_nothing(harness: Harness) -> None:
    """Without transactions a kill between results and offsets repeats that poll, and loses nothing."""
    # Given a worker killed between the two
    harness.produce(300, bad=0.05)
    settings = {"delivery": "at_least_once", **COMES_BACK}
    first = harness.worker(Script({"sent:2": "kill"}), **settings)
    assert first.wait_exit() == -signal.SIGKILL
    # When it starts again, then each record has a result, and some have two
    harness.worker(**settings)
    assert harness.finish(exactly_once=False).checked == 300
    assert _copies(harness) > 300


@pytest.mark.smoke
def test_row_03_a_worker_frozen_past_its_session_is_fenced(harness: Harness) -> None:
    """A worker that wakes up after others took its partitions cannot publish the poll that it holds."""
    # Given a worker frozen with labelled reviews, whose partitions another one takes over and finishes
    harness.produce(300)
    harness.watch()
    frozen = harness.worker(Script({"inferred:2": "freeze"}), session_timeout_seconds=3)
    frozen.await_point("inferred:2")
    harness.worker(session_timeout_seconds=3)
    harness.await_done()
    # When it wakes up
    frozen.send(signal.SIGCONT)
    # Then it is rejected, and each record has one result
    wait_until(lambda: "not published" in frozen.log, 30, "the woken worker is refused")
    assert harness.finish().checked == 300


@pytest.mark.smoke
def test_row_03_a_successor_waits_for_offsets_that_are_being_committed(harness: Harness) -> None:
    """A successor does not start from offsets that a pending transaction is about to replace."""
    # Given a worker frozen between sending its offsets and committing them
    harness.produce(300)
    harness.watch()
    settings = {"session_timeout_seconds": 3, "transaction_timeout_seconds": 40}
    frozen = harness.worker(Script({"offsets_sent:2": "freeze"}), **settings)
    frozen.await_point("offsets_sent:2")
    before = _copies(harness)
    # And a successor that has its partitions, and time to read them if it were as careless
    successor = harness.worker(**settings)
    wait_until(lambda: "waits for a transaction" in successor.log, 60, "the successor has the partitions")
    patience = time.monotonic() + 6
    wait_until(lambda: time.monotonic() > patience or _copies(harness) > before + 50, 60, "the successor had its time")
    # When the frozen one wakes up and commits, then each record has one result
    frozen.send(signal.SIGCONT)
    assert harness.finish().checked == 300


def test_row_03_one_offset_in_doubt_holds_up_one_partition(harness: Harness) -> None:
    """An open transaction of a dead worker holds up one partition; if it does not end, the worker reports it."""
    # Given a worker that was killed within a commit of partition 0
    harness.watch()
    harness.produce_records([Record(b'{"text": "review"}', partition=0) for _ in range(20)])
    killed = harness.worker(
        Script({"offsets_sent:1": "kill"}), session_timeout_seconds=3, transaction_timeout_seconds=25
    )
    assert killed.wait_exit() == -signal.SIGKILL
    # When its successor, which is less patient, finds records in all partitions
    harness.produce(200)
    timeouts = {"session_timeout_seconds": 3, "transaction_timeout_seconds": 5}
    successor = harness.worker(**timeouts, stall_timeout_seconds=6)
    # Then it labels those of the others, and gives up on that one when its patience is over
    wait_until(lambda: harness.committed() == 150, 20, "the other partitions are done")
    assert successor.wait_exit() == 5
    assert "the committed offset of partition 0 has not been known" in successor.last_line
    assert harness.committed_by_partition().get(0, 0) == 0
    # And when the broker has ended the transaction, a new one does the rest
    harness.worker(**timeouts, stall_timeout_seconds=60)
    assert harness.finish().checked == 220


def test_row_03_a_worker_that_can_read_nothing_yet_is_not_ready(
    kafka: LocalBroker, harness_on: Callable[..., Harness]
) -> None:
    """A worker is not ready while an open transaction decides the offsets of all its partitions, and says so."""
    # Given a worker that was killed within a commit of the only partition
    harness = harness_on(kafka, partitions=1)
    harness.watch()
    harness.produce(20)
    killed = harness.worker(Script({"offsets_sent:1": "kill"}), session_timeout_seconds=3)
    assert killed.wait_exit() == -signal.SIGKILL
    # When another one has its partition, then it is not ready, and is as soon as the broker has ended the transaction
    successor = harness.worker()
    waiting = (503, "waiting for the committed offsets of its partitions\n")
    wait_until(lambda: successor.get("/ready") == waiting, 60, "it waits, and says so")
    successor.wait_ready()
    assert harness.finish().checked == 20


@pytest.mark.smoke
def test_row_08_the_older_of_two_workers_with_one_name_is_fenced(harness: Harness) -> None:
    """A second worker with the same transactional id ends the first one, which reports why."""
    # Given a worker that holds an open transaction
    harness.produce(300)
    harness.watch()
    older = harness.worker(Script({"offsets_sent:2": "pause"}), instance_id="twin")
    older.await_point("offsets_sent:2")
    # When its twin starts, and it then tries to commit
    younger = harness.worker(instance_id="twin")
    wait_until(lambda: younger.reached_ready, 60, "it has taken over the name; the group waits for the older one")
    older.release("offsets_sent:2")
    # Then it gives up and names the cause, and the twin does the work once
    assert older.wait_exit() == 5
    assert "instance_id" in older.last_line
    assert younger.is_running
    assert harness.finish().checked == 300


@pytest.mark.smoke
def test_row_08_workers_of_one_group_leave_each_other_alone(harness: Harness) -> None:
    """Workers without an instance id get different transactional ids: none of them is fenced."""
    # Given two workers that share the partitions
    harness.watch()
    workers = [harness.worker(), harness.worker()]
    for worker in workers:
        worker.await_partitions(2)
    # When both have published more than once
    for _ in range(3):
        harness.produce(100)
        harness.await_done()
    # Then both still live, and each record has one result
    assert all(worker.is_running for worker in workers)
    assert harness.finish().checked == 300


def test_row_24_sigterm_at_any_moment_ends_in_order(harness: Harness) -> None:
    """SIGTERM at any moment ends the worker with exit code 0 within 15 s, with nothing half done."""
    # Given a worker that is stopped at a random step, and started again, 25 times
    harness.produce(3000, bad=0.05)
    harness.watch()
    slowest = 0.0
    for _ in range(25):
        point = f"{harness.random.choice(STEPS)}:{harness.random.randint(1, 3)}"
        worker = harness.worker(Script({point: "term"}), max_poll_records=16)
        worker.await_point(point)
        began = time.monotonic()
        assert worker.wait_exit() == 0, worker.log
        slowest = max(slowest, time.monotonic() - began)
    # When the last one finishes, then each stop was quick and each record has one result
    harness.worker()
    assert harness.finish().checked == 3000
    assert slowest < 15


@pytest.mark.smoke
def test_row_24_a_second_signal_ends_a_worker_at_once(harness: Harness) -> None:
    """A second signal ends the process at once with code 5, and the next worker redoes the current poll."""
    # Given a worker that is busy with a poll
    harness.produce(100)
    busy = harness.worker(Script({"sent:1": "pause"}))
    busy.await_point("sent:1")
    # When it gets a signal, and another one
    busy.send(signal.SIGTERM)
    wait_until(lambda: "signal again to exit at once" in busy.log, 20, "the first signal is noticed")
    busy.send(signal.SIGTERM)
    # Then it is gone, every line that it wrote is JSON, and another one does the work
    assert busy.wait_exit(15) == 5
    assert {json.loads(line)["level"] for line in busy.log.splitlines()} <= {"INFO", "WARNING"}
    harness.worker()
    assert harness.finish().checked == 100


def test_row_24_a_drain_that_is_stopped_early_is_not_done(harness: Harness) -> None:
    """It finishes its poll and exits with code 5, so that a job which waits for the drain starts it again."""
    # Given a drain that is stopped in its first poll
    harness.produce(300)
    stopped = harness.worker(Script({"sent:1": "term"}), drain=True, max_poll_records=16)
    assert stopped.wait_exit() == 5, stopped.log
    assert "stopped before the topic was drained" in stopped.log
    assert 0 < harness.committed() < 300
    # When it is started again, then it labels the rest
    again = harness.worker(drain=True)
    assert again.wait_exit(60) == 0, again.log
    assert harness.verdict().checked == 300


def _copies(harness: Harness) -> int:
    """Records on the output topic for readers that do not ask for committed ones."""
    return len(read_all(harness.topics.bootstrap, harness.topics.output, committed=False))
