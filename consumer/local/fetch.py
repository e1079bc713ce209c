"""Downloads pinned jars: with `mvn`, which knows the mirrors of this machine, or over HTTPS.

A jar gets its name only after its SHA-256 was checked, so a broken download never reaches the class path.
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
from consumer.local.pinned import KAFKA_VERSION, Jar, sha256

MAVEN_CENTRAL = "https://repo1.maven.org/maven2"
PARALLEL_DOWNLOADS = 8
ATTEMPTS = 3
RETRY_SECONDS = 0.5  # multiplied by the number of the attempt
TIMEOUT_SECONDS = 30
MVN_TIMEOUT_SECONDS = 900
# Pinned, so that no later plugin changes what the goal does.
MVN_GOAL = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"

Source = Callable[[Sequence[Jar], Path], None]


def sources() -> list[Source]:
    """Where to download from, in this order. If the user named a repository, it is the only one."""
    if shutil.which("mvn") and not os.environ.get("REVIEWS_MAVEN_URL"):
        return [with_mvn, over_https]
    return [over_https]


def with_mvn(jars: Sequence[Jar], directory: Path) -> None:
    """Let Maven copy the jars. A jar that it does not deliver, or with another SHA-256, stays missing."""
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
    """Download the jars in parallel, with a few attempts for each.

    Raises:
        UsageError: a jar cannot be downloaded, or is not the pinned file.
    """
    base = (os.environ.get("REVIEWS_MAVEN_URL") or MAVEN_CENTRAL).rstrip("/")
    if not base.startswith(("https://", "http://")):
        raise UsageError("REVIEWS_MAVEN_URL must be an http(s) address, such as " + MAVEN_CENTRAL)
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
                f"Kafka {KAFKA_VERSION} is not in {directory} and cannot be downloaded from {base} ({error}); run once "
                "with network access, or set REVIEWS_MAVEN_URL to a Maven repository that you can reach, or "
                f"REVIEWS_KAFKA_LIBS to the libs directory of an unpacked Kafka {KAFKA_VERSION}"
            ) from error
        finally:
            stopped.set()  # after a failure or Ctrl-C, the other downloads are pointless
            pool.shutdown(cancel_futures=True)


def _download(
    url: str, jar: Jar, *, directory: Path, progress: Progress, task: TaskID, stopped: threading.Event
) -> None:
    part = directory / f"{jar.name}.part"
    for attempt in range(1, ATTEMPTS + 1):
        received = 0
        try:
            with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as answer, part.open("wb") as file:  # noqa: S310 - http(s) only, checked above
                # A file that is too long fails its checksum anyway.
                while not stopped.is_set() and received <= jar.bytes and (chunk := answer.read(1 << 16)):
                    file.write(chunk)
                    received += len(chunk)
                    progress.advance(task, len(chunk))
            if received < jar.bytes:
                raise OSError(f"{url} ended after {received} of {jar.bytes} bytes")
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
            f"{url} is not the pinned file (SHA-256 {found[:16]}..., expected {jar.sha256[:16]}...); "
            "set REVIEWS_MAVEN_URL to a repository that serves the original"
        )
    part.replace(directory / jar.name)


def _pom(jars: Sequence[Jar]) -> str:
    """A project that depends on exactly these jars, without their own dependencies."""
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
    console.print(f"downloading Kafka {KAFKA_VERSION} from {origin} ({len(jars)} jars, {size:.0f} MB)", markup=False)
    return console
