"""Which jars Kafka consists of: pinned by SHA-256 in jars.txt.

A line of jars.txt is a SHA-256, a size in bytes and a path in a Maven repository.
"""

import hashlib
from dataclasses import dataclass
from importlib import resources
from pathlib import Path, PurePosixPath

KAFKA_VERSION = "4.3.1"


@dataclass(frozen=True)
class Jar:
    """One pinned file of a Maven repository; `path` is relative to the repository's root."""

    sha256: str
    bytes: int
    path: PurePosixPath

    @property
    def name(self) -> str:
        """The file name, unique in the list."""
        return self.path.name

    def intact(self, directory: Path) -> bool:
        """Whether the directory holds this jar, byte for byte."""
        return sha256(directory / self.name) == self.sha256


def sha256(path: Path) -> str:
    """The hex digest of a file, or "" if it cannot be read."""
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
