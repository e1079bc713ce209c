"""How many cores this process may use: in a container often fewer than the machine has."""

import math
import os
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")


def available_cores() -> int:
    """The number of cores in its affinity mask, or the CPU quota of its control groups if that is smaller.

    A process with more busy threads than its quota is throttled for most of every period of 0.1 s.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, math.ceil(min(cores, granted(CGROUPS, own_group()))))


def granted(root: Path, group: str) -> float:
    """CPU seconds per second that `cpu.max` of `group` (such as `/system.slice/worker`) and of its parents grants.

    Reads control groups of version 2 only; without them there is no limit (infinity).
    """
    least = math.inf
    directory = root / group.strip("/")
    for each in (directory, *directory.parents):
        if each.is_relative_to(root) and (each / "cpu.max").is_file():
            quota, period = (each / "cpu.max").read_text().split()
            if quota != "max":
                least = min(least, int(quota) / int(period))
    return least


def own_group() -> str:
    """The control group of this process, such as `/system.slice/worker`; `/` if that is not known."""
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return "/"
    return next((line.removeprefix("0::") for line in lines if line.startswith("0::")), "/")
