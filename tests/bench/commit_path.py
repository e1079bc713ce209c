"""Throughput of everything around the model: `python -m tests.bench.commit_path`.

Records a second that are polled, published and committed, by records per poll, with a model that takes no time:

- bare: kafka-python alone, consume + produce the same bytes + flush + commit
- at least once, exactly once: the worker's loop, which also parses and writes JSON

All run in one process, in turns, so that other load on the machine affects all alike; medians of `--rounds`.
"""

import argparse
import json
import statistics
import sys
import time
import uuid
from collections.abc import Callable, Sequence
from typing import Any

from kafka import KafkaConsumer, KafkaProducer

from consumer.kafka import fixes
from consumer.kafka.broker import Broker
from consumer.kafka.publisher import Step
from consumer.kafka.start import Start
from consumer.local.broker import LocalBroker
from consumer.model.classifier import Classifier
from consumer.model.labeller import Classified, Scored, Stats
from consumer.records.messages import Model
from consumer.service.health import Health
from consumer.service.metrics import Metrics
from consumer.settings import WorkerSettings
from consumer.worker import Worker
from tests.kafka_helpers import Record, produce

SIZES = (16, 64, 256, 1024)
PARTITIONS = 4
#: Bytes of a review's text; IMDB's median is five times that, which makes the client's share smaller.
TEXT = "a film that is long enough to be a review of the shorter sort " * 4
RESULT = Scored("pos", 0.9, {"neg": 0.1, "pos": 0.9}, 60, False)


class NoModel(Classifier):
    """A classifier without a model, which takes no time. As a subclass it is checked against what it stands in for."""

    def __init__(self) -> None:
        """Needs no bundle and no engine."""

    @property
    def variant(self) -> str:
        """Of no precision."""
        return "none"

    def classify(
        self, texts: Sequence[str], at_work: Callable[[], None] = lambda: None, seconds: float | None = None
    ) -> Classified:
        """The same answer for all."""
        return Classified([RESULT] * len(texts), Stats(texts=len(texts)))


def worker(bootstrap: str, topics: dict[str, str], size: int, delivery: str) -> float:
    """Seconds from the first record polled to the last commit, in the worker's loop."""
    settings = WorkerSettings.model_validate(
        {
            "bootstrap_servers": bootstrap,
            "drain": True,
            "delivery": delivery,
            "group_id": uuid.uuid4().hex,
            "max_poll_records": size,
            **topics,
        }
    )
    moments: dict[Step, float] = {}

    def note(step: Step) -> None:
        if step == "committed" or step not in moments:
            moments[step] = time.perf_counter()

    connection = Start(settings).connect()
    assert connection is not None
    model = Model(name="none", version="1", digest="0" * 64, variant="none")
    loop = Worker(
        settings,
        Broker(settings, connection, at=note),
        NoModel(),
        model=model,
        metrics=Metrics(),
        health=Health(600),
        alive=lambda: None,
    )
    loop.run()
    connection.close(10)
    return moments["committed"] - moments["polled"]


def bare(bootstrap: str, topics: dict[str, str], size: int, total: int) -> float:
    """Seconds from the first record polled to the last commit, with kafka-python alone."""
    consumer: Any = KafkaConsumer(
        topics["input_topic"],
        bootstrap_servers=bootstrap,
        group_id=uuid.uuid4().hex,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
    )
    producer: Any = KafkaProducer(bootstrap_servers=bootstrap, linger_ms=5, batch_size=131_072)
    done, began = 0, 0.0
    while done < total:
        polled = consumer.poll(timeout_ms=500, max_records=size)
        began = began or time.perf_counter() if polled else 0.0
        for records in polled.values():
            for record in records:
                producer.send(topics["output_topic"], record.value, record.key, partition=record.partition)
            done += len(records)
        producer.flush()
        consumer.commit()
    took = time.perf_counter() - began
    producer.close()
    consumer.close()
    return took


def main() -> int:
    """Print the table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--records", type=int, default=20_000, help="of the larger transactions (20000)")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="records per transaction")
    arguments = parser.parse_args()
    fixes.apply()  # as a worker does at its start
    with LocalBroker() as kafka:
        print(
            "| records per transaction | bare client, records/s | at least once | exactly once | cost of exactly once |"
        )
        print("|---|---|---|---|---|")
        for size in arguments.sizes:
            # Small transactions are slow; a tenth of the records is enough for them.
            total = arguments.records if size >= 256 else arguments.records // 4
            name = uuid.uuid4().hex[:8]
            topics = {f"{kind}_topic": f"{name}.{kind}" for kind in ("input", "output", "dead_letter")}
            kafka.create_topics(dict.fromkeys(topics.values(), PARTITIONS))
            value = json.dumps({"text": TEXT}).encode()
            records = [Record(value, b"k-%d" % n, partition=n % PARTITIONS) for n in range(total)]
            produce(kafka.bootstrap, topics["input_topic"], records)
            ways: dict[str, Callable[[], float]] = {
                "bare": lambda t=topics, s=size, n=total: bare(kafka.bootstrap, t, s, n),  # type: ignore[misc]
                **{
                    way: lambda t=topics, s=size, w=way: worker(kafka.bootstrap, t, s, w)  # type: ignore[misc]
                    for way in ("at_least_once", "exactly_once")
                },
            }
            took: dict[str, list[float]] = {way: [] for way in ways}
            for _ in range(arguments.rounds):
                for way, run in ways.items():
                    took[way].append(run())
            speed = {way: total / statistics.median(times) for way, times in took.items()}
            bare_speed, least, once = speed["bare"], speed["at_least_once"], speed["exactly_once"]
            print(
                f"| {size} | {bare_speed:,.0f} | {least:,.0f} ({least / bare_speed:.0%}) "
                f"| {once:,.0f} ({once / bare_speed:.0%}) | {1 - once / least:.0%} |",
                flush=True,
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
