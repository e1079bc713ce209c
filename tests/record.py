"""A record as tests produce it, and as they read it."""

from collections.abc import Sequence
from dataclasses import dataclass

#: A name that is not UTF-8 is a string with surrogate escapes, or one that knows its own bytes: see `header_bytes`.
Header = tuple[str, bytes | None]


@dataclass(frozen=True)
class Record:
    """One record to produce, or one that was read (then with its coordinates)."""

    value: bytes | None
    key: bytes | None = None
    headers: Sequence[Header] = ()
    partition: int | None = None
    offset: int = -1
    topic: str = ""
    timestamp_ms: int | None = None

    def header(self, name: str) -> bytes | None:
        """The value of the only header with this name."""
        (value,) = [value for key, value in self.headers if key == name]
        return value

    @property
    def source(self) -> tuple[str, int, int]:
        """The input coordinates that the worker noted: topic, partition, offset."""
        topic, partition, offset = (self.header(f"source-{name}") or b"" for name in ("topic", "partition", "offset"))
        return topic.decode(), int(partition), int(offset)


def header_bytes(headers: Sequence[Header]) -> list[tuple[bytes, bytes | None]]:
    """Headers as they are on the wire, whichever client read them."""
    return [(name.encode("utf-8", "surrogateescape"), value) for name, value in headers]
