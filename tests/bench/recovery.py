"""How long partitions are idle after a failure, exactly once: `python -m tests.bench.recovery`.

Two workers share the input, which never pauses. A reader of committed results measures the longest time without a
result of a partition, over all partitions: those of the worker that died, and those of the other one, which waits while
the group rebalances. Workers are killed one after the other in the same group, each at a random moment between two
heartbeats. The only broker is killed and restarted at once. The table holds the median and the range.
"""

import argparse
import functools
import random
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

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

    def longest_silence(self, since: float) -> float:
        """The longest time between two results of one partition, of which the second came after `since`."""
        return max(
            later - earlier for seen in self._seen for (earlier, _), (later, _) in pairwise(seen) if later >= since
        )


class Scene:
    """A group of two workers with a steady input, and what is done to it."""

    def __init__(self, kafka: LocalBroker, harness: Harness, settings: dict[str, object]) -> None:
        self._kafka, self._harness, self._settings = kafka, harness, {**DEFAULTS, **settings}
        self._workers = [self._start(name) for name in "ab"]
        for worker in self._workers:
            worker.await_partitions(PARTITIONS // 2, 90)
        bootstrap = internal(harness.kafka)
        self._arrivals = Arrivals(harness)
        self._stream = Stream(bootstrap, harness.topics.input, PARTITIONS, RATE)
        self._stream.start()

    def _start(self, name: str) -> FakeWorker:
        named = {"instance_id": name} if self._settings.get("static_membership") else {}
        return self._harness.worker(SLOW, **{**self._settings, **named})

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

    def kill(self, number: int, *, returns: bool) -> float:
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
        return took

    def bounce(self, _: int) -> float:
        """Kill the only broker and restart it at once."""

        def bounce() -> None:
            self._kafka.kill()
            self._kafka.start()

        return self._idle(bounce)


@contextmanager
def scene(settings: dict[str, object]) -> Iterator[Scene]:
    """A broker of its own, with a group at work."""
    with (
        tempfile.TemporaryDirectory() as directory,
        LocalBroker() as kafka,
        Harness(kafka, Path(directory), 7, partitions=PARTITIONS) as harness,
    ):
        made = Scene(kafka, harness, settings)
        try:
            yield made
        finally:
            made.close()


SIX: dict[str, object] = {"session_timeout_seconds": 6}
STATIC: dict[str, object] = {"static_membership": True, "session_timeout_seconds": 10}
LONG: dict[str, object] = {"static_membership": True, "session_timeout_seconds": 45}
stays_away = functools.partial(Scene.kill, returns=False)
returns = functools.partial(Scene.kill, returns=True)
SCENES: dict[str, tuple[dict[str, object], Callable[[Scene, int], float]]] = {
    "SIGKILL, dynamic members, session 10 s (default)": ({}, stays_away),
    "SIGKILL, dynamic members, session 6 s": (SIX, stays_away),
    "SIGKILL, dynamic members, session 10 s, restarted at once": ({}, returns),
    "SIGKILL, static members, session 10 s, does not return": (STATIC, stays_away),
    "SIGKILL, static members, session 45 s, restarted at once": (LONG, returns),
    "the only broker is killed and restarted at once": ({}, Scene.bounce),
}


def main() -> int:
    """Print the table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=8, help="failures of each kind (8)")
    parser.add_argument("--only", default="", help="only the kinds whose name contains this")
    arguments = parser.parse_args()
    print("| failure | times | median, s | range, s |")
    print("|---|---|---|---|")
    for name, (settings, break_it) in SCENES.items():
        if arguments.only not in name:
            continue
        with scene(settings) as made:
            took = []
            for number in range(arguments.times):
                took.append(break_it(made, number))
                print(f"{name}: {took[-1]:.1f} s", file=sys.stderr, flush=True)
        median = statistics.median(took)
        print(f"| {name} | {len(took)} | {median:.1f} | {min(took):.1f} to {max(took):.1f} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
