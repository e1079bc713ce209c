"""Draw the dashboards for the docs: `python -m tests.dashboard_pictures` writes docs/pictures/dashboard-*.png.

A real Kafka, workers with the shipped models and a real Prometheus run for some minutes: a second worker joins, a burst
arrives, the first worker restarts, and the second one comes back with another model. Alerts wait for seconds here.
"""

import argparse
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from itertools import cycle
from pathlib import Path

from consumer.demo.sample import load
from consumer.local.broker import LocalBroker
from deploy.grafana.picture import main as draw
from tests.kafka_helpers import Record, Topics, produce
from tests.observed import RULES, PrometheusProcess, at_ports, free_ports, quickened
from tests.worker_process import WorkerProcess

ROOT = Path(__file__).parents[1]
PICTURES = ROOT / "docs/pictures"
MODELS = [ROOT / "bundles" / name for name in ("cascade-imdb", "student-imdb")]
PARTITIONS = 4
JOB = "review-consumer"


class Traffic(threading.Thread):
    """Produces the next of `batches` every so often, until it is stopped."""

    def __init__(self, topics: Topics, batches: Iterator[Sequence[Record]], every_s: float) -> None:
        super().__init__(daemon=True)
        self._topics, self._batches, self._every_s = topics, batches, every_s
        self._stopped, self._lock = threading.Event(), threading.Lock()

    def send(self) -> None:
        """Produce the next batch now."""
        with self._lock:
            produce(self._topics.bootstrap, self._topics.input, next(self._batches), max_request_size=2_000_000)

    def run(self) -> None:
        """Produce until `stop`."""
        while not self._stopped.wait(self._every_s):
            self.send()

    def stop(self) -> None:
        """End it."""
        self._stopped.set()
        self.join()


def sample(size: int) -> Iterator[list[Record]]:
    """The sample of the demo again and again, `size` records at a time; two rounds in three are new to the cache."""
    records = []
    for number, each in enumerate(cycle(load())):
        value = each.value
        if each.review is not None and value is not None and number // len(load()) % 3:
            value = value.replace(b'"text": "', b'"text": "(%d) ' % number)
        records.append(Record(value, each.key, partition=number % PARTITIONS))
        if len(records) == size:
            yield records
            records = []


def main() -> int:
    """Run the scene and draw."""
    parser = argparse.ArgumentParser(prog="python -m tests.dashboard_pictures", description=__doc__)
    parser.add_argument("--minutes", type=float, default=8, help="how long it takes (default: 8)")
    parser.add_argument("--rate", type=int, default=6, help="records per second (default: 6)")
    parser.add_argument("--out", type=Path, default=PICTURES, help="where to (default: docs/pictures)")
    chosen = parser.parse_args()
    part = 60 * chosen.minutes / 8
    with ExitStack() as ending:
        directory = Path(ending.enter_context(tempfile.TemporaryDirectory()))
        kafka = ending.enter_context(LocalBroker())
        topics = Topics(kafka.bootstrap, "reviews", "reviews.labeled", "reviews.dlq", "review-consumer")
        kafka.create_topics(dict.fromkeys((topics.input, topics.output, topics.dead_letter), PARTITIONS))
        ports = free_ports(2)

        def worker(place: int, model: Path) -> WorkerProcess:
            flags = [*topics.flags, "--bundle", str(model), "--metrics-port", str(ports[place]), "--threads", "1"]
            return ending.enter_context(WorkerProcess(flags, directory / f"{place}-{model.name}"))

        rules = quickened(RULES.read_text())
        prometheus = ending.enter_context(PrometheusProcess(directory / "prometheus", at_ports({JOB: ports}), rules))
        first = worker(0, MODELS[0]).wait_ready()
        traffic = Traffic(topics, sample(chosen.rate), every_s=1)
        traffic.start()
        ending.callback(traffic.stop)
        time.sleep(1.5 * part)
        second = worker(1, MODELS[0])
        time.sleep(1 * part)
        for _ in range(round(2 * part)):
            traffic.send()
        time.sleep(2 * part)
        first.stop()
        worker(0, MODELS[0])
        time.sleep(1.5 * part)
        second.stop()
        worker(1, MODELS[1])
        time.sleep(2 * part)
        minutes = (time.time() - prometheus.began) / 60
        # Rates over 40 s, as Grafana would choose for scrapes every 10 s: over 4 s, few records are mostly noise.
        asked = ["--out", str(chosen.out), "--minutes", str(minutes), "--scrape", "10"]
        return draw([prometheus.url, *asked])


if __name__ == "__main__":
    sys.exit(main())
