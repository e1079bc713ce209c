"""Models that must not serve, groups that reject the worker, and probes that must not cost."""

import json
import threading
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from kafka import KafkaConsumer
from kafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor

from tests.fake_bundle import GOLDEN_TEXT, WEIGHTS, write_bundle
from tests.harness import Harness
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


def test_row_28_a_group_that_takes_nobody_like_it_ends_the_start(harness: Harness) -> None:
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
