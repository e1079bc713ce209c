"""A record as Kafka delivers it."""

from dataclasses import dataclass
from typing import Any


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


def record_of(message: Any) -> Record:
    """The record that a client returned. The oldest format of records has no timestamp."""
    return Record(
        message.topic,
        message.partition,
        message.offset,
        -1 if message.timestamp is None else message.timestamp,
        message.key,
        message.value,
        tuple(message.headers),
        message.leader_epoch,
    )
