"""How busy other processes keep the machine while something is timed."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

#: Share of the cores in use that other processes may take before the times are doubtful.
TOLERATED_LOAD = 0.15


@contextmanager
def load_of_others() -> Iterator[list[float]]:
    """A list that holds, afterwards, how many cores other processes kept busy; empty if the system does not say."""
    found: list[float] = []
    before = _busy_seconds()
    started = time.monotonic()
    yield found
    after, seconds = _busy_seconds(), time.monotonic() - started
    if before is not None and after is not None and seconds > 0:
        found.append(max(0.0, (after - before) / seconds))


def _busy_seconds() -> float | None:
    """CPU seconds of all processes but this one since the machine started; None if there is no /proc/stat."""
    try:
        fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
    except OSError:
        return None
    user, nice, system, _idle, _iowait, irq, softirq, _steal = map(int, fields)
    own = os.times()
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK") - own.user - own.system


def is_loaded(busy: float, cores: int, used: int) -> bool:
    """Whether `busy` cores of other processes, of all `cores`, took more than a little of the `used` ones."""
    return busy > cores - used + TOLERATED_LOAD * used
