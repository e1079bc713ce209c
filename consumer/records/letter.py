"""A dead letter as a reader finds it: what its worker says of it, and the record that it was."""

import re
from dataclasses import dataclass

from consumer.records.foreign_headers import PREFIXES
from consumer.records.messages import DeadLetter
from consumer.records.record import Record

#: Headers of a record that was sent again: how often, and where it was first.
ATTEMPT, REPLAY_OF = "replay-attempt", "replay-of"
#: Names that a worker adds; `source-lineage` among them.
OWN_NAMES = frozenset(field.alias for field in DeadLetter.model_fields.values() if field.alias)
#: The first of the headers that a worker adds.
_FIRST = "source-topic"
_DETAIL = re.compile(r"([a-z0-9_]{1,64})(?: at byte ([0-9]{1,12}))?")
_CODE = re.compile(r"[a-z0-9_]{1,64}")

Headers = tuple[tuple[str, bytes | None], ...]


@dataclass(frozen=True, slots=True)
class Letter:
    """A record of the dead-letter topic.

    Attributes:
        record: as it was read.
        reason: the code; empty if the record is no dead letter of a worker.
        detail: the code behind the reason; may be empty.
        position: the byte of the value at which the parser stopped.
        source: topic, partition and offset of the input record.
        source_timestamp_ms: of the input record; -1 if it had none.
        size: bytes of the original value; -1 for null; None if it is not stated.
        cut: what was cut, such as "value,headers,key"; empty if the record is whole.
    """

    record: Record
    reason: str
    detail: str
    position: int | None
    source: tuple[str, int, int] | None
    source_timestamp_ms: int
    size: int | None
    cut: str

    @classmethod
    def of(cls, record: Record) -> "Letter":
        """Read the headers after the last `source-topic`: those before it are of the input record."""
        said: dict[str, bytes] = {}
        for name, value in reversed(record.headers):
            if name in OWN_NAMES:
                said.setdefault(str(name), value or b"")
                if name == _FIRST:
                    break
        reason = _text(said.get("dead-letter-reason"))
        detail = _DETAIL.fullmatch(_text(said.get("dead-letter-detail")))
        partition, offset = (_number(said.get(f"source-{name}")) for name in ("partition", "offset"))
        timestamp_ms = _number(said.get("source-timestamp"))
        known = _FIRST in said and partition is not None and offset is not None
        return cls(
            record,
            reason if known and _CODE.fullmatch(reason) else "",
            detail[1] if detail else "",
            int(detail[2]) if detail and detail[2] else None,
            (_text(said[_FIRST]), partition, offset)
            if known and partition is not None and offset is not None
            else None,
            -1 if timestamp_ms is None else timestamp_ms,
            _number(said.get("dead-letter-bytes")),
            _text(said.get("dead-letter-cut")),
        )

    @property
    def cause(self) -> str:
        """Reason and detail, such as "not_json/truncated"."""
        return f"{self.reason}/{self.detail}" if self.detail else self.reason

    @property
    def original_headers(self) -> Headers:
        """The headers of the input record, in order, without what a replay added to them.

        What a worker added is each run of headers from a `source-topic` on that holds a `dead-letter-reason`: a record
        that was sent again by hand may carry more than one. Other `source-*` headers are of the producer, and stay.
        """
        runs: list[list[tuple[str, bytes | None]]] = [[]]
        for header in self.record.headers:
            if header[0] == _FIRST:
                runs.append([])
            runs[-1].append(header)
        return tuple(
            (name, value)
            for run in runs
            for name, value in (_without_marks(run) if any(name == "dead-letter-reason" for name, _ in run) else run)
            if name not in {ATTEMPT, REPLAY_OF}
        )

    @property
    def attempts(self) -> int:
        """How often the record was sent again."""
        return _number(self._input_header(ATTEMPT)) or 0

    @property
    def first_source(self) -> str:
        """Where the record was first, as TOPIC-PARTITION-OFFSET, however often it was sent again."""
        if self.attempts and (first := _text(self._input_header(REPLAY_OF))):
            return first
        return "-".join(map(str, self.source or ()))

    def header(self, name: str) -> bytes | None:
        """The last value of a header of the input record; None if there is none."""
        return next((value for each, value in reversed(self.original_headers) if each == name), None)

    def _input_header(self, name: str) -> bytes | None:
        return next((value for each, value in reversed(self.record.headers) if each == name), None)


def _without_marks(run: list[tuple[str, bytes | None]]) -> list[tuple[str, bytes | None]]:
    return [(name, value) for name, value in run if name not in OWN_NAMES and not name.startswith(PREFIXES)]


def _text(value: bytes | None) -> str:
    return (value or b"").decode("utf-8", "replace")


def _number(value: bytes | None) -> int | None:
    """The number in decimal; None if it is none."""
    digits = value or b""
    return int(digits) if re.fullmatch(rb"-?[0-9]{1,18}", digits) else None
