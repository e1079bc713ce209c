"""A network that loses answers, is slow, or drops everything, between the worker and a real broker."""

import contextlib
import json
import time
from collections.abc import Callable

import psutil
import pytest

from consumer.local.broker import LocalBroker
from consumer.service.watchdog import GRACE_SECONDS
from tests.fake_worker import Script
from tests.harness import Harness
from tests.kafka_helpers import Record, internal, read_all
from tests.oracle import open_transactions, stable
from tests.proxy import ADD_OFFSETS_TO_TXN, ADD_PARTITIONS_TO_TXN, END_TXN, PRODUCE, TXN_OFFSET_COMMIT, Proxy
from tests.worker_process import wait_until

pytestmark = [pytest.mark.broker, pytest.mark.timeout(300)]

Proxied = tuple[LocalBroker, Proxy]


@pytest.fixture
def harness(proxied: Proxied, harness_on: Callable[..., Harness]) -> Harness:
    """Workers reach the broker through the proxy; all others connect directly."""
    kafka, proxy = proxied
    kafka.resume()
    proxy.heal()
    return harness_on(kafka, bootstrap=proxy.address)


def large(number: int) -> Record:
    """A review with another field of 30 kB."""
    return Record(json.dumps({"text": f"slow {number}", "note": "x" * 30_000}).encode(), partition=number % 4)


@pytest.mark.parametrize(
    "request_kind",
    [
        pytest.param(PRODUCE, id="produce"),
        pytest.param(TXN_OFFSET_COMMIT, id="offsets"),
        pytest.param(END_TXN, id="commit", marks=pytest.mark.smoke),
    ],
)
@pytest.mark.parametrize("fault", ["lose_answer", "lose_request"])
def test_row_07_a_lost_answer_changes_nothing(
    harness: Harness, proxied: Proxied, request_kind: int, fault: str
) -> None:
    """Whether or not the broker acted, if its answer is lost each record still gets one result."""
    # Given a worker whose connection breaks around three requests of one kind
    harness.produce(600, bad=0.05)
    harness.watch()
    supervised = harness.supervised()
    supervised.worker.wait_ready()
    proxied[1].fail(request_kind, fault, times=3)  # type: ignore[arg-type]
    # When all is done, then the connection broke that often, and each record has one result
    harness.produce(600, bad=0.05)
    harness.await_done()
    print(f"exits: {supervised.exits}")
    assert proxied[1].hits >= 3
    assert harness.finish().checked == 1200


class Usage:
    """Processor time (seconds) and memory (bytes) of a process so far."""

    def __init__(self, process: psutil.Process) -> None:
        times = process.cpu_times()
        self.seconds = times.user + times.system
        self.bytes = process.memory_info().rss


@pytest.mark.parametrize(
    ("fault", "resumes"),
    [
        pytest.param("frozen", False, id="frozen", marks=pytest.mark.smoke),
        pytest.param("frozen", True, id="frozen for a while"),
        pytest.param("partitioned", False, id="partitioned"),
    ],
)
def test_row_06_a_silent_broker_costs_an_idle_worker_nothing(
    harness: Harness, proxied: Proxied, fault: str, resumes: bool
) -> None:
    """An idle worker without an answer waits for `broker_timeout_seconds`: no spinning, no growth, little log."""
    # Given an idle worker whose broker or network no longer answers
    kafka, proxy = proxied
    harness.produce(100)
    harness.watch()
    worker = harness.worker(broker_timeout_seconds=60 if resumes else 25, request_timeout_seconds=18)
    harness.await_done()
    process = psutil.Process(worker.process.pid)
    before, lines = Usage(process), worker.log.count("\n")
    if fault == "frozen":
        kafka.pause()
    else:
        proxy.silent = True
    # When that lasts until it gives up, or as long
    began = time.monotonic()
    used = [before]

    def is_over() -> bool:
        with contextlib.suppress(psutil.Error):  # it has just ended
            used.append(Usage(process))
        return time.monotonic() - began > 25 if resumes else not worker.is_running

    wait_until(is_over, 60, "the worker gives up", every_s=0.2)
    # Then it has cost next to nothing
    seconds = max(each.seconds for each in used) - before.seconds
    grown = max(each.bytes for each in used) - before.bytes
    print(f"{fault}: {seconds:.2f} s of processor time, {grown / 1e6:.1f} MB, seen {len(used)} times")
    assert len(used) > 50
    assert seconds < 3
    assert grown < 20e6
    assert worker.log.count("\n") - lines < 60
    # And the same worker resumes, or it has ended and another one does
    kafka.resume()
    proxy.heal()
    if not resumes:
        assert worker.wait_exit() == 5
        assert "no broker has answered" in worker.last_line
        harness.worker()
    harness.produce(100)
    assert harness.finish().checked == 200
    assert len(harness.workers) == (1 if resumes else 2)


