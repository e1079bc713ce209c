"""How long partitions are idle after a failure or a rebalance, exactly once: `python -m tests.bench.recovery`.

Two workers share the input, which never pauses. A reader of committed results measures the longest time without a
result of a partition, over all partitions: those of the worker that died, and those of the other one, which waits while
the group rebalances. Workers are killed one after the other in the same group, each at a random moment between two
heartbeats. The only broker is killed and restarted at once. For rebalances, a worker is stopped with SIGTERM and
started again; the partitions that the other one keeps and those that change hands are reported apart, beside the
longest time between two results while nothing happens. The table holds the median and the range.
"""

import argparse
import functools
import random
import re
import signal
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

from kafka import KafkaAdminClient

from consumer.local.broker import LocalBroker
from consumer.settings import WorkerSettings
from tests.fake_worker import Script
from tests.foreign_reader import ForeignReader
from tests.harness import FAST, FakeWorker, Harness
from tests.kafka_helpers import internal
from tests.stream import Stream
from tests.worker_process import wait_until

PARTITIONS = 4
#: Reviews a second.
RATE = 80
#: A worker that dies within a transaction leaves its partitions in doubt until `transaction_timeout_seconds`. With a
#: model that takes no time that would happen often; here it is rare, and with a real model rarer still.
SLOW = Script(seconds_per_poll=0.3)
#: Rebalances are shorter than such a poll, and a worker that stops leaves no transaction behind.
QUICK = Script(seconds_per_poll=0.02)
#: The product's own defaults, where the fault tests use shorter times.
DEFAULTS: dict[str, object] = {name: WorkerSettings.model_fields[name].default for name in FAST}


class Arrivals:
    """When committed results arrive, by source partition: (moment, offset of the review)."""

    def __init__(self, harness: Harness) -> None:
        self._seen: list[list[tuple[float, int]]] = [[] for _ in range(PARTITIONS)]
        self._ending = threading.Event()
        self._reader = ForeignReader(internal(harness.kafka), [harness.topics.output])
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        while not self._ending.is_set():
            for record in self._reader.poll(0.02):
                _, partition, offset = record.source
                self._seen[partition].append((time.monotonic(), offset))

    def close(self) -> None:
        """Stop reading."""
        self._ending.set()
        self._thread.join()
        self._reader.close()

    def wait_past(self, offset: int, timeout_s: float = 120) -> None:
        """Wait until each partition has a result for this offset or a later one."""
        wait_until(
            lambda: all(seen and seen[-1][1] >= offset for seen in self._seen), timeout_s, f"results past {offset}"
        )

    def longest_silence(self, since: float, partitions: Collection[int] = range(PARTITIONS)) -> float:
        """The longest time between two results of one of these partitions, of which the second came after `since`."""
        return max(
            later - earlier
            for number in partitions
            for (earlier, _), (later, _) in pairwise(self._seen[number])
            if later >= since
        )


#: Seconds without a result, by what is added to the name of the scene.
Idle = dict[str, float]


