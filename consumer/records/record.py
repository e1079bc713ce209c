"""A record as Kafka delivers it."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Record:
    """One Kafka record, as bytes. `timestamp_ms` is in epoch milliseconds; negative means none."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...] = ()


def record_of(message: Any) -> Record:
    """The record that a client returned. The oldest format of records has no timestamp."""
    timestamp_ms = -1 if message.timestamp is None else message.timestamp
    headers = tuple(message.headers)
    return Record(message.topic, message.partition, message.offset, timestamp_ms, message.key, message.value, headers)
