"""What fault tests share: topics, records, workers with a fake model, a reader that watches, and the oracle."""

import json
import random
import signal
import sys
import threading
import uuid
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from consumer.errors import GaveUp
from consumer.local.cluster import LocalCluster
from tests import oracle
from tests.fake_bundle import write_bundle
from tests.fake_worker import Script
from tests.foreign_reader import NoAnswerError
from tests.kafka_helpers import Record, Topics, committed_offsets, internal, produce
from tests.live_reader import LiveReader, Source
from tests.worker_process import WorkerProcess, wait_until

#: Short timeouts for tests; the defaults are for production.
FAST: dict[str, object] = {
    "session_timeout_seconds": 6,
    "transaction_timeout_seconds": 10,
    "request_timeout_seconds": 5,
    "max_poll_interval_seconds": 60,
    "stop_timeout_seconds": 6,
    "watchdog_seconds": 40,
    "max_poll_records": 50,
}
COMMAND = (sys.executable, "-m", "tests.fake_worker")


class FakeWorker(WorkerProcess):
    """A worker with a fake model, which can be waited for and released at the points of its script."""

    def __init__(self, flags: list[str], directory: Path, script: Script) -> None:
        directory.mkdir(exist_ok=True)
        self._directory = directory
        placed = Script(**{**vars(script), "directory": str(directory)})
        super().__init__(flags, directory / "log", COMMAND, placed.environment())

    @property
    def is_running(self) -> bool:
        """Whether the process has not ended."""
        return self.process.poll() is None

    @property
    def reached_ready(self) -> bool:
        """Whether it has started to read."""
        return '"ready: ' in self.log

    def reached(self, point: str) -> bool:
        """Whether it reached this point, such as "sent:2"."""
        return (self._directory / point).exists()

    def await_point(self, point: str, timeout_s: float = 60) -> None:
        """Wait until it reaches this point; fails at once if the process ends first."""

        def there() -> bool:
            here = self.reached(point)
            assert here or self.is_running, f"ended with {self.process.returncode}:\n{self.log}"
            return here

        wait_until(there, timeout_s, f"the worker comes to {point}")

    def await_partitions(self, count: int, timeout_s: float = 60) -> None:
        """Wait until it has `count` partitions."""
        what = f"{count} partitions"
        wait_until(lambda: self.metric("reviews_assigned_partitions") == count, timeout_s, what)

    def release(self, point: str) -> None:
        """Let it resume after a pause."""
        (self._directory / f"{point}.go").touch()

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def kill(self) -> None:
        """End it at once, as a power cut would, and reap it."""
        self.process.kill()
        self.process.wait()


