"""A dead letter as a row: facts, and the parts of its content that were asked for."""

import argparse
import base64
from dataclasses import dataclass

from consumer.records.letter import Letter
from consumer.tools.places import natural, utc

#: Columns of the facts, in the order in which they are exported.
FACTS = (
    *("partition", "offset", "time", "reason", "detail", "byte", "bytes", "cut", "attempts"),
    *("source_topic", "source_partition", "source_offset", "source_time", "replay_of"),
)


def add_content(parser: argparse.ArgumentParser) -> None:
    """The flags that ask for content."""
    group = parser.add_argument_group("Content, which is left out unless asked for")
    group.add_argument("--key", action="store_true", help="the key")
    group.add_argument("--value", action="store_true", help="the value")
    group.add_argument("--headers", action="store_true", help="the headers of the input record, with their values")
    group.add_argument("--bytes", type=natural, metavar="N", help="the first N bytes of each part [default: all]")


@dataclass(frozen=True, slots=True)
class Content:
    """Which parts of the content were asked for; `limit` is in bytes, None for all."""

    key: bool = False
    value: bool = False
    headers: bool = False
    limit: int | None = None

    @classmethod
    def of(cls, arguments: argparse.Namespace) -> "Content":
        """As the flags of `add_content` say."""
        return cls(arguments.key, arguments.value, arguments.headers, arguments.bytes)

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns."""
        return tuple(name for name in ("key", "value", "headers") if getattr(self, name))

    def row(self, letter: Letter) -> dict[str, object]:
        """The parts: text, or an object {"base64": ...} for what is not UTF-8; null if there is none."""
        record = letter.record
        parts: dict[str, object] = {}
        if self.key:
            parts["key"] = shown(record.key, self.limit)
        if self.value:
            parts["value"] = shown(record.value, self.limit)
        if self.headers:
            parts["headers"] = [[str(name), shown(value, self.limit)] for name, value in letter.original_headers]
        return parts


def facts(letter: Letter) -> dict[str, object]:
    """What is known of a dead letter beside its content: a value for each of `FACTS`."""
    topic, partition, offset = letter.source or (None, None, None)
    return {
        "partition": letter.record.partition,
        "offset": letter.record.offset,
        "time": utc(letter.record.timestamp_ms),
        "reason": letter.reason or None,
        "detail": letter.detail or None,
        "byte": letter.position,
        "bytes": letter.size,
        "cut": letter.cut or None,
        "attempts": letter.attempts,
        "source_topic": topic,
        "source_partition": partition,
        "source_offset": offset,
        "source_time": utc(letter.source_timestamp_ms) or None,
        "replay_of": letter.first_source if letter.attempts else None,
    }


def shown(value: bytes | None, limit: int | None = None) -> object:
    """Bytes as JSON holds them: a string if they are UTF-8, else {"base64": ...}."""
    if value is None:
        return None
    part = value if limit is None else value[:limit]
    # The limit may be within a character: up to three bytes less are text.
    for shorter in range(4 if len(part) < len(value) else 1):
        try:
            return part[: len(part) - shorter].decode("utf-8")
        except UnicodeDecodeError:
            continue
    return {"base64": base64.b64encode(part).decode()}


def printed(value: bytes | None, limit: int | None = None) -> str:
    """Bytes on a line of a terminal: what is not UTF-8 is escaped."""
    if value is None:
        return "(null)"
    text = value[:limit].decode("utf-8", "backslashreplace")
    return text if limit is None or len(value) <= limit else f"{text}…"
