"""The worker as a process on a real broker: reviews a second from a backlog, age at a steady rate, start, memory.

Every review is sent with a number of its own, so that neither poll nor cache answers a text without computing it. The
worker's count of cache hits is checked after each backlog.
"""

import json
import statistics
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from itertools import count
from pathlib import Path
from typing import Self
from uuid import uuid4

from kafka import KafkaProducer
from prometheus_client.parser import text_string_to_metric_families

from consumer.local.broker import LocalBroker
from tests.bench.contestants import numbered
from tests.kafka_helpers import Topics, read_all
from tests.worker_process import WorkerProcess, wait_until

PARTITIONS = 4
#: Of the metrics while a backlog is worked off. Asking 20 times a second, as tests do, takes a tenth of the processor.
ASKED_EVERY_SECONDS = 1.0


class EndToEnd:
    """A worker that waits for reviews, and its broker; both end with the `with` block.

    `start_seconds` is the time from the start of the process to ready.

    Args:
        bundle: that it serves.
        kafka: a broker that several of them use, each with topics of its own; None: one for this worker.
    """

    def __init__(self, bundle: Path, kafka: LocalBroker | None = None) -> None:
        self._bundle = bundle
        self._shared = kafka
        self._ending = ExitStack()
        self._made = self._sent = 0
        self._hits = 0.0
        self._stages: dict[str, float] = {}
        self._starts = count(1)
        self.start_seconds = 0.0

    def __enter__(self) -> Self:
        kafka = self._shared or self._ending.enter_context(LocalBroker())
        group = f"bench-{uuid4().hex[:8]}"
        names = [f"{group}.{name}" for name in ("reviews", "labeled", "dlq")]
        self._topics = Topics(kafka.bootstrap, names[0], names[1], names[2], group)
        kafka.create_topics(dict.fromkeys(names, PARTITIONS))
        self._directory = Path(self._ending.enter_context(tempfile.TemporaryDirectory()))
        self._producer = KafkaProducer(bootstrap_servers=kafka.bootstrap, linger_ms=0)
        self._ending.callback(self._producer.close, 10)
        self._worker, self.start_seconds = self._start(self._ending)
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.close()

    @property
    def peak_mib(self) -> float:
        """The most memory that the worker has had resident, in MiB."""
        status = Path(f"/proc/{self._worker.process.pid}/status").read_text()
        return next(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmHWM"))

    def ready_seconds(self) -> float:
        """Seconds from the start of one more process to ready; it has a group of its own, and ends."""
        with ExitStack() as ending:
            worker, seconds = self._start(ending, "--group-id", f"start-{next(self._starts)}", "--start-from", "latest")
            worker.stop()
        return seconds

    def backlog(self, texts: Sequence[str]) -> float:
        """Reviews a second when all of `texts` wait at once, from the first one produced to the last one committed."""
        return self._backlog(self._new(texts))

    def half_known(self, texts: Sequence[str]) -> float:
        """The same, where the worker has labelled every other text before, in another poll."""
        half = self._new(texts[: len(texts) // 2])
        self._backlog(half)
        new = self._new(texts[len(half) :])
        mixed = [text for pair in zip(half, new, strict=False) for text in pair] + new[len(half) :]
        return self._backlog(mixed, known=len(half))

    def ages(self, texts: Sequence[str], rate: float) -> tuple[float, float]:
        """Median and 99th percentile of the seconds from produced to committed, at `rate` reviews a second."""
        before = self._sent
        begin = time.monotonic()
        for number, text in enumerate(self._new(texts)):
            time.sleep(max(0.0, begin + number / rate - time.monotonic()))
            self._produce([text])
        self._all_done()
        ages = []
        for record in read_all(self._topics.bootstrap, self._topics.output):
            prediction = json.loads(record.value or b"")
            if prediction["number"] >= before:
                ages.append((record.timestamp_ms or 0) / 1000 - prediction["sent"])
        assert len(ages) == len(texts)
        return statistics.median(ages), statistics.quantiles(ages, n=100)[98]

    def profile(self) -> dict[str, float]:
        """Where the worker's time went while it had a backlog: the share of each stage."""
        busy = sum(self._stages.values())
        largest_first = sorted(self._stages.items(), key=lambda each: -each[1])
        return {stage: spent / busy for stage, spent in largest_first if spent}

    def passed_on(self) -> dict[str, float]:
        """Share of its texts that a member of a cascade passed on, for each that did; empty if there is one model."""
        texts = self._samples("reviews_member_texts_total", "member")
        passed = self._samples("reviews_member_passed_on_total", "member")
        return {name: passed[name] / asked for name, asked in texts.items() if passed.get(name)}

    def _start(self, ending: ExitStack, *flags: str) -> tuple[WorkerProcess, float]:
        started = time.monotonic()
        every = [*self._topics.flags, "--bundle", str(self._bundle), *flags]
        log = self._directory / f"log{next(self._starts)}"
        worker = ending.enter_context(WorkerProcess(every, log)).wait_ready()
        return worker, time.monotonic() - started

    def _backlog(self, texts: Sequence[str], known: int = 0) -> float:
        before = self._busy_seconds()
        first = self._produce(texts)
        self._all_done()
        for stage, seconds in self._busy_seconds().items():
            self._stages[stage] = self._stages.get(stage, 0.0) + seconds - before.get(stage, 0.0)
        self._check_hits(known)
        last = max(record.timestamp_ms or 0 for record in read_all(self._topics.bootstrap, self._topics.output))
        return len(texts) / (last / 1000 - first)

    def _busy_seconds(self) -> dict[str, float]:
        """Seconds that the worker has spent in each stage since its start, except idle."""
        seconds = self._samples("reviews_stage_seconds_sum", "stage")
        return {stage: each for stage, each in seconds.items() if stage != "idle"}

    def _new(self, texts: Sequence[str]) -> list[str]:
        """Texts that the worker has never seen."""
        self._made += len(texts)
        return numbered(texts, self._made - len(texts))

    def _produce(self, texts: Sequence[str]) -> float:
        """Send; returns when the first was sent, epoch seconds."""
        first = time.time()
        for text in texts:
            review = {"text": text, "number": self._sent, "sent": time.time()}
            self._producer.send(self._topics.input, json.dumps(review).encode(), partition=self._sent % PARTITIONS)
            self._sent += 1
        self._producer.flush(60)
        return first

    def _all_done(self) -> None:
        """Wait until all are labelled, and the time of the poll that labelled the last is noted."""
        labelled = partial(self._worker.metric, "reviews_consumed_total")
        wait_until(lambda: labelled() >= self._sent, 900, "all labelled", ASKED_EVERY_SECONDS)
        polls = self._worker.metric("reviews_poll_ends_total")
        noted = partial(self._worker.metric, "reviews_stage_seconds_count", stage="parse")
        wait_until(lambda: noted() >= polls, 10, "its time noted")

    def _check_hits(self, known: int) -> None:
        """The cache has answered the `known` texts, and no others: a backlog of new texts has to be computed."""
        hits = self._worker.metric("reviews_cache_lookups_total", result="hit")
        # A known text that does not fit into its poll is looked up again in the next one.
        found, self._hits = hits - self._hits, hits
        assert (found >= known) if known else (found == 0), f"the cache knew {found:.0f} texts where {known} were known"

    def _samples(self, name: str, label: str) -> dict[str, float]:
        """Values of the metric `name` by one of its labels."""
        families = text_string_to_metric_families(self._worker.get("/metrics")[1])
        samples = [sample for family in families for sample in family.samples if sample.name == name]
        return {sample.labels[label]: sample.value for sample in samples}
