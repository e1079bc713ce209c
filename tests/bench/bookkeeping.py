"""What metrics, cache, language and traces cost: `python -m tests.bench.bookkeeping`.

Microseconds of processor time for each record, by records of a poll: everything that the loop counts in one turn, drift
included; the lookup of a text of 1,300 characters that the cache does not know; the language of such a text; and the
spans of a poll whose records belong to no trace, or each to a sampled one. Spans are encoded as for a collector, in
their own thread. To be compared with what a model takes for a review: 2,800 µs (student-imdb) to 43,000 µs
(distilbert-imdb) on two cores of an EPYC 9004.
"""

import argparse
import random
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from consumer.model.bundle.loading import load_bundle
from consumer.model.cache import Cache
from consumer.model.classifier import Classifier
from consumer.model.labeller import Classified, Scored, Stats
from consumer.model.texts.cleaning import clean
from consumer.model.texts.language import language_of
from consumer.records.outcomes import Outcome
from consumer.records.outgoing import Outgoing
from consumer.records.poll import Channel
from consumer.records.progress import Progress
from consumer.records.record import Record
from consumer.service.metrics import Metrics
from consumer.service.stopwatch import Stage, Stopwatch
from consumer.service.table import PollEnd
from consumer.settings import WorkerSettings
from consumer.tracing.context import HEADER, header_value
from consumer.tracing.exporting import Export
from consumer.tracing.on import Tracing
from tests.fake_broker import FakeBroker

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


class Encoded(SpanExporter):
    """Encodes spans as they are sent, and sends nothing."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """All of them."""
        encode_spans(spans).SerializeToString()
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        """Nothing to do."""


def tracing(size: int, traced: bool) -> float:
    """Seconds that the spans of one poll of `size` records take, in all threads."""
    values = [header_value(number, number, 1) for number in range(1, size + 1)]
    own = [((HEADER, value),) if traced else () for value in values]
    broker, rounds = FakeBroker([b""] * size, polls=10**9, headers=own), max(5, 2000 // size)
    made = Tracing(WorkerSettings(), Export(Encoded(), Metrics().spans, most=(size + 9) * rounds))

    def turns(channel: Channel, watch: Stopwatch) -> float:
        began = time.process_time()
        for _ in range(rounds):
            poll = channel.poll(size)
            for stage in (Stage.PARSE, Stage.INFER, Stage.SERIALISE, Stage.PUBLISH):
                watch.begin(stage)
            headers = [[(name, value or b"") for name, value in each.headers] for each in poll.records]
            channel.publish(poll, [Outgoing("reviews.labeled", 0, None, b"", each) for each in headers])
        if channel is not broker:
            made.close()
        return (time.process_time() - began) / rounds

    plain = turns(broker, Stopwatch())
    return turns(made.channel(broker), made.stopwatch) - plain


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
    print("| records per poll | metrics | cache | language | spans of polls | and of each record |")
    print("|---|---|---|---|---|---|")
    for size in SIZES:
        spans = tracing(size, traced=False), tracing(size, traced=True)
        found = (counting(size), looking_up(size), telling(size), *spans)
        print(f"| {size} | " + " | ".join(f"{seconds / size * 1e6:.1f}" for seconds in found) + " |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
