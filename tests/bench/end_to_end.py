"""The worker as a process on a real broker: reviews a second from a backlog, age at a steady rate, start, memory."""

import json
import statistics
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from kafka import KafkaProducer

from consumer.local.broker import LocalBroker
from tests.kafka_helpers import read_all
from tests.worker_process import WorkerProcess, wait_until

PARTITIONS = 4


class EndToEnd:
    """A broker and a worker that waits for reviews; both end with the `with` block.

    `start_seconds` is the time from the start of the process to ready.
    """

    def __init__(self, bundle: Path) -> None:
        self._bundle = bundle
        self._ending = ExitStack()
        self._sent = 0
        self.start_seconds = 0.0

    def __enter__(self) -> Self:
        self._kafka = self._ending.enter_context(LocalBroker())
        self._kafka.create_topics(dict.fromkeys(("reviews", "reviews.labeled", "reviews.dlq"), PARTITIONS))
        log = Path(self._ending.enter_context(tempfile.TemporaryDirectory()), "log")
        self._producer = KafkaProducer(bootstrap_servers=self._kafka.bootstrap, linger_ms=0)
        self._ending.callback(self._producer.close, 10)
        started = time.monotonic()
        flags = ["--bootstrap-servers", self._kafka.bootstrap, "--bundle", str(self._bundle)]
        self._worker = self._ending.enter_context(WorkerProcess(flags, log)).wait_ready()
        self.start_seconds = time.monotonic() - started
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.close()

    @property
    def peak_mib(self) -> float:
        """The most memory that the worker has had resident, in MiB."""
        status = Path(f"/proc/{self._worker.process.pid}/status").read_text()
        return next(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmHWM"))

    def backlog(self, texts: Sequence[str]) -> float:
        """Reviews a second when all of `texts` wait at once, from the first one produced to the last one committed."""
        first = self._produce(texts)
        self._all_done()
        last = max(record.timestamp_ms or 0 for record in read_all(self._kafka.bootstrap, "reviews.labeled"))
        return len(texts) / (last / 1000 - first)

    def ages(self, texts: Sequence[str], rate: float) -> tuple[float, float]:
        """Median and 99th percentile of the seconds from produced to committed, at `rate` reviews a second."""
        before = self._sent
        begin = time.monotonic()
        for number, text in enumerate(texts):
            time.sleep(max(0.0, begin + number / rate - time.monotonic()))
            self._produce([text])
        self._all_done()
        ages = []
        for record in read_all(self._kafka.bootstrap, "reviews.labeled"):
            prediction = json.loads(record.value or b"")
            if prediction["number"] >= before:
                ages.append((record.timestamp_ms or 0) / 1000 - prediction["sent"])
        assert len(ages) == len(texts)
        return statistics.median(ages), statistics.quantiles(ages, n=100)[98]

    def _produce(self, texts: Sequence[str]) -> float:
        """Send; returns when the first was sent, epoch seconds."""
        first = time.time()
        for text in texts:
            # The number keeps equal texts from being computed once.
            review = {"text": f"{text} ({self._sent})", "number": self._sent, "sent": time.time()}
            self._producer.send("reviews", json.dumps(review).encode(), partition=self._sent % PARTITIONS)
            self._sent += 1
        self._producer.flush(60)
        return first

    def _all_done(self) -> None:
        wait_until(lambda: self._worker.metric("reviews_consumed_total") >= self._sent, 900, "all labelled")
