"""How the benches measure: contestants in turns, the first round not counted, and on what machine."""

import os
import platform
import random
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

SEED = 7

#: Load average of the last minute from which a machine is not idle.
BUSY = 0.5


def measure(
    runs: Mapping[str, Callable[[], float]], rounds: int, warming: Mapping[str, Callable[[], float]] | None = None
) -> dict[str, list[float]]:
    """Each of `runs` once a round, in a new random order each time; the first round warms up and is not counted.

    `warming` has what does less to the same end in that round.
    """
    measured: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(rounds + 1):
        for name in random.Random(number).sample(list(runs), len(runs)):
            value = (runs if number else {**runs, **(warming or {})})[name]()
            if number:
                measured[name].append(value)
            print(f"round {number} of {rounds}: {name}: {value:.4g}", file=sys.stderr, flush=True)
    return measured


def commit() -> str:
    """The commit that is checked out, and whether files differ from it; a dash outside a repository."""
    described = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--exclude=*"],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    return described.stdout.strip() or "-"


def load_before() -> float:
    """The load average of the last minute: call it first, for the bench itself adds to it."""
    return os.getloadavg()[0]


def tell_load(load: float) -> None:
    """Print a warning where the machine had something else to do."""
    if load > BUSY:
        print(f"The machine was not idle when this began (load {load:.1f}): do not quote these figures.")


def processor() -> str:
    """The name of the processor, as the machine tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())
