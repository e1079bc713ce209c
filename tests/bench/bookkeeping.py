"""What metrics, the cache and the language cost: `python -m tests.bench.bookkeeping`.

Microseconds of processor time for each record, by records of a poll: everything that the loop counts in one turn, drift
included; the lookup of a text of 1,300 characters that the cache does not know; and the language of such a text. To be
compared with what a model takes for a review: 2,600 µs (student-imdb) to 43,000 µs (distilbert-imdb) on two cores of an
EPYC 9004.
"""

import argparse
import random
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from consumer.model.bundle import load_bundle
from consumer.model.cache import Cache
from consumer.model.classifier import Classifier
from consumer.model.labeller import Classified, Scored, Stats
from consumer.model.language import language_of
from consumer.model.text import clean
from consumer.records.outcomes import Outcome
from consumer.records.outgoing import Outgoing
from consumer.records.progress import Progress
from consumer.records.record import Record
from consumer.service.metrics import Metrics
from consumer.service.stopwatch import Stage, Stopwatch
from consumer.service.table import PollEnd
from consumer.settings import WorkerSettings

SIZES = (1, 16, 256, 1024)
PARTITIONS = 4
CHARACTERS = 1300
BUNDLE = Path(__file__).parents[2] / "bundles/student-imdb"
WORDS = ("a", "film", "that", "is", "long", "enough", "to", "be", "reviewed", "and", "<br />", "some", "more")
ANSWER = Scored("pos", 0.9, {"neg": 0.1, "pos": 0.9}, 60, False)


class NoModel(Classifier):
    """A model that takes no time."""

    def __init__(self) -> None:
        """Needs no bundle and no engine."""

    @property
    def digest(self) -> str:
        """Of no bundle."""
        return "0" * 64

    def clean(self, text: str) -> str:
        """As the shipped bundles do."""
        return clean(text)

    def classify(
        self, texts: Sequence[str], at_work: Callable[[], None] = lambda: None, seconds: float | None = None
    ) -> Classified:
        """The same answer for all."""
        return Classified([ANSWER] * len(texts), Stats(texts=len(texts)))


def counting(size: int) -> float:
    """Seconds that the loop takes to count one poll of `size` records."""
    metrics, watch = Metrics(), Stopwatch()
    metrics.note_profile(load_bundle(BUNDLE).profile, WorkerSettings().drift_window)
    partitions = frozenset(range(PARTITIONS))
    metrics.note_assignment(partitions, frozenset())
    now = int(time.time() * 1000)
    records = [Record("reviews", n * PARTITIONS // size, n, now - 5000 - n, None, b"") for n in range(size)]
    outgoing = Outgoing("labels", 0, None, b"", [])
    outcomes = [Outcome(record, outgoing, ANSWER, CHARACTERS) for record in records]
    stats = Stats(size, 0.01, 0.1, 4, 60 * size, 64 * size)
    progress = {partition: Progress(size, 10 * size) for partition in partitions}

    def turn() -> None:
        for stage in Stage:
            watch.begin(stage)
        metrics.poll_limit.set(size)
        metrics.note_waiting(records)
        metrics.note_work(stats)
        metrics.poll_ends.labels(PollEnd.ALL.value).inc()
        metrics.note_commit(outcomes)
        metrics.note_lag(progress)
        metrics.transaction_ended(committed=True)
        metrics.note_time(watch.lap())

    return _seconds(turn, max(5, 2000 // size))


def looking_up(size: int) -> float:
    """Seconds that the cache takes for one poll of `size` texts that it does not know, and for keeping the answers."""
    cache, alone, draw = Cache(NoModel(), 10_000), NoModel(), random.Random(7)
    found = []
    for _ in range(max(5, 2000 // size)):
        poll = [_text(draw) + str(n) for n in range(size)]
        began = time.thread_time()
        cache.classify(poll)
        between = time.thread_time()
        alone.classify(poll)
        found.append(2 * between - began - time.thread_time())
    return statistics.median(found)


def telling(size: int) -> float:
    """Seconds to tell the languages of one poll of `size` texts."""
    draw = random.Random(7)
    poll = [_text(draw) for _ in range(size)]

    def tell() -> None:
        for text in poll:
            language_of(text)

    return _seconds(tell, max(5, 2000 // size))


def _text(draw: random.Random) -> str:
    return " ".join(draw.choices(WORDS, k=CHARACTERS // 5))[:CHARACTERS]


def _seconds(work: Callable[[], None], rounds: int) -> float:
    """Processor seconds of `work`, the median of so many `rounds`."""
    found = []
    for _ in range(rounds):
        began = time.thread_time()
        work()
        found.append(time.thread_time() - began)
    return statistics.median(found)


def main() -> int:
    """Print the table in Markdown."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    print("| records per poll | metrics, µs per record | cache, µs per text | language, µs per text |")
    print("|---|---|---|---|")
    for size in SIZES:
        costs = (work(size) / size * 1e6 for work in (counting, looking_up, telling))
        print(f"| {size} | " + " | ".join(f"{cost:.1f}" for cost in costs) + " |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
