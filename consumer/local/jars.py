"""A directory with Kafka's jars: cached for the user, and complete before Kafka starts.

REVIEWS_KAFKA_LIBS    use the jars in this directory (`libs` of an unpacked Kafka) and download nothing
REVIEWS_KAFKA_CACHE   where downloaded jars are kept (default: review-consumer in the user's cache directory)
REVIEWS_MAVEN_URL     the Maven repository to download from (default: `mvn` if it is installed, else Maven Central)
"""

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from consumer.errors import UsageError
from consumer.local import fetch
from consumer.local.pinned import KAFKA_VERSION, Jar, pinned


def resolve(jars: Sequence[Jar] | None = None) -> Path:
    """A directory that holds Kafka's jars; downloads those that are missing. Safe in several processes at once.

    Every call hashes every jar: 56 MB take a fraction of a second, and a damaged jar is downloaded again.

    Args:
        jars: what the directory must hold; default: every pinned jar.

    Raises:
        UsageError: jars are missing and cannot be downloaded; names the variable to set.
    """
    if libs := os.environ.get("REVIEWS_KAFKA_LIBS"):
        if not any(Path(libs).glob("kafka_2.13-4.*.jar")):
            raise UsageError(f"REVIEWS_KAFKA_LIBS={libs} has no kafka_2.13-4.*.jar; set it to the libs of a Kafka 4")
        return Path(libs)
    jars = pinned() if jars is None else jars
    directory = cache_directory() / f"kafka-{KAFKA_VERSION}"
    if _missing(jars, directory):
        try:
            directory.mkdir(parents=True, exist_ok=True)
            with _locked(directory.with_name(f"{directory.name}.lock")):
                for source in fetch.sources():
                    if missing := _missing(jars, directory):
                        source(missing, directory)
        except OSError as error:
            raise UsageError(
                f"cannot store Kafka's jars in {directory} ({error}); set REVIEWS_KAFKA_CACHE to a writable directory"
            ) from error
    return directory


def cache_directory() -> Path:
    """REVIEWS_KAFKA_CACHE, else review-consumer in the user's cache directory."""
    if chosen := os.environ.get("REVIEWS_KAFKA_CACHE"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "review-consumer"


def _missing(jars: Sequence[Jar], directory: Path) -> list[Jar]:
    return [jar for jar in jars if not jar.intact(directory)]


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # the kernel releases it when the process ends, however it ends
        yield
