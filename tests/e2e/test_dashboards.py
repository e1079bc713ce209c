"""Every query of the dashboards, and the alerts, on a real Prometheus that watches real workers."""

import json
import math
import re
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from consumer.local.broker import LocalBroker
from deploy.grafana.figures import named
from deploy.grafana.queries import Board, Panel, Prometheus, boards
from tests.fake_bundle import write_bundle
from tests.fake_worker import Script
from tests.harness import FakeWorker
from tests.kafka_helpers import Record, Topics, produce
from tests.observed import RULES, PrometheusProcess, free_ports, quickened
from tests.tiny_cascade import write_tiny_cascade
from tests.worker_process import WorkerProcess, wait_until

pytestmark = pytest.mark.broker

BOARDS = boards()
PANELS = [pytest.param(board, panel, id=f"{board.name}: {panel.title}") for board in BOARDS for panel in board.panels]
JOB, STUCK = "review-consumer", "stuck/review-consumer"
#: What this traffic has to raise, and what nothing here may.
EXPECTED = {
    ("ReviewsDeadLetters", "ticket", JOB),
    ("ReviewsLabelledLate", "page", JOB),
    ("ReviewsLabelledLate", "ticket", JOB),
    ("ReviewsRecordAgeHigh", "ticket", JOB),
    ("ReviewsMixedModels", "ticket", JOB),
    ("ReviewsWaitingTooLong", "page", STUCK),
    ("ReviewsCommitsStale", "ticket", STUCK),
}
NEVER = {"ReviewsModelErrors", "ReviewsDeletedUnread", "ReviewsCommitsLost"}
HOUR_MS = 3_600_000


@dataclass(frozen=True)
class Scene:
    """What the tests of this file look at, after everything has happened."""

    prometheus: PrometheusProcess
    fired: set[tuple[str, str, str]]
    source: Prometheus


def batch(number: int) -> list[Record]:
    """Reviews, of which a cascade passes on some, the cache knows some, some are late or too long; dead letters."""
    texts = ["great great film", "the film", f"the film unheard{number}", f"great great film unheard{number}"]
    texts += ["the film was great " * 20, f"bad unheard{number}"]
    values: list[bytes | None] = [json.dumps({"text": text}).encode() for text in texts]
    values += [b"no JSON", None, b'{"text": " "}'] if number % 2 else []
    late = int(time.time() * 1000) - HOUR_MS
    return [
        Record(value, b"key %d" % place, timestamp_ms=late if place < 3 else None) for place, value in enumerate(values)
    ]


class Traffic(threading.Thread):
    """Produces a batch every third of a second until it is stopped."""

    def __init__(self, topics: Topics) -> None:
        super().__init__(daemon=True)
        self._topics, self._stopped = topics, threading.Event()

    def run(self) -> None:
        """Produce."""
        number = 0
        while not self._stopped.wait(0.3):
            number += 1
            produce(self._topics.bootstrap, self._topics.input, batch(number) * 4)

    def stop(self) -> None:
        """End it."""
        self._stopped.set()
        self.join()


def make_topics(kafka: LocalBroker, name: str) -> Topics:
    """Empty topics, with two partitions each."""
    made = Topics(kafka.bootstrap, f"{name}.input", f"{name}.output", f"{name}.dead-letter", f"{name}.group")
    kafka.create_topics(dict.fromkeys((made.input, made.output, made.dead_letter), 2))
    return made


@pytest.fixture(scope="module")
def scene(kafka: LocalBroker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """Two workers with two models, one of them restarted; a third one, of another installation, is stuck in a poll."""
    directory = tmp_path_factory.mktemp("dashboards")
    topics, other = make_topics(kafka, f"d-{directory.name}"), make_topics(kafka, f"s-{directory.name}")
    first, second, stuck = free_ports(3)
    models = [write_tiny_cascade(directory / version / "cascade", version=version) for version in ("1", "2")]
    fake = write_bundle(directory / "fake")

    def flags(port: int, bundle: Path, of: Topics) -> list[str]:
        return [*of.flags, "--bundle", str(bundle), "--metrics-port", str(port), "--max-poll-records", "50"]

    with ExitStack() as ending:
        jobs = {JOB: [first, second], STUCK: [stuck]}
        prometheus = ending.enter_context(
            PrometheusProcess(directory / "prometheus", jobs, quickened(RULES.read_text()))
        )
        old = [Record(b'{"text": "x %d"}' % n, timestamp_ms=int(time.time() * 1000) - HOUR_MS) for n in range(400)]
        produce(other.bootstrap, other.input, old)
        ending.enter_context(
            FakeWorker(flags(stuck, fake, other), directory / "stuck", Script(points={"inferred:3": "pause"}))
        )
        one = ending.enter_context(WorkerProcess(flags(first, models[0], topics), directory / "one"))
        traffic = Traffic(topics)
        traffic.start()
        ending.callback(traffic.stop)
        one.wait_ready()
        ending.enter_context(WorkerProcess(flags(second, models[1], topics), directory / "two")).wait_ready()
        wait_until(lambda: one.metric("reviews_rebalance_seconds_count") >= 2, 30, "a rebalance")
        assert one.stop() == 0
        ending.enter_context(WorkerProcess(flags(first, models[0], topics), directory / "again")).wait_ready()
        fired: set[tuple[str, str, str]] = set()

        def all_fired() -> bool:
            fired.update(prometheus.firing())
            return fired >= EXPECTED

        try:
            wait_until(all_fired, 40, "the alerts fire", every_s=0.5)
        except AssertionError:
            raise AssertionError(f"did not fire: {EXPECTED - fired}") from None
        yield Scene(prometheus, fired, prometheus.until_now())


def test_alerts_fire_in_a_real_prometheus(scene: Scene) -> None:
    """Late reviews, mixed models, dead letters, a stuck worker and what waits for it are reported."""
    assert scene.fired >= EXPECTED
    assert not {name for name, _, _ in scene.fired} & NEVER
    assert ("ReviewsCommitsStale", "ticket", JOB) not in scene.fired