def test_row_07_fifty_lost_answers_to_commits(harness: Harness, proxied: Proxied) -> None:
    """Fifty commits in a row with an unknown outcome: no record is lost, none comes twice."""
    # Given fifty commits whose answer is lost
    harness.produce(2000)
    harness.watch()
    hits = proxied[1].hits
    proxied[1].fail(END_TXN, "lose_answer", times=50)
    harness.supervised(max_poll_records=16)
    # When all is done, then each record has one result
    assert harness.finish(180).checked == 2000
    assert proxied[1].hits - hits == 50


def test_row_18_a_slow_network_slows_the_worker_down_and_nothing_else(harness: Harness, proxied: Proxied) -> None:
    """Results that trickle out delay the next poll: memory stays flat, and the worker stays in its group."""
    # Given results of 4 kB and a link so slow that they take a while, yet one answer to a fetch comes within its time
    fields = '"note": "' + "x" * 4000 + '"'
    harness.produce_records(
        [Record(b'{"text": "slow %d", %s}' % (n, fields.encode()), partition=n % 4) for n in range(500)]
    )
    harness.watch()
    worker = harness.worker(request_timeout_seconds=25).wait_ready()
    proxied[1].bytes_per_second = 150_000.0
    memory = psutil.Process(worker.process.pid).memory_info
    before = harness.committed()
    wait_until(lambda: harness.committed() > before, 60, "some results are out", every_s=0.5)
    early = memory().rss
    # When the backlog is worked off at the speed of the link
    harness.await_done(120)
    # Then the worker did not grow, did not leave its group, and each record has one result
    assert memory().rss < early + 50e6
    assert worker.log.count("partitions assigned") == 1
    assert harness.finish().checked == 500


def test_row_18_results_that_trickle_out_do_not_trip_the_watchdog(harness: Harness, proxied: Proxied) -> None:
    """Delivery may take half of the poll interval: within it, a slow link is not mistaken for a hang."""
    # Given results of a first poll that take longer on a slow link than a turn of the loop may
    harness.produce_records([large(number) for number in range(32)])
    harness.watch()
    worker = harness.worker(
        Script({"begun:1": "pause"}),
        max_request_bytes=65_536,
        request_timeout_seconds=8,
        watchdog_seconds=13,
        transaction_timeout_seconds=55,
    )
    worker.await_point("begun:1")
    proxied[1].bytes_per_second = 55_000.0
    began = time.monotonic()
    worker.release("begun:1")
    # When they trickle out, then the worker waits for them, live and ready, and commits at the first attempt
    wait_until(lambda: harness.committed() > 0 or not worker.is_running, 60, "the first poll is committed")
    took = time.monotonic() - began
    proxied[1].heal()
    print(f"the first poll took {took:.1f} s to publish")
    assert took > 13 + GRACE_SECONDS
    assert harness.finish().checked == 32
    assert "not published" not in worker.log
    assert "no turn of the loop" not in worker.log


@pytest.mark.smoke
def test_row_30_a_worker_that_hangs_in_a_commit_ends_itself(harness: Harness, proxied: Proxied) -> None:
    """The client retries a commit without a limit: the watchdog dumps all stacks and ends the process in time."""
    # Given a network that loses the end of the second transaction, however often it is sent
    harness.produce(300)
    harness.watch()
    worker = harness.worker(Script({"offsets_sent:2": "pause"}), watchdog_seconds=8, request_timeout_seconds=3)
    worker.await_point("offsets_sent:2")
    proxied[1].fail(END_TXN, "lose_request", times=1_000_000)
    worker.release("offsets_sent:2")
    # Then it is no longer ready, ends itself, and shows where it hung
    assert "reviews_ready 1.0" in worker.get("/metrics")[1]
    wait_until(lambda: "reviews_ready 0.0" in worker.get("/metrics")[1], 30, "it is not ready")
    assert worker.wait_exit(30) == 5
    assert "no progress within 8 s" in worker.log
    assert "in commit_transaction" in worker.log
    # And after the network is back, the next one does the work once
    proxied[1].heal()
    harness.worker()
    assert harness.finish().checked == 300


