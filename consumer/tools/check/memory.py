"""How much memory this process may use, and how much a worker needs."""

from collections.abc import Iterable
from pathlib import Path

from consumer.model.bundle import Bundle
from consumer.model.engines.cores import CGROUPS, own_group
from consumer.settings.worker import MOST_THREADS

_MIB = 1 << 20
#: Interpreter, libraries, clients of Kafka.
BASE_BYTES = 200 * _MIB
#: Of each inference thread.
THREAD_BYTES = 60 * _MIB
#: What docs/sizing.md recommends, for up to `MOST_THREADS` threads.
RECOMMENDED_BYTES = 2048 * _MIB


def needed_bytes(models: Iterable[tuple[Bundle, str]], threads: int) -> int:
    """What these models, each with its variant, take at least: files and the engine's copies of them, and threads."""
    weights = sum(
        bundle.manifest.files[name].bytes
        for bundle, variant in models
        for name in bundle.manifest.variants[variant].files
    )
    return BASE_BYTES + threads * THREAD_BYTES + 2 * weights


def recommended_bytes(threads: int) -> int:
    """What docs/sizing.md recommends: room for long texts, large polls and slow brokers."""
    return RECOMMENDED_BYTES + max(0, threads - MOST_THREADS) * THREAD_BYTES


def granted_bytes(root: Path = CGROUPS, meminfo: Path = Path("/proc/meminfo")) -> int | None:
    """What this process may use: the least of its control groups (version 2) and of the machine; None if unknown."""
    limits = []
    directory = root / own_group().strip("/")
    for each in (directory, *directory.parents):
        file = each / "memory.max"
        if each.is_relative_to(root) and file.is_file() and (limit := file.read_text().strip()) != "max":
            limits.append(int(limit))
    if meminfo.is_file():
        lines = dict(line.split(":", 1) for line in meminfo.read_text().splitlines() if ":" in line)
        limits.append(int(lines["MemTotal"].split()[0]) * 1024)
    return min(limits, default=None)
