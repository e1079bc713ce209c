"""What goes out to Kafka."""

from dataclasses import dataclass

#: Bytes that Kafka adds to a record and its batch at most, with room to spare.
RECORD_OVERHEAD_BYTES = 1024


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A record to produce; `partition` is the source partition, so that its order is kept."""

    topic: str
    partition: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]]

    @property
    def size(self) -> int:
        """Upper bound of its size in a batch of its own, in bytes."""
        body = len(self.key or b"") + len(self.value or b"")
        return body + sum(len(name.encode()) + len(value) + 10 for name, value in self.headers) + RECORD_OVERHEAD_BYTES
