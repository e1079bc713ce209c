"""How long a partition is idle after a failure, exactly once: `python -m tests.bench.recovery`.

Two workers share the input. Measured, as a reader of committed results sees it: from SIGKILL of one of them to the
first result for a review that was produced after it, in each of its partitions; and the same from SIGKILL of the only
broker, which is started again at once. The table holds the median and the worst of `--rounds`.
"""

import argparse
import re
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from consumer.local.broker import LocalBroker
from consumer.settings import WorkerSettings
from tests.foreign_reader import ForeignReader
from tests.harness import FAST, FakeWorker, Harness
from tests.kafka_helpers import internal
from tests.stream import Stream

PARTITIONS = 4
#: The product's own defaults, where the fault tests use shorter times.
DEFAULTS: dict[str, object] = {name: WorkerSettings.model_fields[name].default for name in FAST}


class Arrivals:
    """When committed results arrive, by source partition: (moment, offset of the review)."""

    def __init__(self, harness: Harness) -> None:
        self.latest: dict[int, tuple[float, int]] = {}
        self._ending = threading.Event()
        self._reader = ForeignReader(internal(harness.kafka), [harness.topics.output])
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        while not self._ending.is_set():
            for record in self._reader.poll(0.02):
                _, partition, offset = record.source
                self.latest[partition] = (time.monotonic(), offset)

    def close(self) -> None:
        """Stop reading."""
        self._ending.set()
        self._thread.join()
        self._reader.close()

    def wait_past(self, ends: dict[int, int], timeout_s: float = 120) -> float:
        """The moment at which each partition of `ends` had a result for an offset of `ends` or later."""
        reached: dict[int, float] = {}
        deadline = time.monotonic() + timeout_s
        while len(reached) < len(ends):
            assert time.monotonic() < deadline, "no recovery"
            for partition, end in ends.items():
                moment, offset = self.latest.get(partition, (0.0, -1))
                if offset >= end:
                    reached.setdefault(partition, moment)
            time.sleep(0.005)
        return max(reached.values())


def one_round(fault: str, settings: dict[str, object], *, returns: bool) -> float:
    """Seconds without results after `fault` (kill, bounce); `returns`: the killed worker is started again at once."""
    with (
        tempfile.TemporaryDirectory() as directory,
        LocalBroker() as kafka,
        Harness(kafka, Path(directory), 7, partitions=PARTITIONS) as harness,
    ):

        def start(name: str) -> FakeWorker:
            named = {"instance_id": name} if settings.get("static_membership") else {}
            return harness.worker(**{**DEFAULTS, **settings, **named})

        workers = [start("a"), start("b")]
        for worker in workers:
            worker.await_partitions(2, 90)
        arrivals, stream = Arrivals(harness), Stream(internal(kafka), harness.topics.input, PARTITIONS, 80)
        stream.start()
        arrivals.wait_past(dict.fromkeys(range(PARTITIONS), 20))
        victim = workers[0]
        shown = re.findall(r"partitions assigned: \[([0-9, ]*)\]", victim.log)[-1]
        affected = [int(number) for number in shown.split(",")] if fault == "kill" else list(range(PARTITIONS))
        later = dict.fromkeys(affected, stream.produced // PARTITIONS + 1)
        began = time.monotonic()
        if fault == "kill":
            victim.kill()
            if returns:
                start("a")
        else:
            kafka.kill()
            kafka.start()
        recovered = arrivals.wait_past(later)
        stream.end()
        arrivals.close()
        return recovered - began


SCENES: dict[str, Callable[[], float]] = {
    "SIGKILL, dynamic members, session 10 s (default)": lambda: one_round("kill", {}, returns=False),
    "SIGKILL, dynamic members, session 6 s": lambda: one_round("kill", {"session_timeout_seconds": 6}, returns=False),
    "SIGKILL, static members, session 10 s, does not return": lambda: one_round(
        "kill", {"static_membership": True, "session_timeout_seconds": 10}, returns=False
    ),
    "SIGKILL, static members, session 45 s, started again at once": lambda: one_round(
        "kill", {"static_membership": True, "session_timeout_seconds": 45}, returns=True
    ),
    "SIGKILL, dynamic members, session 10 s, started again at once": lambda: one_round("kill", {}, returns=True),
    "broker killed and started again at once": lambda: one_round("bounce", {}, returns=False),
}


def main() -> int:
    """Print the table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    names = "; ".join(f"{number}: {name}" for number, name in enumerate(SCENES, 1))
    parser.add_argument("--only", type=int, nargs="+", choices=range(1, len(SCENES) + 1), help=f"of these: {names}")
    arguments = parser.parse_args()
    print("| failure | median, s | worst, s |")
    print("|---|---|---|")
    for number, (name, scene) in enumerate(SCENES.items(), 1):
        if arguments.only and number not in arguments.only:
            continue
        took = [scene() for _ in range(arguments.rounds)]
        print(f"| {name} | {statistics.median(took):.1f} | {max(took):.1f} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
