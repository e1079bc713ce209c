"""Exactly once, for a long time and at random: `python -m tests.soak --minutes 45 --seed 7`.

Three workers with a fake model label a stream of tiny reviews while they are killed, stopped and frozen, and their
three brokers are restarted, killed and frozen in turn. A reader of committed records watches all the time. At the end
another one reads everything from the start. The exit code is 0 if nothing was lost, doubled, reordered or wrong.
"""

import argparse
import json
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

from consumer.local.cluster import LocalCluster
from consumer.local.node import Node
from tests import oracle
from tests.fake_worker import Script
from tests.harness import FakeWorker, Harness
from tests.kafka_helpers import end_offsets, internal
from tests.stream import Stream
from tests.tally import Watcher
from tests.worker_process import wait_until

PARTITIONS = 6
WORKERS = 3
STEPS = ("polled", "inferred", "begun", "sent", "offsets_sent", "committed")
SETTINGS: dict[str, object] = {"session_timeout_seconds": 3, "max_poll_records": 512}
#: Seconds between two faults of workers, and of brokers, on average.
WORKER_SECONDS, BROKER_SECONDS = 4.0, 180.0
#: For the end, when no fault is injected any more: a busy machine may have left a backlog.
DRAIN_SECONDS = 1800.0
#: Exit codes that a fault may cause: stopped, killed, Kafka unavailable at start, gave up; SIGTERM for a worker that
#: gets a second SIGTERM while its interpreter shuts down.
EXPECTED_EXITS = {0, -signal.SIGKILL, -signal.SIGTERM, 4, 5}
#: What a worker logs if Kafka lost committed offsets (row 31 in docs/delivery.md).
WENT_BACK = "old committed offset"


class Faults:
    """Injects faults at random, and repairs them later."""

    def __init__(self, harness: Harness, kafka: LocalCluster, seed: int) -> None:
        self.done: Counter[str] = Counter()
        self.exits: Counter[int] = Counter()
        self.broker_faults: list[tuple[datetime, str]] = []
        self._harness, self._kafka = harness, kafka
        self._random = random.Random(seed)
        self._workers: list[FakeWorker] = []
        self._frozen: dict[FakeWorker, float] = {}
        self._next_worker = self._next_broker = time.monotonic() + 10
        self._next_broker += BROKER_SECONDS
        self._harmed: Node | None = None
        self._broker_back = 0.0

    def turn(self) -> None:
        """Do what is due now."""
        now = time.monotonic()
        self._collect(now)
        if now >= self._next_worker:
            self._next_worker = now + self._random.expovariate(1 / WORKER_SECONDS)
            self._harm_a_worker(now)
        if self._harmed is not None and now >= self._broker_back:
            self._bring_broker_back()
        if self._harmed is None and now >= self._next_broker:
            self._next_broker = now + self._random.uniform(0.5, 1.5) * BROKER_SECONDS
            self._harm_a_broker(now)

    def repair(self) -> None:
        """At the end: bring the broker back, wake every worker up and stop it."""
        self._bring_broker_back()
        for worker in self._workers:
            worker.send(signal.SIGCONT)
            worker.send(signal.SIGTERM)
        for worker in self._workers:
            worker.wait_exit()
            self.exits[worker.process.returncode] += 1

    def _bring_broker_back(self) -> None:
        if self._harmed is not None:
            if self._harmed.running:
                self._harmed.resume()
            self._kafka.start(self._harmed)
            self._harmed = None

    def _collect(self, now: float) -> None:
        """Restart workers that have ended, and wake up those that were frozen long enough."""
        for worker in [each for each, until in self._frozen.items() if now >= until]:
            del self._frozen[worker]
            worker.send(signal.SIGCONT)
        for worker in [each for each in self._workers if not each.is_running]:
            self._workers.remove(worker)
            self._frozen.pop(worker, None)
            code = worker.process.returncode
            self.exits[code] += 1
            self.done["kills"] += code == -signal.SIGKILL
            if code not in EXPECTED_EXITS:
                print(f"a worker ended with {code}:\n{worker.log}", flush=True)
        while len(self._workers) < WORKERS:
            self._workers.append(self._harness.worker(self._script(), **SETTINGS))

    def _script(self) -> Script:
        """Every second worker dies by itself, at a random step of a commit."""
        if self._random.random() < 0.5:
            return Script()
        return Script({f"{self._random.choice(STEPS)}:{self._random.randint(2, 25)}": "kill"})

    def _harm_a_worker(self, now: float) -> None:
        able = [worker for worker in self._workers if worker.reached_ready and worker not in self._frozen]
        if not able:
            return
        worker = self._random.choice(able)
        match self._random.choices(("kill", "stop", "freeze"), (0.7, 0.15, 0.15))[0]:
            case "kill":
                worker.send(signal.SIGKILL)
            case "stop":
                worker.send(signal.SIGTERM)
                self.done["stops"] += 1
            case "freeze":
                worker.send(signal.SIGSTOP)
                self._frozen[worker] = now + self._random.uniform(1, 10)
                self.done["freezes"] += 1

    def _harm_a_broker(self, now: float) -> None:
        self._harmed = self._random.choice(self._kafka.nodes)
        fault = self._random.choice(("restart", "kill", "freeze"))
        self.broker_faults.append((datetime.now(UTC), f"{fault} of broker {self._kafka.nodes.index(self._harmed) + 1}"))
        match fault:
            case "restart":
                self._harmed.stop()
                self._broker_back = now
            case "kill":
                self._harmed.kill()
                self._broker_back = now + self._random.uniform(0, 8)
            case "freeze":
                self._harmed.pause()
                self._broker_back = now + self._random.uniform(2, 12)
        self.done["broker faults"] += 1


