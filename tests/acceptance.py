"""A labelled file through everything: `python -m tests.acceptance --data test.xlsx --rows 2000`.

Kafka's own console producer fills the topic. Two workers of one group drain it; one is killed with SIGKILL and
restarted. Every input must then have exactly one result, in order, and the labels must be as accurate as
`review-training evaluate` measures on the same rows. The last line is `accepted`.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from consumer.local.broker import LocalBroker
from consumer.records.messages import Prediction
from tests import oracle
from tests.kafka_helpers import Record, Topics, committed_offsets, end_offsets, read_all
from tests.worker_process import WorkerProcess, wait_until
from training.data.reviews import draw, read_reviews
from training.measure.reports.report import LIMIT_SEED

TOPICS = ("reviews", "reviews.labeled", "reviews.dlq")
PARTITIONS = 4


def main() -> int:
    """Exit code 0 if everything holds; an AssertionError says what does not."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="labelled reviews, xlsx or csv")
    parser.add_argument("--rows", type=int, default=2000, help="how many of them")
    parser.add_argument("--bundle", type=Path, default=Path("bundles/distilbert-imdb"))
    arguments = parser.parse_args()
    reviews = draw(read_reviews(arguments.data), arguments.rows, LIMIT_SEED)  # as evaluate does
    with LocalBroker() as kafka, tempfile.TemporaryDirectory() as directory:
        topics = Topics(kafka.bootstrap, *TOPICS, "acceptance")
        kafka.create_topics(dict.fromkeys(TOPICS, PARTITIONS))
        fill(topics, reviews.texts)
        seconds = drain(topics, arguments.bundle, Path(directory))
        right = check(kafka, topics, reviews.labels)
    print(f"{len(reviews)} records in {seconds:.1f} s, the kill and the restart included")
    print(f"{right} of {len(reviews)} labels are right: {right / len(reviews):.4f}")
    evaluate = ["-m", "training.cli", "evaluate", "--json", "--limit", str(len(reviews))]
    evaluated = subprocess.run(
        [sys.executable, *evaluate, "--bundle", arguments.bundle, "--data", arguments.data],
        check=True,
        stdout=subprocess.PIPE,
    )
    accuracy = json.loads(evaluated.stdout)["accuracy"]
    print(f"review-training evaluate, same rows: {accuracy:.4f}")
    # int8 scores move by thousandths with the texts that share a batch, so a knife-edge text may fall either way.
    assert abs(accuracy - right / len(reviews)) <= 0.002, "the worker and evaluate disagree"
    print("accepted")
    return 0


def fill(topics: Topics, texts: tuple[str, ...]) -> None:
    """Produce with a foreign client, Kafka's console producer, with keys so that all partitions get records."""
    lines = (
        f"key-{row}\t{json.dumps({'id': f'row-{row}', 'text': text, 'row': row})}" for row, text in enumerate(texts)
    )
    producer = ["-m", "consumer", "kafka", "--tool", "console-producer", "--bootstrap-server", topics.bootstrap]
    properties = ["--reader-property", "parse.key=true", "--reader-property", "key.separator=\t"]
    subprocess.run(
        [sys.executable, *producer, "--topic", topics.input, *properties],
        input="\n".join(lines) + "\n",
        text=True,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    assert sum(end_offsets(topics.bootstrap, topics.input).values()) == len(texts)


def drain(topics: Topics, bundle: Path, directory: Path) -> float:
    """Two workers, one killed when a quarter is done and started again; seconds until both have ended."""
    flags = ["--bundle", str(bundle), "--drain", "--threads", "1", *topics.flags]
    total = sum(end_offsets(topics.bootstrap, topics.input).values())
    started = time.monotonic()
    with WorkerProcess(flags, directory / "a") as survivor, WorkerProcess(flags, directory / "b") as victim:
        wait_until(lambda: done(topics) >= total / 4, 600, "a quarter is labelled")
        victim.process.kill()
        print(f"SIGKILL to one of two workers after {done(topics)} of {total} records")
        with WorkerProcess(flags, directory / "c") as successor:
            for worker in (survivor, successor):
                assert worker.wait_exit(1200) == 0, worker.log
                print(f"a worker ended: {worker.messages()[-1]}")
    return time.monotonic() - started


def done(topics: Topics) -> int:
    """Records in the output and dead-letter topics; an upper bound, for transaction markers are counted too."""
    return sum(sum(end_offsets(topics.bootstrap, topic).values()) for topic in (topics.output, topics.dead_letter))


def check(kafka: LocalBroker, topics: Topics, labels: tuple[str, ...]) -> int:
    """Check that each source offset has one result, in order, and is committed; return how many labels are right."""
    ends = end_offsets(topics.bootstrap, topics.input)
    outputs, dead = read_all(topics.bootstrap, topics.output), read_all(topics.bootstrap, topics.dead_letter)
    found = Counter(record.source for record in outputs + dead)
    wanted = {(topics.input, partition, offset) for partition, end in ends.items() for offset in range(end)}
    assert found.keys() == wanted, f"{len(wanted - found.keys())} lost"
    assert found.total() == len(wanted) == len(labels), f"{found.total() - len(wanted)} more than once"
    oracle.in_order(topics.output, outputs)
    assert committed_offsets(kafka, topics.group, topics.input) == ends
    assert not dead, f"{len(dead)} dead letters among well-formed reviews"
    print(f"{len(outputs)} predictions + {len(dead)} dead letters = {len(labels)} inputs, each exactly once, in order")
    return sum(is_right(record, labels) for record in outputs)


def is_right(record: Record, labels: tuple[str, ...]) -> bool:
    """Whether the label is that of the row, which the review carries."""
    prediction = Prediction.model_validate_json(record.value or b"")
    row: int = (prediction.model_extra or {})["row"]
    return prediction.label == labels[row]


if __name__ == "__main__":
    sys.exit(main())
