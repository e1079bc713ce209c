"""Fetches pinned jars: through `mvn`, which knows the mirrors of this machine, else over plain HTTPS.

A jar appears under its name only once its SHA-256 was checked, so that a broken download never becomes a class path.
"""

import http.client
import os
import shutil
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from xml.sax.saxutils import escape

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TransferSpeedColumn

from consumer.errors import UsageError
from consumer.local.jars import KAFKA_VERSION, Jar, sha256

MAVEN_CENTRAL = "https://repo1.maven.org/maven2"
PARALLEL_DOWNLOADS = 8
ATTEMPTS = 3
RETRY_SECONDS = 0.5  # times the number of attempts so far
TIMEOUT_SECONDS = 30
MVN_TIMEOUT_SECONDS = 900
# Pinned, so that no later plugin changes what the goal does.
MVN_GOAL = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"

Source = Callable[[Sequence[Jar], Path], None]


def sources() -> list[Source]:
    """What to try, in this order. A repository that the user named is the only one asked."""
    if shutil.which("mvn") and not os.environ.get("REVIEWS_MAVEN_URL"):
        return [with_mvn, over_https]
    return [over_https]


def with_mvn(jars: Sequence[Jar], directory: Path) -> None:
    """Let Maven copy the jars; what it does not bring, or brings with another SHA-256, stays missing."""
    _announce(jars, "mvn")
    with tempfile.TemporaryDirectory(dir=directory, prefix="mvn-") as scratch:
        Path(scratch, "pom.xml").write_text(_pom(jars), "utf-8")
        command = ["mvn", "--quiet", "--batch-mode", MVN_GOAL, f"-DoutputDirectory={scratch}"]
        try:
            subprocess.run(
                command,
                cwd=scratch,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=MVN_TIMEOUT_SECONDS,
                check=True,
            )
        except (OSError, subprocess.SubprocessError):
            return
        for jar in jars:
            if jar.intact(Path(scratch)):
                Path(scratch, jar.name).replace(directory / jar.name)


def over_https(jars: Sequence[Jar], directory: Path) -> None:
    """Download the jars side by side, each with a few attempts.

    Raises:
        UsageError: one of them cannot be had, or is not the file that was pinned.
    """
    base = (os.environ.get("REVIEWS_MAVEN_URL") or MAVEN_CENTRAL).rstrip("/")
    if not base.startswith(("https://", "http://")):
        raise UsageError("REVIEWS_MAVEN_URL has to be an http(s) address, such as " + MAVEN_CENTRAL)
    console = _announce(jars, base)
    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with (
        Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress,
        ThreadPoolExecutor(PARALLEL_DOWNLOADS) as pool,
    ):
        task = progress.add_task("", total=sum(jar.bytes for jar in jars))
        stopped = threading.Event()
        download = partial(_download, directory=directory, progress=progress, task=task, stopped=stopped)
        downloads = [pool.submit(download, f"{base}/{jar.path}", jar) for jar in jars]
        try:
            for future in downloads:
                future.result()
        except (OSError, http.client.HTTPException) as error:
            raise UsageError(
                f"Kafka {KAFKA_VERSION} is not in {directory} and cannot be fetched from {base} ({error}): "
                "run once with a network, or set REVIEWS_MAVEN_URL to a Maven repository within reach, "
                f"or REVIEWS_KAFKA_LIBS to the libs directory of an unpacked Kafka {KAFKA_VERSION}"
            ) from error
        finally:
            stopped.set()  # after a failure or Ctrl-C nobody waits for the rest
            pool.shutdown(cancel_futures=True)


def _download(
    url: str, jar: Jar, *, directory: Path, progress: Progress, task: TaskID, stopped: threading.Event
) -> None:
    part = directory / f"{jar.name}.part"
    for attempt in range(1, ATTEMPTS + 1):
        received = 0
        try:
            with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as answer, part.open("wb") as file:  # noqa: S310 - http(s) only, checked above
                # Of what is longer than it should be the sum is wrong in any case.
                while not stopped.is_set() and received <= jar.bytes and (chunk := answer.read(1 << 16)):
                    file.write(chunk)
                    received += len(chunk)
                    progress.advance(task, len(chunk))
            if received < jar.bytes:
                raise OSError(f"{url} broke off after {received} of {jar.bytes} bytes")
            break
        except (OSError, http.client.HTTPException) as error:
            refused = isinstance(error, urllib.error.HTTPError) and error.code < 500
            if refused or attempt == ATTEMPTS or stopped.is_set():
                part.unlink(missing_ok=True)
                raise
            progress.advance(task, -received)
            time.sleep(RETRY_SECONDS * attempt)
    if (found := sha256(part)) != jar.sha256:
        part.unlink()
        raise UsageError(
            f"{url} is not the file that was pinned (SHA-256 {found[:16]}..., expected {jar.sha256[:16]}...): "
            "set REVIEWS_MAVEN_URL to a repository that serves the original"
        )
    part.replace(directory / jar.name)


def _pom(jars: Sequence[Jar]) -> str:
    """A project that depends on exactly these jars, and on nothing that they in turn ask for."""
    dependencies = "".join(
        f"<dependency><groupId>{escape('.'.join(jar.path.parts[:-3]))}</groupId>"
        f"<artifactId>{escape(jar.path.parts[-3])}</artifactId><version>{escape(jar.path.parts[-2])}</version>"
        "<exclusions><exclusion><groupId>*</groupId><artifactId>*</artifactId></exclusion></exclusions></dependency>"
        for jar in jars
    )
    return (
        '<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion><groupId>local</groupId>'
        f"<artifactId>kafka-jars</artifactId><version>1</version><dependencies>{dependencies}</dependencies></project>"
    )


def _announce(jars: Sequence[Jar], origin: str) -> Console:
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    size = sum(jar.bytes for jar in jars) / 1e6
    console.print(f"fetching Kafka {KAFKA_VERSION} from {origin} ({len(jars)} jars, {size:.0f} MB)", markup=False)
    return console
