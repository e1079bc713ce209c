"""Kafka's own jars, pinned by SHA-256 in jars.txt and kept in the user's cache directory.

    REVIEWS_KAFKA_LIBS    use the jars of this directory (`libs` of an unpacked Kafka) and fetch nothing
    REVIEWS_KAFKA_CACHE   where fetched jars are kept (default: review-consumer in the user's cache directory)
    REVIEWS_MAVEN_URL     the Maven repository to fetch from (default: `mvn` where there is one, else Maven Central)

A line of jars.txt is a SHA-256, a size in bytes and a path in a Maven repository.
"""

import fcntl
import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path, PurePosixPath

from consumer.errors import UsageError

KAFKA_VERSION = "4.3.1"


@dataclass(frozen=True)
class Jar:
    """One pinned file of a Maven repository; `path` is relative to the repository's root."""

    sha256: str
    bytes: int
    path: PurePosixPath

    @property
    def name(self) -> str:
        """The file name, which is unique in the list."""
        return self.path.name

    def intact(self, directory: Path) -> bool:
        """Whether the directory holds this jar, byte for byte."""
        return sha256(directory / self.name) == self.sha256


def sha256(path: Path) -> str:
    """The hex digest of a file, or "" where none can be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""


def pinned() -> tuple[Jar, ...]:
    """Every jar of the broker and of Kafka's command line tools."""
    lines = resources.files("consumer.local").joinpath("jars.txt").read_text("ascii").splitlines()
    fields = (line.split() for line in lines)
    return tuple(Jar(digest, int(size), PurePosixPath(path)) for digest, size, path in fields)


def resolve(jars: Sequence[Jar] | None = None) -> Path:
    """A directory that holds Kafka's jars, fetched first if need be. Safe in several processes at once.

    Every jar is hashed on every call: 56 MB take a fraction of a second, and a damaged cache mends itself.

    Args:
        jars: what the directory has to hold; all that is pinned by default.

    Raises:
        UsageError: they are not here and cannot be fetched; says which variable to set.
    """
    from consumer.local import fetch

    if libs := os.environ.get("REVIEWS_KAFKA_LIBS"):
        if not any(Path(libs).glob("kafka_2.13-4.*.jar")):
            raise UsageError(f"REVIEWS_KAFKA_LIBS={libs} holds no kafka_2.13-4.*.jar: set it to the libs of a Kafka 4")
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
            raise UsageError(f"cannot keep Kafka's jars in {directory} ({error}): set REVIEWS_KAFKA_CACHE") from error
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
        fcntl.flock(file, fcntl.LOCK_EX)  # gone with the process, however it ends
        yield
