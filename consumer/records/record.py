"""A record as Kafka delivers it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Record:
    """One Kafka record, as bytes.

    `timestamp_ms` is in epoch milliseconds; negative means none. `leader_epoch` is that of its batch; -1 if unknown.
    """

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...] = ()
    leader_epoch: int = -1