class Scene:
    """A group of two workers with a steady input, and what is done to it."""

    def __init__(
        self, kafka: LocalBroker, harness: Harness, settings: dict[str, object], script: Script = SLOW
    ) -> None:
        self._kafka, self._harness, self._settings = kafka, harness, {**DEFAULTS, **settings}
        self._script = script
        self._workers = [self._start(name) for name in "ab"]
        for worker in self._workers:
            worker.await_partitions(PARTITIONS // 2, 90)
        bootstrap = internal(harness.kafka)
        self._arrivals = Arrivals(harness)
        self._stream = Stream(bootstrap, harness.topics.input, PARTITIONS, RATE)
        self._stream.start()

    def _start(self, name: str) -> FakeWorker:
        named = {"instance_id": name} if self._settings.get("static_membership") else {}
        return self._harness.worker(self._script, **{**self._settings, **named})

    def close(self) -> None:
        """End the input and the reader."""
        self._stream.end()
        self._arrivals.close()

    def _idle(self, break_it: Callable[[], None]) -> float:
        """Seconds without a result after `break_it`."""
        self._arrivals.wait_past(self._stream.produced // PARTITIONS + 1)
        time.sleep(random.uniform(0, 4))
        began = time.monotonic()
        break_it()
        self._arrivals.wait_past(self._stream.produced // PARTITIONS + 1)
        return self._arrivals.longest_silence(began)

    def kill(self, number: int, *, returns: bool) -> Idle:
        """Kill a worker; `returns`: it is restarted at once, and else when the other one has its partitions."""
        which = number % 2

        def kill() -> None:
            self._workers[which].kill()
            if returns:
                self._workers[which] = self._start("ab"[which])

        took = self._idle(kill)
        if not returns:
            self._workers[which] = self._start("ab"[which])
        for worker in self._workers:
            worker.await_partitions(PARTITIONS // 2, 90)
        return {"": took}

    def bounce(self, _: int) -> Idle:
        """Kill the only broker and restart it at once."""

        def bounce() -> None:
            self._kafka.kill()
            self._kafka.start()

        return {"": self._idle(bounce)}

    def leave_and_join(self, number: int) -> Idle:
        """Stop a worker with SIGTERM, and start it again when the other one has its partitions."""
        which = number % 2
        stays, leaves = self._workers[1 - which], self._workers[which]

        def leave() -> None:
            leaves.send(signal.SIGTERM)
            stays.await_partitions(PARTITIONS, 90)

        def join() -> None:
            self._workers[which] = self._start("ab"[which])
            for worker in self._workers:
                worker.await_partitions(PARTITIONS // 2, 90)

        quiet = self._idle(lambda: time.sleep(5))
        return {": nothing happens": quiet} | self._rebalance("leaves", leave) | self._rebalance("joins", join)

    def _rebalance(self, what: str, change: Callable[[], None]) -> Idle:
        """Seconds without a result during `change`, of partitions that keep their worker and of the others."""
        before = self._owners()
        began = time.monotonic()
        self._idle(change)
        after = self._owners()
        kept = {number for number in range(PARTITIONS) if before[number] == after[number]}
        moved = set(range(PARTITIONS)) - kept
        return {
            f": a worker {what}, partitions that {verb}": self._arrivals.longest_silence(began, partitions)
            for verb, partitions in (("stay", kept), ("move", moved))
            if partitions
        }

    def _owners(self) -> dict[int, str]:
        """The member of the group that has each partition."""
        group = self._harness.topics.group
        owners: dict[int, str] = {}
        with KafkaAdminClient(bootstrap_servers=internal(self._kafka)) as admin:
            for member in admin.describe_groups([group])[group]["members"]:
                for topic in member["member_assignment"]["assigned_partitions"]:
                    owners |= dict.fromkeys(topic["partitions"], member["member_id"])
        return owners


@contextmanager
def scene(settings: dict[str, object], script: Script) -> Iterator[Scene]:
    """A broker of its own, with a group at work."""
    with (
        tempfile.TemporaryDirectory() as directory,
        LocalBroker() as kafka,
        Harness(kafka, Path(directory), 7, partitions=PARTITIONS) as harness,
    ):
        made = Scene(kafka, harness, settings, script)
        try:
            yield made
        finally:
            made.close()


SIX: dict[str, object] = {"session_timeout_seconds": 6}
STATIC: dict[str, object] = {"static_membership": True, "session_timeout_seconds": 10}
LONG: dict[str, object] = {"static_membership": True, "session_timeout_seconds": 45}
stays_away = functools.partial(Scene.kill, returns=False)
returns = functools.partial(Scene.kill, returns=True)
SCENES: dict[str, tuple[dict[str, object], Callable[[Scene, int], Idle]]] = {
    "SIGKILL, dynamic members, session 10 s (default)": ({}, stays_away),
    "SIGKILL, dynamic members, session 6 s": (SIX, stays_away),
    "SIGKILL, dynamic members, session 10 s, restarted at once": ({}, returns),
    "SIGKILL, static members, session 10 s, does not return": (STATIC, stays_away),
    "SIGKILL, static members, session 45 s, restarted at once": (LONG, returns),
    "the only broker is killed and restarted at once": ({}, Scene.bounce),
    "rebalance": ({}, Scene.leave_and_join),
}


def main() -> int:
    """Print the table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=8, help="failures of each kind (8)")
    parser.add_argument("--only", default="", help="only the kinds whose name has this, a regular expression")
    arguments = parser.parse_args()
    print("| failure | times | median, s | range, s |")
    print("|---|---|---|---|")
    for name, (settings, break_it) in SCENES.items():
        if not re.search(arguments.only, name):
            continue
        measured: dict[str, list[float]] = {}
        with scene(settings, QUICK if break_it is Scene.leave_and_join else SLOW) as made:
            for number in range(arguments.times):
                for kind, seconds in break_it(made, number).items():
                    measured.setdefault(name + kind, []).append(seconds)
                    print(f"{name}{kind}: {seconds:.2f} s", file=sys.stderr, flush=True)
        for kind, each in measured.items():
            median = statistics.median(each)
            print(f"| {kind} | {len(each)} | {median:.2f} | {min(each):.2f} to {max(each):.2f} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
