"""Bundles that change under workers that run, are killed and rebalance."""

import json
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from consumer.local.broker import LocalBroker
from tests.fake_bundle import WEIGHTS, write_bundle
from tests.fake_worker import Script
from tests.harness import FakeWorker, Harness
from tests.kafka_helpers import read_all
from tests.worker_process import wait_until

pytestmark = [pytest.mark.broker, pytest.mark.timeout(300)]

ROUNDS = 15
#: Each third bundle is one that must not serve.
IS_BAD = 2


def put(path: Path, version: int) -> None:
    """Let the link at `path` lead to a new bundle, in one step; a third of them are torn."""
    bundle = write_bundle(path.with_name(f"v{version}"), version=str(version))
    if version % 3 == IS_BAD:
        (bundle / WEIGHTS).write_bytes(b"")
    path.with_name("next").symlink_to(bundle)
    path.with_name("next").replace(path)


def _is_ready_or_dead(worker: FakeWorker) -> bool:
    return worker.reached_ready or not worker.is_running


class Fleet:
    """Two workers of one group that watch the bundle at `path`; whoever is killed is replaced."""

    def __init__(self, harness: Harness, path: Path) -> None:
        self._harness, self._path = harness, path
        self._workers: list[FakeWorker] = []

    @property
    def running(self) -> list[FakeWorker]:
        """Those that are not killed yet."""
        return [each for each in self._workers if each.is_running]

    def fill(self, *, doomed: bool = False) -> None:
        """Start workers until there are two; a `doomed` one is killed within its second commit."""
        while len(self.running) < 2:
            script = Script({"sent:2": "kill"} if doomed else {}, watch_seconds=0.05)
            settings = {"bundle": self._path, "reload_bundle": "watch", "session_timeout_seconds": 3}
            self._workers.append(self._harness.worker(script, **settings))
        for each in self.running:
            wait_until(partial(_is_ready_or_dead, each), 60, "it is ready")

    def serve(self, version: int) -> bool:
        """Whether all of them serve this one."""
        return all(each.metric("reviews_model_info", version=str(version)) for each in self.running)

    def refuse(self) -> bool:
        """Whether all of them refuse what is at the path."""
        return all(each.metric("reviews_bundle_refused") for each in self.running)


def test_row_36_bundles_that_change_under_workers_that_are_killed(harness: Harness, tmp_path: Path) -> None:
    """Each record has one result, by a bundle that was in place; no bad one labels, and none holds anything up."""
    # Given two workers that watch their bundle
    path = tmp_path / "models/current"
    path.parent.mkdir()
    put(path, 0)
    harness.watch()
    fleet = Fleet(harness, path)
    fleet.fill()
    # When it changes again and again, bad ones among them, and one worker after the other is killed and replaced
    for version in range(1, ROUNDS + 1):
        put(path, version)
        harness.produce(60, bad=0.1)
        if version % 3 == IS_BAD:
            wait_until(fleet.refuse, 30, "all of them refuse it")
        elif version % 3 == 0:  # no worker starts on a bad one
            fleet.running[0].kill()
            fleet.fill(doomed=version % 2 == 0)
        else:
            fleet.fill()
            wait_until(partial(fleet.serve, version), 30, "all of them serve it")
    # Then the oracle finds each record once
    assert harness.finish().checked == 60 * ROUNDS
    # And the results name many bundles, all of them good
    versions = versions_of_results(harness)
    print(f"{len(harness.workers)} workers, bundles {sorted(versions)}")
    assert len(versions) >= ROUNDS / 3
    assert {version for version in versions if version % 3 == IS_BAD or version > ROUNDS} == set()
    assert sum(each.log.count("takes the place of") for each in harness.workers) >= ROUNDS / 3


def test_row_36_bundles_that_change_while_the_broker_dies_and_freezes(
    broker: LocalBroker, harness_on: Callable[..., Harness], tmp_path: Path
) -> None:
    """Each record has one result, whether the bundle changes before, while or after no broker answers."""
    # Given two busy workers that watch their bundle
    harness = harness_on(broker)
    path = tmp_path / "models/current"
    path.parent.mkdir()
    put(path, 0)
    harness.watch()
    settings = {"bundle": path, "reload_bundle": "watch"}
    script = Script(seconds_per_poll=0.05, watch_seconds=0.05)
    supervised = [harness.supervised(script, **settings) for _ in range(2)]
    wait_until(lambda: all(each.reached_ready for each in harness.workers), 60, "both are ready")
    good = iter(version for version in range(1, 100) if version % 3 != IS_BAD)
    # When the broker is killed or frozen, again and again, and the bundle changes around and during it
    for number in range(6):
        harness.produce(150, bad=0.05)
        put(path, next(good))
        if number % 2:
            broker.pause()
            put(path, next(good))
            time.sleep(3)  # frozen for so long
            broker.resume()
        else:
            broker.kill()
            put(path, next(good))
            broker.start()
        put(path, next(good))
        wait_until(lambda: harness.committed() >= len(harness.produced), 120, "all of it is done")
    # Then the oracle finds each record once
    assert harness.finish(120).checked == 150 * 6
    # And the bundles did change, without a worker that a bundle ended
    switched = sum(each.log.count("takes the place of") for each in harness.workers)
    versions = versions_of_results(harness)
    print(f"{len(harness.workers)} workers, {switched} switches, bundles {sorted(versions)}")
    assert switched >= 6
    assert len(versions) >= 4
    assert {code for each in supervised for code in each.exits} <= {0, 4, 5}


@pytest.mark.smoke
def test_row_36_a_worker_killed_after_a_signal_for_another_bundle(harness: Harness, tmp_path: Path) -> None:
    """Its results are of the old bundle or of the new one, each record once; a poll in the middle keeps the old one."""
    # Given a worker that is told of another bundle while its results are sent and not committed
    path = tmp_path / "models/current"
    path.parent.mkdir()
    put(path, 0)
    harness.produce(2000)
    harness.watch()
    settings = {"bundle": path, "instance_id": "w", "static_membership": True, "session_timeout_seconds": 3}
    first = harness.worker(Script({"sent:2": "pause"}, seconds_per_poll=0.05), reload_bundle="signal", **settings)
    first.await_point("sent:2")
    put(path, 1)
    first.send(signal.SIGUSR2)
    wait_until(lambda: "preparing it" in first.log, 20, "it has heard the signal")
    assert "takes the place of" not in first.log
    # When it is killed soon after it has switched
    first.release("sent:2")
    wait_until(lambda: "takes the place of" in first.log, 20, "it has switched")
    first.kill()
    # Then the next one does once what it left
    harness.worker(**settings)
    assert harness.finish().checked == 2000
    assert versions_of_results(harness) == {0, 1}


def versions_of_results(harness: Harness) -> set[int]:
    """The versions of the models that the results name."""
    results = read_all(harness.topics.bootstrap, harness.topics.output)
    return {int(json.loads(record.value or b"")["model"]["version"]) for record in results}