def soak(minutes: float, seed: int, rate: float, brokers: int) -> bool:
    """Run, report every minute, and return whether everything was right."""
    with (
        tempfile.TemporaryDirectory(prefix="soak-") as directory,
        LocalCluster(brokers) as kafka,
        Harness(kafka, Path(directory), seed, partitions=PARTITIONS) as harness,
        Watcher(internal(kafka), harness.topics) as watcher,
    ):
        bootstrap = internal(kafka)
        stream = Stream(bootstrap, harness.topics.input, PARTITIONS, rate)
        harm = Faults(harness, kafka, seed)
        began = shown = time.monotonic()
        stream.start()
        while time.monotonic() < began + minutes * 60:
            harm.turn()
            watcher.expected = stream.produced
            if time.monotonic() >= shown + 60:
                shown += 60
                print(f"{(shown - began) / 60:5.0f} min: {_line(harm, stream, watcher)}", flush=True)
            time.sleep(0.05)
        stream.end()
        harm.repair()
        for _ in range(WORKERS):
            harness.worker(**SETTINGS)
        everything = DRAIN_SECONDS, "the backlog is worked off"
        wait_until(lambda: watcher.tally.records >= stream.produced, *everything, every_s=0.5)
        harness.stop()
        print(f"  end: {_line(harm, stream, watcher)}; exits {dict(harm.exits)}", flush=True)
        ends = end_offsets(bootstrap, harness.topics.input)
        oracle.settled(kafka, harness.topics)
        committed = harness.committed_by_partition()
        with Watcher(bootstrap, harness.topics) as again:
            everything = DRAIN_SECONDS, "everything is read again"
            wait_until(lambda: again.tally.records >= stream.produced, *everything, every_s=0.5)
        kills, lost = harm.done["kills"], again.tally.lost(ends)
        print(
            f"{minutes:g} minutes, seed {seed}: {kills} kills, {sum(ends.values()):,} records: {lost} lost, "
            f"{again.tally.duplicated} duplicated, {again.tally.reordered} reordered, {again.tally.wrong} wrong; "
            f"worst stall {watcher.worst_stall:.1f} s"
        )
        went_back = [line for worker in harness.workers for line in worker.log.splitlines() if WENT_BACK in line]
        print(f"committed offsets that Kafka had lost, and a worker noticed: {len(went_back)}")
        for line in sorted(went_back):
            noticed = datetime.fromisoformat(json.loads(line)["time"])
            faults = [f"{fault} at {at:%H:%M:%S}" for at, fault in harm.broker_faults if at < noticed]
            print(f"{line}\n    after {faults[-1] if faults else 'no fault of a broker'}")
        return (
            sum(ends.values()) == stream.produced == again.tally.records
            and committed == ends
            and not stream.errors
            and lost == 0
            and watcher.tally.is_clean
            and again.tally.is_clean
            and set(harm.exits) <= EXPECTED_EXITS
        )


def _line(harm: Faults, stream: Stream, watcher: Watcher) -> str:
    tally = watcher.tally
    return (
        f"{', '.join(f'{count} {what}' for what, count in sorted(harm.done.items()))}; {stream.produced:,} produced, "
        f"{tally.records:,} seen, {tally.duplicated} duplicated, {tally.reordered} reordered, {tally.wrong} wrong, "
        f"worst stall {watcher.worst_stall:.1f} s"
    )


def main() -> int:
    """Read the command line and soak."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=45)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--rate", type=float, default=230, help="reviews a second (230)")
    parser.add_argument("--brokers", type=int, default=3, help="in the cluster (3)")
    arguments = parser.parse_args()
    is_right = soak(arguments.minutes, arguments.seed, arguments.rate, arguments.brokers)
    print("soak passed" if is_right else "soak FAILED")
    return 0 if is_right else 1


if __name__ == "__main__":
    sys.exit(main())
