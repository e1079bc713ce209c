"""How much memory this process may use, and how much a worker needs."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from consumer.model.bundle.loading import Bundle
from consumer.model.engines.cores import CGROUPS, own_group
from consumer.settings.worker import MOST_THREADS

MEMINFO = Path("/proc/meminfo")

_MIB = 1 << 20
#: Interpreter, libraries, clients of Kafka.
BASE_BYTES = 200 * _MIB
#: Of each inference thread.
THREAD_BYTES = 60 * _MIB
#: What docs/sizing.md recommends, for up to `MOST_THREADS` threads.
RECOMMENDED_BYTES = 2048 * _MIB


def needed_bytes(models: Iterable[tuple[Bundle, str]], threads: int) -> int:
    """What these models, each with its variant, take at least: files and the engine's copies of them, and threads."""
    return BASE_BYTES + threads * THREAD_BYTES + 2 * _weights_bytes(models)


def opening_bytes(models: Iterable[tuple[Bundle, str]], threads: int) -> int:
    """What the models take while they are opened; measured: 315 MiB for DistilBERT in int8 with two threads."""
    return threads * THREAD_BYTES + 3 * _weights_bytes(models)


def _weights_bytes(models: Iterable[tuple[Bundle, str]]) -> int:
    return sum(
        bundle.manifest.files[name].bytes
        for bundle, variant in models
        for name in bundle.manifest.variants[variant].files
    )


def recommended_bytes(threads: int) -> int:
    """What docs/sizing.md recommends: room for long texts, large polls and slow brokers."""
    return RECOMMENDED_BYTES + max(0, threads - MOST_THREADS) * THREAD_BYTES


def granted_bytes(root: Path = CGROUPS, meminfo: Path = MEMINFO) -> int | None:
    """What this process may use: the least of its control groups (version 2) and of the machine; None if unknown."""
    limits = [limit for _, limit in _groups(root)]
    return min([*limits, *_of_machine(meminfo, "MemTotal")], default=None)


def free_bytes(root: Path = CGROUPS, meminfo: Path = MEMINFO) -> int | None:
    """What is left of that. Caches of files count as free, for the system drops them when it needs the memory."""
    left = []
    for group, limit in _groups(root):
        used = int((group / "memory.current").read_text())
        caches = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        left.append(limit - used + int(caches.get("inactive_file", 0)))
    return min([*left, *_of_machine(meminfo, "MemAvailable")], default=None)


def _groups(root: Path) -> Iterator[tuple[Path, int]]:
    """The control groups of this process that have a limit, and the limit."""
    directory = root / own_group().strip("/")
    for each in (directory, *directory.parents):
        file = each / "memory.max"
        if each.is_relative_to(root) and file.is_file() and (limit := file.read_text().strip()) != "max":
            yield each, int(limit)


def _of_machine(meminfo: Path, name: str) -> Iterator[int]:
    if meminfo.is_file():
        lines = dict(line.split(":", 1) for line in meminfo.read_text().splitlines() if ":" in line)
        yield int(lines[name].split()[0]) * 1024
