"""Models that must not serve, groups that reject the worker, and probes that must not cost."""

import json
import threading
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime
from functools import partial
from pathlib import Path

import pytest
from kafka import KafkaConsumer
from kafka.admin import ConfigResource
from kafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor

from consumer.local.broker import LocalBroker
from tests.fake_bundle import GOLDEN_TEXT, WEIGHTS, write_bundle
from tests.harness import FakeWorker, Harness
from tests.ports import NOWHERE, listening, refusing
from tests.proxy import Proxy
from tests.worker_process import wait_until

pytestmark = [pytest.mark.broker, pytest.mark.timeout(300)]


def _flip_a_byte(bundle: Path) -> None:
    content = bytearray((bundle / WEIGHTS).read_bytes())
    content[3] ^= 1
    (bundle / WEIGHTS).write_bytes(content)


def _swap_labels(bundle: Path) -> None:
    manifest = json.loads((bundle / "manifest.json").read_text())
    manifest["labels"].reverse()
    (bundle / "manifest.json").write_text(json.dumps(manifest))


def _lose_the_weights(bundle: Path) -> None:
    (bundle / WEIGHTS).unlink()


def _another_model(bundle: Path) -> None:
    """Consistent sums, another answer: what a mix-up of two bundles looks like."""
    write_bundle(bundle, golden_text=GOLDEN_TEXT + " of another model")


