"""A record to produce."""

from dataclasses import dataclass

#: Upper bound of the bytes that Kafka adds to a record and its batch.
RECORD_OVERHEAD_BYTES = 1024


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A record to produce.

    Attributes:
        partition: the source partition, which keeps its order.
        timestamp_ms: in epoch milliseconds; None: the time at which it is sent.
    """

    topic: str
    partition: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]]
    timestamp_ms: int | None = None

    @property
    def size(self) -> int:
        """Upper bound of its size as a batch of one, in bytes."""
        body = len(self.key or b"") + len(self.value or b"")
        return body + sum(len(name.encode()) + len(value) + 10 for name, value in self.headers) + RECORD_OVERHEAD_BYTES