@pytest.mark.smoke
def test_row_32_a_commit_that_arrives_late_ends_no_other_transaction(harness: Harness, proxied: Proxied) -> None:
    """A commit message that reaches the broker after its transaction does not commit half of the next one."""
    # Given a worker whose first commit was sent twice, and only the second copy has arrived
    harness.produce_records([large(number) for number in range(64)])
    harness.watch()
    worker = harness.worker(
        Script({"offsets_sent:1": "pause", "begun:2": "pause", "committed:2": "pause"}),
        max_poll_records=32,
        max_request_bytes=65_536,
    )
    worker.await_point("offsets_sent:1")
    proxied[1].fail(END_TXN, "delay")
    worker.release("offsets_sent:1")
    # When the first copy arrives while the results of the second transaction trickle out
    worker.await_point("begun:2")
    wait_until(lambda: stable(harness.kafka, harness.topics.output), 30, "the first transaction has ended")
    proxied[1].bytes_per_second = 200_000.0
    worker.release("begun:2")
    wait_until(lambda: not stable(harness.kafka, harness.topics.output), 30, "some of the second one's results")
    print(f"the broker says {[answer.hex() for answer in proxied[1].deliver_late()]}")
    proxied[1].heal()
    # Then the second transaction is committed as a whole, at the first attempt
    worker.await_point("committed:2")
    worker.release("committed:2")
    assert harness.finish().checked == 64
    assert "not published" not in worker.log


def test_row_33_offsets_that_arrive_late_replace_no_later_ones(
    proxied: Proxied, harness_on: Callable[..., Harness]
) -> None:
    """Offsets that reach the broker after their transaction do not become those of the next one."""
    # Given a worker whose second offsets were sent twice, and only the second copy has arrived
    kafka, proxy = proxied
    proxy.heal()
    harness = harness_on(kafka, bootstrap=proxy.address, partitions=1)
    harness.produce(300)
    harness.watch()
    worker = harness.worker(Script({"sent:2": "pause", "offsets_sent:3": "pause", "committed:3": "pause"}))
    worker.await_point("sent:2")
    proxy.fail(TXN_OFFSET_COMMIT, "delay")
    worker.release("sent:2")
    # When the first copy arrives after the offsets of the third transaction
    worker.await_point("offsets_sent:3")
    print(f"the broker says {[answer.hex() for answer in proxy.deliver_late()]}")
    worker.release("offsets_sent:3")
    # Then that one commits its own
    worker.await_point("committed:3")
    assert harness.committed() == len(read_all(internal(kafka), harness.topics.output)) > 0
    worker.release("committed:3")
    assert harness.finish().checked == 300


@pytest.mark.parametrize(
    "request_kind",
    [
        pytest.param(ADD_PARTITIONS_TO_TXN, id="partitions"),
        pytest.param(ADD_OFFSETS_TO_TXN, id="offsets"),
    ],
)
def test_row_33_a_request_that_arrives_between_two_transactions_opens_none(
    harness: Harness, proxied: Proxied, request_kind: int
) -> None:
    """A request that reaches the broker after its transaction does not open one that the worker does not know of."""
    # Given a worker that has sent a request of its second transaction twice, and only the second copy has arrived
    harness.produce(300)
    harness.watch()
    worker = harness.worker(Script({"begun:2": "pause", "committed:2": "pause"}))
    worker.await_point("begun:2")
    proxied[1].fail(request_kind, "delay")
    worker.release("begun:2")
    # When the first copy arrives after the end of that transaction
    worker.await_point("committed:2")
    wait_until(lambda: not open_transactions(harness.kafka, harness.topics.group), 30, "it has ended")
    print(f"the broker says {[answer.hex() for answer in proxied[1].deliver_late()]}")
    # Then no transaction is open
    assert open_transactions(harness.kafka, harness.topics.group) == []
    worker.release("committed:2")
    assert harness.finish().checked == 300