@pytest.mark.parametrize(
    "damage",
    [pytest.param(_flip_a_byte, marks=pytest.mark.smoke), _swap_labels, _lose_the_weights, _another_model],
)
def test_row_17_a_model_that_is_not_the_measured_one_never_serves(
    harness: Harness, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    """A flipped byte, swapped labels, missing weights, other answers: exit code 3, and no record is touched."""
    # Given a bundle with that damage
    harness.produce(10)
    bundle = write_bundle(tmp_path / "damaged")
    damage(bundle)
    # When a worker starts with it, then it refuses, and names the bundle
    worker = harness.worker(bundle=bundle)
    assert worker.wait_exit(60) == 3
    assert str(bundle) in worker.last_line
    assert harness.committed() == 0


def test_row_28_a_group_that_rejects_the_member_ends_the_start(harness: Harness) -> None:
    """The members of the group share partitions by another strategy: exit code 4, and the line says so."""
    # Given a member that knows another strategy alone
    other = KafkaConsumer(
        harness.topics.input,
        bootstrap_servers=harness.topics.bootstrap,
        group_id=harness.topics.group,
        partition_assignment_strategy=[StickyPartitionAssignor],
    )
    try:
        wait_until(lambda: not other.poll(200) and other.assignment(), 60, "it has partitions")
        # When a worker comes, then it ends, and names group and cause
        worker = harness.worker()
        wait_until(lambda: not other.poll(200) and not worker.is_running, 60, "the worker has ended")
        assert worker.wait_exit() == 4
        assert f"the group {harness.topics.group} or the topic" in worker.last_line
        assert "InconsistentGroupProtocol" in worker.last_line
    finally:
        other.close(autocommit=False)


def test_row_29_a_storm_of_scrapes_is_answered_and_the_work_goes_on(harness: Harness) -> None:
    """Two hundred scrapers at once are answered from one rendering a second, and each record has a result."""
    # Given a worker, and two hundred clients that ask it all the time
    harness.produce(100)
    worker = harness.worker().wait_ready()
    ending = threading.Event()

    def scrape(_: int) -> int:
        answers = 0
        while not ending.is_set():
            with urllib.request.urlopen(f"{worker.url}/metrics", timeout=30) as answer:  # noqa: S310
                assert b"reviews_consumed_total" in answer.read()
            answers += 1
        return answers

    with ThreadPoolExecutor(200) as storm:
        answers = storm.map(scrape, range(200))
        try:
            # When it has work to do meanwhile, then it does it
            harness.produce(900)
            harness.await_done()
        finally:
            ending.set()
        total = sum(answers)
    # And every scraper was answered
    print(f"{total} answers")
    assert total >= 200
    assert worker.get("/live")[0] == 200
    assert harness.finish().checked == 1000


def exit_of(worker: FakeWorker) -> tuple[int, float]:
    """Exit code, and the seconds from the line that precedes the start to the last one."""
    code = worker.wait_exit(60)
    lines = [json.loads(line) for line in worker.log.splitlines()]
    [loaded] = (line for line in lines if line["message"].startswith("model "))
    began, ended = (datetime.fromisoformat(line["time"]) for line in (loaded, lines[-1]))
    return code, (ended - began).total_seconds()


UNREACHABLE: dict[str, tuple[Callable[[], AbstractContextManager[str]], str]] = {
    "unknown": (lambda: nullcontext(NOWHERE), "the name kafka.nowhere.invalid cannot be resolved"),
    "refused": (refusing, "refuses connections; check the port"),
    "silent": (partial(listening, accepts=False), "is silent"),
}


@pytest.mark.parametrize("fault", UNREACHABLE)
def test_row_28_an_address_that_leads_nowhere_is_named_with_the_cause(harness: Harness, fault: str) -> None:
    """An unknown name, a refused port and a silent address: exit code 4 in time, with three different last lines."""
    make, cause = UNREACHABLE[fault]
    with make() as address:
        worker = harness.worker(bootstrap_servers=address, start_timeout_seconds=6)
        code, seconds = exit_of(worker)
    assert code == 4
    assert f"gave up after 6 s: {'the name' if fault == 'unknown' else address}" in worker.last_line
    assert cause in worker.last_line
    assert 6 <= seconds < 7.2


@pytest.mark.smoke
@pytest.mark.parametrize("fault", UNREACHABLE)
def test_row_28_an_advertised_address_that_leads_nowhere_is_told_apart(
    harness_on: Callable[..., Harness], fault: str
) -> None:
    """The broker answers and sends clients elsewhere: the line names both addresses, and advertised.listeners."""
    # Given a broker that advertises such an address, and that is reached by its own
    make, cause = UNREACHABLE[fault]
    with make() as advertised, LocalBroker(advertised=advertised) as kafka:
        own = f"127.0.0.1:{kafka.port}"
        harness = harness_on(kafka, bootstrap=own)
        # When a worker starts there
        worker = harness.worker(start_timeout_seconds=6)
        code, seconds = exit_of(worker)
    # Then it says so, in time
    assert code == 4
    assert f"{own} answers and sends clients on" in worker.last_line
    assert cause in worker.last_line
    assert "advertised.listeners" in worker.last_line
    assert 6 <= seconds < 7.2


#: API keys of the requests of a start, in their order, and what the last line says that it waited for.
FROZEN_AT = {"versions": 18, "metadata": 3, "coordinator": 10, "transactional id": 22}


@pytest.mark.parametrize("request_kind", FROZEN_AT)
def test_row_05_the_start_timeout_is_kept_if_a_broker_falls_silent(
    proxied: tuple[LocalBroker, Proxy], harness_on: Callable[..., Harness], request_kind: str
) -> None:
    """A broker that answers no more from any request on: exit code 4 within a second of the timeout, not 5 later."""
    # Given a network that passes nothing on any more as soon as it sees such a request
    kafka, proxy = proxied
    proxy.heal()
    proxy.fail(FROZEN_AT[request_kind], "silence")
    hits = proxy.hits
    harness = harness_on(kafka, bootstrap=proxy.address)
    # When a worker starts
    worker = harness.worker(start_timeout_seconds=6, request_timeout_seconds=25)
    code, seconds = exit_of(worker)
    # Then it ends in time, and says what does not answer
    assert (code, proxy.hits) == (4, hits + 1)
    assert f"gave up after 6 s: {proxy.address} takes connections and does not answer" in worker.last_line
    assert 6 <= seconds < 7.2


def test_row_05_the_start_timeout_is_kept_if_the_broker_freezes_while_a_topic_is_awaited(
    broker: LocalBroker, harness_on: Callable[..., Harness]
) -> None:
    """kafka-python then waits without a limit: the watchdog ended such a worker with 5, minutes later."""
    # Given a worker that waits for a topic, and a broker that freezes meanwhile
    harness = harness_on(broker)
    worker = harness.worker(input_topic="not-there", start_timeout_seconds=10, request_timeout_seconds=25)
    wait_until(lambda: "not-there does not exist" in worker.log, 60, "it waits for the topic")
    broker.pause()
    try:
        code, seconds = exit_of(worker)
    finally:
        broker.resume()
    # Then it ends in time, and names the topic and the broker
    assert code == 4
    assert "gave up after 10 s: cannot find out whether topic not-there exists" in worker.last_line
    assert f"{broker.bootstrap} takes connections and does not answer" in worker.last_line
    assert 10 <= seconds < 11.2


@pytest.mark.smoke
def test_row_14_a_topic_that_lets_bombs_through_is_warned_of(harness: Harness) -> None:
    """One line at start names topic, setting and remedy, unless the topic stores batches unpacked."""
    # Given a topic as Kafka creates it
    sign = f"compression.type of {harness.topics.input}"
    worker = harness.worker().wait_ready()
    # Then the worker warns once, and works
    warnings = [message for message in worker.messages() if sign in message]
    assert len(warnings) == 1
    assert "is producer: a batch of a few kB" in warnings[0]
    assert "set it to uncompressed" in warnings[0]
    harness.stop()
    # And of a topic that it was changed for, it says nothing
    with harness.kafka.admin() as admin:
        admin.alter_configs([ConfigResource("topic", harness.topics.input, {"compression.type": "uncompressed"})])
    worker = harness.worker().wait_ready()
    assert sign not in worker.log
    harness.produce(10)
    assert harness.finish().checked == 10