class Harness:
    """One test's topics, records and workers. Everything started here ends with the `with` block.

    Args:
        kafka: the cluster.
        directory: for logs and points.
        seed: of everything random, printed.
        bootstrap: where workers connect to; the cluster's own listener if None.
        partitions: of each topic.
        output_partitions: of the output and dead-letter topics; `partitions` if None.
    """

    def __init__(
        self,
        kafka: LocalCluster,
        directory: Path,
        seed: int,
        *,
        bootstrap: str | None = None,
        partitions: int = 4,
        output_partitions: int | None = None,
    ) -> None:
        name = f"f-{uuid.uuid4().hex[:12]}"
        self.kafka = kafka
        self.topics = Topics(
            bootstrap or kafka.bootstrap, f"{name}.input", f"{name}.output", f"{name}.dead-letter", f"{name}.group"
        )
        self.partitions = partitions
        self._output_partitions = output_partitions or partitions
        self.produced: list[Record] = []
        self.dead: set[Source] = set()
        self.workers: list[FakeWorker] = []
        self._supervisors: list[Supervisor] = []
        self.live: LiveReader | None = None
        self.random = random.Random(seed)
        self._directory = directory
        self._bundle = write_bundle(directory / "bundle")
        self._ending = ExitStack()
        print(f"seed {seed}, group {self.topics.group}")

    def __enter__(self) -> Self:
        outputs = dict.fromkeys((self.topics.output, self.topics.dead_letter), self._output_partitions)
        self.kafka.create_topics({self.topics.input: self.partitions, **outputs})
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.close()

    def watch(self) -> LiveReader:
        """Start the `read_committed` reader that the oracle compares with."""
        self.live = self._ending.enter_context(LiveReader(self.kafka, self.topics))
        return self.live

    def produce(self, count: int, *, bad: float = 0.0) -> list[Record]:
        """Produce reviews with keys and a header, spread over the partitions; a share of `bad` ones is not JSON."""
        start = len(self.produced)
        records = []
        for number in range(start, start + count):
            value = json.dumps({"id": f"r-{number}", "text": f"review {number} was {self.random.random()}"}).encode()
            if self.random.random() < bad:
                value = b"{broken" + value
            records.append(Record(value, b"k-%d" % number, [("trace", b"%d" % number)], number % self.partitions))
        return self.produce_records(records)

    def produce_records(self, records: Sequence[Record], *, dead: bool = False, **options: object) -> list[Record]:
        """Produce these, past any proxy, and remember them for the oracle; `dead` ones must become dead letters."""
        made = produce(internal(self.kafka), self.topics.input, records, **options)
        self.produced += made
        if dead:
            self.dead |= {(each.topic, each.partition or 0, each.offset) for each in made}
        return made

    def worker(self, script: Script | None = None, /, **settings: object) -> FakeWorker:
        """Start a worker; `settings` by their names in `WorkerSettings`, over those of `FAST`."""
        flags = list(self.topics.flags)
        for name, value in {**FAST, "bundle": self._bundle, **settings}.items():
            flag = f"--{name.replace('_', '-')}"
            flags += [flag] if value is True else [flag, str(value)]
        directory = self._directory / f"worker-{len(self.workers) + 1}"
        worker = self._ending.enter_context(FakeWorker(flags, directory, script or Script()))
        self.workers.append(worker)
        return worker

    def supervised(self, script: Script | None = None, /, **settings: object) -> "Supervisor":
        """A worker that is restarted whenever it gives up, as in every deployment."""
        supervisor = self._ending.enter_context(Supervisor(self, script, settings))
        self._supervisors.append(supervisor)
        return supervisor

    def committed(self) -> int:
        """Records of the input that are committed; 0 while no broker answers."""
        try:
            return sum(self.committed_by_partition().values())
        except NoAnswerError:
            return 0

    def committed_by_partition(self) -> dict[int, int]:
        """The group's committed offsets."""
        return committed_offsets(self.kafka, self.topics.group, self.topics.input)

    def await_done(self, timeout_s: float = 90) -> None:
        """Wait until every record that was produced here is committed, whatever state the brokers are in."""
        ends: dict[int, int] = {}
        for record in self.produced:
            ends[record.partition or 0] = max(ends.get(record.partition or 0, 0), record.offset + 1)

        def done() -> bool:
            left = any(worker.is_running for worker in self.workers)
            left = left or any(supervisor.is_active for supervisor in self._supervisors)  # about to restart one
            assert left, f"no worker is left; the log of the last one:\n{self.workers[-1].log}"
            try:
                committed = self.committed_by_partition()
            except NoAnswerError:
                return False
            return all(committed.get(partition, 0) >= end for partition, end in ends.items())

        wait_until(done, timeout_s, f"all {len(self.produced)} records are committed", every_s=0.3)

    def finish(self, timeout_s: float = 90, *, exactly_once: bool = True) -> oracle.Verdict:
        """Wait until everything is committed, stop the remaining workers, and let the oracle decide."""
        self.await_done(timeout_s)
        self.stop()
        return self.verdict(exactly_once=exactly_once)

    def stop(self) -> None:
        """Send SIGTERM to every worker that still runs; each must end with exit code 0."""
        running = [worker for worker in self.workers if worker.is_running]
        # Before its first line a process may not yet handle signals: one that was started just now would die of it.
        wait_until(lambda: all(each.log or not each.is_running for each in running), 60, "every worker has begun")
        for worker in running:
            worker.send(signal.SIGTERM)
        for worker in running:
            assert worker.wait_exit() == 0, worker.log

    def verdict(self, *, exactly_once: bool = True) -> oracle.Verdict:
        """The verdict of the oracle, once all workers have ended."""
        found = oracle.check(
            self.kafka, self.topics, self.produced, self.live, dead=self.dead, exactly_once=exactly_once
        )
        print(f"checked {found.checked}: {found.predicted} predictions, {found.dead} dead letters")
        return found


class Supervisor:
    """Restarts a worker whenever it ends with the exit code for that, as systemd or Kubernetes would."""

    def __init__(self, harness: Harness, script: Script | None, settings: dict[str, object]) -> None:
        self.exits: list[int] = []
        self.worker = harness.worker(script, **settings)
        self._harness, self._settings = harness, settings
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="supervisor", daemon=True)
        self._thread.start()

    @property
    def is_active(self) -> bool:
        """Whether a worker runs under it, or is about to be restarted."""
        return self._thread.is_alive()

    def _run(self) -> None:
        while True:
            code = self.worker.process.wait()
            self.exits.append(code)
            if code != GaveUp.exit_code or self._stopping.is_set():
                return
            self.worker = self._harness.worker(**self._settings)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self.worker.process.kill()
        self._thread.join(30)
