"""Time and memory of the tools on long topics: `python -m tests.bench.tools`.

`produce` sends a file of reviews to a broker of this machine, and `dlq stats` and `dlq export` read as many dead
letters as a worker would have written. The table holds the seconds and the peak of resident memory of each process,
for a tenth of the records and for all: memory that grew with the input would show.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from kafka import KafkaProducer

from consumer.local.broker import LocalBroker
from consumer.records.fault import Detail, Fault, Reason
from consumer.records.messages import dead_letter_headers
from consumer.records.record import Record as Input
from tests.bench.rounds import SEED, load_before, processor, tell_load
from tests.kafka_helpers import Topics, internal

PARTITIONS = 4
WORDS = "a the film story music people was good bad far from what who went back to see it again and some more"
FAULT = Fault(Reason.INVALID_TEXT, Detail.MISSING)


def write_reviews(path: Path, count: int) -> None:
    """Reviews of 20 to 40 words, as JSON lines."""
    draw = random.Random(SEED)
    with path.open("w", encoding="utf-8") as file:
        for number in range(count):
            words = draw.choices(WORDS.split(), k=draw.randint(20, 40))
            file.write(json.dumps({"id": f"r-{number}", "text": " ".join(words)}) + "\n")


def write_dead_letters(topics: Topics, count: int) -> None:
    """Dead letters of half a kilobyte, with the headers of a worker."""
    producer = KafkaProducer(bootstrap_servers=topics.bootstrap, linger_ms=20, batch_size=2**18)
    value = b'{"body": "' + b"x" * 180 + b'"}'
    now = int(time.time() * 1000)
    for number in range(count):
        source = Input(topics.input, number % PARTITIONS, number // PARTITIONS, now, b"%d" % number, value)
        producer.send(
            topics.dead_letter,
            value,
            source.key,
            dead_letter_headers(source, FAULT, None),
            partition=number % PARTITIONS,
        )
    producer.flush()
    producer.close()


def run(*words: str) -> tuple[float, float]:
    """Seconds and MiB of a command, which must succeed."""
    began = time.monotonic()
    command = [sys.executable, "-m", "consumer.cli", *words]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert process.stderr is not None
    said = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{' '.join(words)}: exit code {process.returncode}\n{said.decode(errors='replace')}")
    return time.monotonic() - began, usage.ru_maxrss / 1024


def measure(count: int) -> None:
    """One row for each tool."""
    with tempfile.TemporaryDirectory() as directory, LocalBroker() as kafka:
        topics = Topics(internal(kafka), "reviews", "labeled", "dead", "bench")
        kafka.create_topics(dict.fromkeys((topics.input, topics.output, topics.dead_letter), PARTITIONS))
        reviews = Path(directory, "reviews.jsonl")
        write_reviews(reviews, count)
        to = ("--bootstrap-servers", topics.bootstrap)
        dead = (*to, "--dead-letter-topic", topics.dead_letter)
        commands = {
            "produce": ("produce", str(reviews), *to, "--input-topic", topics.input, "--group-id", topics.group),
            "dlq stats": ("dlq", "stats", *dead),
            "dlq export": ("dlq", "export", str(Path(directory, "dead.jsonl")), *dead),
        }
        for name, words in commands.items():
            if name == "dlq stats":
                write_dead_letters(topics, count)
            seconds, mib = run(*words)
            print(f"| `{name}` | {count:,} | {seconds:.0f} | {count / seconds:,.0f} | {mib:.0f} |", flush=True)


def main() -> int:
    """Print the table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=1_000_000, help="reviews, and dead letters (1,000,000)")
    arguments = parser.parse_args()
    load = load_before()
    print(f"{processor()}, {os.cpu_count()} cores, seed {SEED}\n")
    print("| command | records | seconds | records/s | peak memory, MiB |")
    print("|---|---|---|---|---|")
    for count in (arguments.records // 10, arguments.records):
        measure(count)
    tell_load(load)
    return 0


if __name__ == "__main__":
    sys.exit(main())
