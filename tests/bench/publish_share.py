"""How much of a worker's time is publishing: `python -m tests.bench.publish_share --bundle bundles/student-imdb`.

The loop of a worker with a real model on a backlog of reviews of so many words. Its share is what overlapping it with
the next inference could gain at most; of that, only the time in which it waits for brokers is free if the model uses
all cores. docs/design.md has what was decided from it.
"""

import argparse
import json
import random
import statistics
import sys
import time
import uuid
from pathlib import Path

from consumer.kafka import fixes
from consumer.kafka.broker import Broker
from consumer.kafka.publisher import Step
from consumer.kafka.start import Start
from consumer.local.broker import LocalBroker
from consumer.model.cascade.bundle import load
from consumer.records.messages import Model
from consumer.run import open_classifier
from consumer.service.health import Health
from consumer.service.metrics import Metrics
from consumer.settings import WorkerSettings
from consumer.worker import Worker
from tests.bench.rounds import SEED, load_before, tell_load
from tests.kafka_helpers import Record, produce

PARTITIONS = 4
TEXT = "a film that is long enough to be reviewed and whose story was never quite as good or as bad as its many actors"


class Moments:
    """When each poll came to each step."""

    def __init__(self) -> None:
        self.noted: list[tuple[Step, float]] = []

    def note(self, step: Step) -> None:
        """Now."""
        self.noted.append((step, time.perf_counter()))

    def between(self, first: Step, last: Step) -> float:
        """Seconds from one step of a poll to a later one, summed over all polls."""
        total, began = 0.0, 0.0
        for step, moment in self.noted:
            if step == first:
                began = moment
            elif step == last:
                total += moment - began
        return total


def measure(settings: WorkerSettings, total: int) -> tuple[Moments, float]:
    """The steps of all polls, and records per poll, of a worker that drains its topic."""
    moments, metrics = Moments(), Metrics()
    labeller = open_classifier(settings, load(Path(settings.bundle)))
    connection = Start(settings).connect()
    assert connection is not None
    loop = Worker(
        settings,
        Broker(settings, connection, at=moments.note),
        labeller,
        model=Model(name="m", version="1", digest="0" * 64, variant="int8"),
        metrics=metrics,
        health=Health(600),
        alive=lambda: None,
    )
    loop.run()
    assert loop.counts["labelled"] == total
    connection.close(10)
    labeller.close()
    return moments, total / sum(step == "polled" for step, _ in moments.noted)


def main() -> int:
    """Print the table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, action="append", required=True, help="may be repeated")
    parser.add_argument("--words", type=int, default=28, help="of each review (28, some 35 tokens)")
    parser.add_argument("--records", type=int, default=20_000)
    parser.add_argument("--max-poll-records", type=int, default=1024, help="of each poll, at most (1024)")
    parser.add_argument("--threads", type=int, help="of inference; default: one for each core")
    parser.add_argument("--rounds", type=int, default=3, help="medians of so many")
    arguments = parser.parse_args()
    before = load_before()
    fixes.apply()  # as a worker does at its start
    draw, words = random.Random(SEED), TEXT.split()
    texts = [" ".join(draw.choices(words, k=arguments.words)) for _ in range(arguments.records)]
    topics = {f"{kind}_topic": f"{kind}s" for kind in ("input", "output", "dead_letter")}
    with LocalBroker() as kafka:
        kafka.create_topics(dict.fromkeys(topics.values(), PARTITIONS))
        records = [
            Record(json.dumps({"text": text}).encode(), b"k-%d" % n, partition=n % PARTITIONS)
            for n, text in enumerate(texts)
        ]
        produce(kafka.bootstrap, topics["input_topic"], records)
        print("| bundle | reviews/s | records per poll | publishing | handing records over | waiting for brokers |")
        print("|---|---|---|---|---|---|")
        for bundle in arguments.bundle:
            found = []
            for _ in range(arguments.rounds):
                settings = WorkerSettings.model_validate(
                    {
                        "bootstrap_servers": kafka.bootstrap,
                        "bundle": bundle,
                        "drain": True,
                        "group_id": uuid.uuid4().hex,
                        "threads": arguments.threads,
                        "max_poll_records": arguments.max_poll_records,
                        **topics,
                    }
                )
                moments, size = measure(settings, len(records))
                wall = moments.noted[-1][1] - moments.noted[0][1]
                parts = (moments.between("begun", "sent"), moments.between("sent", "committed"))
                found.append((len(records) / wall, size, sum(parts) / wall, *(part / wall for part in parts)))
            speed, size, *shares = map(statistics.median, zip(*found, strict=True))
            print(
                f"| {bundle.name} | {speed:,.0f} | {size:.0f} | " + " | ".join(f"{each:.1%}" for each in shares) + " |",
                flush=True,
            )
    tell_load(before)
    return 0


if __name__ == "__main__":
    sys.exit(main())
