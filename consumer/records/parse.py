"""From the bytes of a record to a review, or to the reason why it is none.

    bytes ── parse ──▶ ParsedReview ── (classifier) ──▶ Prediction
                  └──▶ Fault ────────────────────────▶ DeadLetter ◀── a review that the model fails on

A bad record is a value, never an exception: every sequence of bytes has exactly one of these outcomes.
"""

import codecs
from dataclasses import dataclass
from typing import Any

import jiter

from consumer.model.texts.cleaning import is_blank
from consumer.records.fault import Detail, Fault, Reason
from consumer.records.not_json import REGISTRY_FRAME_BYTES, REGISTRY_MAGIC, why_not_json
from consumer.records.record import Record
from consumer.settings import Framing, WorkerSettings


@dataclass(frozen=True, slots=True)
class ParsedReview:
    """A review that can be labelled; `fields` are all its other fields, with numbers as they were written."""

    id: str
    text: str
    fields: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Limits:
    """Framing, field names and size limits of an input value."""

    text_field: str = "text"
    id_field: str = "id"
    max_record_bytes: int = 1_048_576
    max_text_characters: int = 1_000_000
    framing: Framing = Framing.NONE

    @classmethod
    def of(cls, settings: WorkerSettings) -> "Limits":
        """As `settings` say."""
        return cls(
            settings.text_field,
            settings.id_field,
            settings.max_record_bytes,
            settings.max_text_characters,
            settings.value_framing,
        )


def parse(record: Record, limits: Limits) -> ParsedReview | Fault:
    """The review in the value of `record`, or the reason why the record is a dead letter."""
    if record.value is None:
        return Fault(Reason.TOMBSTONE)
    if len(record.value) > limits.max_record_bytes:
        return Fault(Reason.TOO_LARGE)
    fields = read_json(record.value, limits.framing)
    if isinstance(fields, Fault):
        return fields
    if not isinstance(fields, dict):
        return Fault(Reason.NOT_AN_OBJECT, Detail.ENCODED_TWICE if _is_encoded_twice(fields) else _type_of(fields))
    holder, name = _find(fields, limits.text_field)
    if name not in holder:
        return Fault(Reason.INVALID_TEXT, Detail.MISSING)
    text = holder.pop(name)
    if not isinstance(text, str):
        return Fault(Reason.INVALID_TEXT, _type_of(text))
    if is_blank(text):
        return Fault(Reason.EMPTY_TEXT)
    if len(text) > limits.max_text_characters:
        return Fault(Reason.TEXT_TOO_LONG)
    identity = _take_id(fields, limits.id_field) or f"{record.topic}-{record.partition}-{record.offset}"
    return ParsedReview(identity, text, fields)


def read_json(value: bytes, framing: Framing = Framing.NONE) -> Any:
    """The value that these bytes are in JSON, or the `Fault` that says why they are not JSON."""
    start = 0
    if framing is Framing.SCHEMA_REGISTRY and value.startswith(REGISTRY_MAGIC):
        start = REGISTRY_FRAME_BYTES
    if value.startswith(codecs.BOM_UTF8, start):
        start += len(codecs.BOM_UTF8)
    try:
        # Strict UTF-8, no lone surrogates, no duplicate names, bounded nesting; numbers keep every digit.
        return jiter.from_json(
            value[start:],
            allow_inf_nan=True,
            cache_mode="keys",
            catch_duplicate_keys=True,
            float_mode="lossless-float",
        )
    except ValueError as error:
        return why_not_json(value, start, str(error))


def _find(fields: dict[str, Any], path: str) -> tuple[dict[str, Any], str]:
    """The object that may hold the field at `path`, and its name there.

    A field with exactly this name wins; otherwise dots lead into objects, never into arrays.
    """
    if path in fields:
        return fields, path
    *parents, name = path.split(".")
    holder: Any = fields
    for parent in parents:
        holder = holder.get(parent)
        if not isinstance(holder, dict):
            return {}, name
    return holder, name


def _take_id(fields: dict[str, Any], path: str) -> str | None:
    """Take the id out of `fields`; None if there is none. An object, an array or a NaN stays there: it is no id."""
    holder, name = _find(fields, path)
    match holder.get(name):
        case bool(truth):
            identity = "true" if truth else "false"
        case str() | int() as plain:
            identity = str(plain)
        case jiter.LosslessFloat() as number if is_finite(number):
            identity = str(number)
        case None:
            identity = ""
        case _:
            return None
    holder.pop(name, None)
    return identity or None


def is_finite(number: jiter.LosslessFloat) -> bool:
    """Whether JSON has this number: not NaN, Infinity or -Infinity."""
    return bytes(number)[-1:].isdigit()


def _is_encoded_twice(value: Any) -> bool:
    if not isinstance(value, str) or not value.lstrip().startswith("{"):
        return False
    try:
        return isinstance(jiter.from_json(value.encode()), dict)
    except ValueError:
        return False


def _type_of(value: Any) -> Detail:
    match value:
        case None:
            return Detail.NULL
        case bool():
            return Detail.BOOLEAN
        case str():
            return Detail.STRING
        case list():
            return Detail.ARRAY
        case dict():
            return Detail.OBJECT
        case _:
            return Detail.NUMBER
