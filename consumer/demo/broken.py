"""Records that cannot be labelled, each with the reason that its dead letter must have."""

import json

from consumer.records.fault import Reason

BROKEN: tuple[tuple[Reason, bytes | None], ...] = (
    (Reason.NOT_JSON, b"A lovely film. I forgot that this topic wants JSON."),
    (Reason.NOT_JSON, b'{"id": "broken-2", "film": "Harbour Lights", "stars": 4, "text": "The last twenty minu'),
    (Reason.NOT_JSON, b'{"id": "broken-3", "text": "Latin-1 in a UTF-8 world: caf\xe9, na\xefve, d\xe9j\xe0 vu"}'),
    (Reason.NOT_JSON, b'{"id": "broken-4", "text": ' + b"[" * 5000 + b"]" * 5000 + b"}"),
    (Reason.NOT_JSON, rb'{"id": "broken-5", "text": "half of an emoji: \ud83d"}'),
    (Reason.NOT_JSON, b"\x00\x01\x8f\xff\xfe\x00binary"),
    (Reason.NOT_AN_OBJECT, b'["broken-7", "A list is not a review."]'),
    (Reason.NOT_AN_OBJECT, b'"Neither is a string."'),
    (Reason.INVALID_TEXT, b'{"id": "broken-9", "film": "Harbour Lights", "stars": 1}'),
    (Reason.INVALID_TEXT, b'{"id": "broken-10", "film": "Harbour Lights", "text": 10}'),
    (Reason.EMPTY_TEXT, b'{"id": "broken-11", "film": "Harbour Lights", "text": " \\n\\t "}'),
    (Reason.NOT_AN_OBJECT, rb'"{\"id\": \"broken-12\", \"film\": \"Harbour Lights\", \"text\": \"Encoded twice.\"}"'),
    (Reason.TEXT_TOO_LONG, json.dumps({"id": "broken-13", "text": "boring " * 143_000}).encode()),
    (Reason.TOMBSTONE, None),
)
