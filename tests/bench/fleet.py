"""Several workers as processes on one broker, with a backlog that all of them share."""

import json
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from confluent_kafka import Producer

from consumer.local.broker import LocalBroker
from tests.foreign_reader import configuration
from tests.kafka_helpers import read_all
from tests.worker_process import WorkerProcess, wait_until

#: Partitions for each worker.
PARTITIONS = 4


class Fleet:
    """A broker and `workers` of `bundle` that wait for reviews, each with partitions; all end with the `with` block."""

    def __init__(self, bundle: Path, workers: int, flags: Sequence[str] = (), start_seconds: float = 120) -> None:
        self._bundle = bundle
        self._count = workers
        self._flags = flags
        self._start_seconds = start_seconds
        self._ending = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as ending:
            kafka = ending.enter_context(LocalBroker())
            self._bootstrap = kafka.bootstrap
            self._partitions = PARTITIONS * self._count
            kafka.create_topics(dict.fromkeys(("reviews", "reviews.labeled", "reviews.dlq"), self._partitions))
            logs = Path(ending.enter_context(tempfile.TemporaryDirectory()))
            flags = ["--bootstrap-servers", kafka.bootstrap, "--bundle", str(self._bundle), *self._flags]
            self.workers = [
                ending.enter_context(WorkerProcess(flags, logs / f"{number}.log")) for number in range(self._count)
            ]
            for worker in self.workers:
                worker.wait_ready(self._start_seconds)
            wait_until(lambda: all(map(_has_partitions, self.workers)), self._start_seconds, "partitions for all")
            self._ending = ending.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.close()

    def label(self, texts: Sequence[str], records: int, seconds: float) -> dict[str, object]:
        """Let the workers label so many records, with these texts in turns; raises AssertionError after `seconds`.

        Returns:
            Reviews a second from the first one produced to the last one committed (`whole`), and while the middle half
            of the results was committed, when all workers were busy (`steady`); how many each worker labelled.
        """
        producer = Producer({**configuration(self._bootstrap), "linger.ms": 5, "queue.buffering.max.messages": 1_000})
        for number in range(records):
            # The number keeps equal texts from being computed once.
            value = json.dumps({"text": f"{texts[number % len(texts)]} ({number})"}).encode()
            while True:
                try:
                    producer.produce("reviews", value, partition=number % self._partitions)
                except BufferError:
                    producer.poll(1)
                else:
                    break
        assert producer.flush(60) == 0, "the broker did not take the reviews"
        wait_until(lambda: sum(self._labelled()) >= records, seconds, "all labelled", every_s=0.25)
        first = min(record.timestamp_ms or 0 for record in read_all(self._bootstrap, "reviews"))
        times = sorted(record.timestamp_ms or 0 for record in read_all(self._bootstrap, "reviews.labeled"))
        assert len(times) == records, f"{len(times)} results for {records} reviews"
        assert all(self._labelled()), f"a worker had nothing to do: {self._labelled()}"
        quarter, last_quarter = times[records // 4], times[3 * records // 4]
        return {
            "whole": 1000 * records / max(times[-1] - first, 1),
            "steady": 1000 * (records // 2) / max(last_quarter - quarter, 1),
            "labelled_by_worker": self._labelled(),
        }

    def _labelled(self) -> list[int]:
        return [int(worker.metric("reviews_consumed_total")) for worker in self.workers]


def _has_partitions(worker: WorkerProcess) -> bool:
    assigned = [line for line in worker.messages() if line.startswith("partitions assigned: ")]
    return bool(assigned) and not assigned[-1].endswith("none")
