"""Why bytes are not JSON. Runs only after the parser has refused them, so it may take its time."""

import codecs
import json
import re

from consumer.records.fault import Detail, Fault, Reason

#: First bytes of gzip, zstd, LZ4, xz, bzip2, ZIP and the two framings of Snappy.
_COMPRESSED = (
    b"\x1f\x8b",
    b"\x28\xb5\x2f\xfd",
    b"\x04\x22\x4d\x18",
    b"\xfd7zXZ\x00",
    b"BZh",
    b"PK\x03\x04",
    b"\xff\x06\x00\x00sNaPpY",
    b"\x82SNAPPY\x00",
)
#: Magic byte of a schema registry, and the size of what it starts: the byte itself and a schema id.
REGISTRY_MAGIC, REGISTRY_FRAME_BYTES = b"\x00", 5
#: How the messages of the parser begin. What follows may repeat a key, so only the beginning is compared.
_MESSAGES = {
    "EOF while": Detail.TRUNCATED,
    "trailing characters": Detail.TRAILING_DATA,
    "Detected duplicate key": Detail.DUPLICATE_KEY,
    "recursion limit": Detail.NESTING,
    "invalid number": Detail.INVALID_NUMBER,
    "number out of range": Detail.INVALID_NUMBER,
    "invalid escape": Detail.INVALID_ESCAPE,
    "control character": Detail.CONTROL_CHARACTER,
    "unexpected end of hex escape": Detail.LONE_SURROGATE,
    "lone leading surrogate": Detail.LONE_SURROGATE,
}
_PLACE = re.compile(r" at line (\d+) column (\d+)$")
_BLANKS = b" \t\r\n"


def why_not_json(value: bytes, start: int, refusal: str) -> Fault:
    """Name the cause.

    Args:
        value: of the record.
        start: where the JSON was expected to start, after a frame and a byte order mark.
        refusal: the parser's message about `value[start:]`.
    """
    content = value[start:]
    if not content.strip(_BLANKS):
        return Fault(Reason.NOT_JSON, Detail.EMPTY)
    if foreign := _foreign(content):
        return Fault(Reason.NOT_JSON, foreign)
    try:
        content.decode()
    except UnicodeDecodeError as error:
        return Fault(Reason.NOT_JSON, Detail.INVALID_UTF8, start + error.start)
    detail = next((each for begin, each in _MESSAGES.items() if refusal.startswith(begin)), Detail.SYNTAX)
    position = len(content) if detail is Detail.TRUNCATED else _position(content, refusal)
    return Fault(Reason.NOT_JSON, detail, start + position)


def _foreign(content: bytes) -> Detail | None:
    """The format of `content` if it is a known one that is not JSON in UTF-8."""
    if content.startswith(_COMPRESSED):
        return Detail.COMPRESSED
    if wide := _wide(content):
        return wide
    # Avro and Protobuf come in the same frame as JSON. Ids count from 1, so the first byte of a real one is 0 as well.
    framed = content[REGISTRY_FRAME_BYTES:].lstrip(_BLANKS)
    if content.startswith(REGISTRY_MAGIC) and framed and (content[1] == 0 or framed[0] in b"{["):
        return Detail.SCHEMA_REGISTRY_FRAMING
    return None


def _wide(content: bytes) -> Detail | None:
    """Whether this is JSON in UTF-16 or UTF-32, with or without a byte order mark."""
    encoding = json.detect_encoding(content)
    if encoding.startswith("utf-8"):
        return None
    try:
        text = codecs.decode(content, encoding)
    except UnicodeDecodeError:
        return None
    if not text.lstrip("\ufeff \t\r\n").startswith(("{", "[", '"')):
        return None
    return Detail.UTF_32 if "32" in encoding else Detail.UTF_16


def _position(content: bytes, refusal: str) -> int:
    """Index of the byte that the parser means by a line and a column, both counted from 1."""
    place = _PLACE.search(refusal)
    if place is None:
        return 0
    start = 0
    for _ in range(int(place[1]) - 1):
        start = content.index(b"\n", start) + 1
    return max(0, start + int(place[2]) - 1)
