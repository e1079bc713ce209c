"""The trace that a record belongs to, by its header `traceparent` (W3C Trace Context).

A header that is not valid, or that says that its trace is not sampled, is left alone: it is passed on as it came.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

HEADER = "traceparent"
#: Version 00, the only one there is: trace id, span id, flags. Other versions, and upper case, are not valid.
_FORMAT = re.compile(rb"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")
_SAMPLED = 0x01


@dataclass(frozen=True, slots=True)
class TraceContext:
    """The span that made a record.

    `place` is the index of the header among those of the record.
    """

    place: int
    trace_id: int
    span_id: int
    flags: int


def sampled_context(headers: Sequence[tuple[str, bytes | None]]) -> TraceContext | None:
    """The trace of the record with these headers; None if it has none, more than one, an invalid or unsampled one."""
    places = [place for place, (name, _) in enumerate(headers) if name == HEADER]
    if len(places) != 1:
        return None
    found = _FORMAT.fullmatch(headers[places[0]][1] or b"")
    if found is None:
        return None
    trace_id, span_id, flags = (int(digits, 16) for digits in found.groups())
    if not (trace_id and span_id and flags & _SAMPLED):
        return None
    return TraceContext(places[0], trace_id, span_id, flags)


def header_value(trace_id: int, span_id: int, flags: int) -> bytes:
    """The value of the header; as long as every valid one, so the size of a record does not change."""
    return b"00-%032x-%016x-%02x" % (trace_id, span_id, flags)
