"""The three JSON contracts, and how bytes become one of them.

    bytes ── parse ──▶ Review ── (classifier) ──▶ Prediction
                  └──▶ DeadLetter ◀── a review that the model fails on

A bad record is a value, never an exception: every sequence of bytes has exactly one of these outcomes.
"""

import hashlib
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any

import jiter
import orjson
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints

from consumer.model.text import is_blank
from consumer.records.record import Record

#: No spaces, control characters or quotes: an id may stand in a log line, a header or a shell command.
ID_PATTERN = r"^[A-Za-z0-9._:-]{1,64}$"
_ID = re.compile(ID_PATTERN, re.ASCII)


class Reason(StrEnum):
    """Why a record became a dead letter; a closed set, used as a header and as a metric label."""

    TOMBSTONE = "tombstone"
    TOO_LARGE = "too_large"
    NOT_JSON = "not_json"
    NOT_AN_OBJECT = "not_an_object"
    INVALID_TEXT = "invalid_text"
    EMPTY_TEXT = "empty_text"
    TEXT_TOO_LONG = "text_too_long"
    INVALID_ID = "invalid_id"
    MODEL_ERROR = "model_error"
    PREDICTION_TOO_LARGE = "prediction_too_large"


class Review(BaseModel):
    """Value of an input record. All other fields are copied to the prediction unchanged."""

    model_config = ConfigDict(frozen=True, extra="allow", title="Review")

    text: str = Field(min_length=1, description="the review; must not be blank")
    id: Annotated[str, StringConstraints(pattern=ID_PATTERN)] | int | None = Field(
        None, description="id of the review; default: topic-partition-offset of its record"
    )


class Model(BaseModel):
    """The model that made a prediction."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    version: str
    digest: str = Field(description="SHA-256 of the bundle's manifest.json", pattern=r"^[0-9a-f]{64}$")
    variant: str = Field(description="precision variant, for example int8")


class Source(BaseModel):
    """Coordinates of the input record."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    topic: str
    partition: int = Field(ge=0)
    offset: int = Field(ge=0)
    timestamp: AwareDatetime | None = Field(description="timestamp of the input record; null if it has none")


class Prediction(BaseModel):
    """Value of an output record, with all other fields of the review next to these.

    A field of the review that has the name of one of these is moved to `carried`.
    """

    model_config = ConfigDict(frozen=True, extra="allow", title="Prediction")

    id: str = Field(description="id of the review, as a string")
    label: str = Field(description="the most probable label")
    score: float = Field(ge=0, le=1, description="its probability")
    probabilities: dict[str, float] = Field(description="probability of each label")
    model: Model
    source: Source
    tokens: int = Field(ge=0, description="tokens that the model read")
    truncated: bool = Field(description="whether the model read only part of the text")
    unsure: bool | None = Field(None, description="below the model's threshold (absent without one), or words unknown")
    unknown: float = Field(
        0.0, ge=0, le=1, description="share of the words that the model does not know; 1 if no words"
    )
    processed_at: AwareDatetime
    carried: dict[str, Any] | None = Field(None, description="fields of the review whose names are used above")


class DeadLetter(BaseModel):
    """Headers of a dead-letter record, added to those of the input record; key and value are the original bytes."""

    model_config = ConfigDict(frozen=True, extra="forbid", title="DeadLetter", populate_by_name=True)

    source_topic: str = Field(alias="source-topic")
    source_partition: str = Field(alias="source-partition", pattern=r"^\d+$")
    source_offset: str = Field(alias="source-offset", pattern=r"^\d+$")
    source_lineage: str | None = Field(
        None,
        alias="source-lineage",
        description="which history of commits it belongs to; absent if at least once",
    )
    reason: Reason = Field(alias="dead-letter-reason")
    sha256: str = Field(alias="dead-letter-sha256", description="SHA-256 of the original value; of nothing for null")
    value_bytes: str = Field(alias="dead-letter-bytes", description="size of the original value; -1 for null")
    cut: str | None = Field(
        None,
        alias="dead-letter-cut",
        description="what was cut from a record too large to copy: value, or value,headers,key",
    )


@dataclass(frozen=True, slots=True)
class ParsedReview:
    """A review that can be labelled; `fields` are all its other fields, with numbers as exact decimals."""

    id: str
    text: str
    fields: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Limits:
    """Field names and size limits of an input value."""

    text_field: str = "text"
    id_field: str = "id"
    max_record_bytes: int = 1_048_576
    max_text_characters: int = 1_000_000


def parse(record: Record, limits: Limits) -> ParsedReview | Reason:
    """The review in the value of `record`, or the reason why the record is a dead letter."""
    if record.value is None:
        return Reason.TOMBSTONE
    if len(record.value) > limits.max_record_bytes:
        return Reason.TOO_LARGE
    try:
        # Strict UTF-8, no lone surrogates, no NaN, no duplicate names, bounded nesting; numbers keep every digit.
        fields = jiter.from_json(
            record.value, allow_inf_nan=False, cache_mode="keys", catch_duplicate_keys=True, float_mode="decimal"
        )
    except ValueError:
        return Reason.NOT_JSON
    if not isinstance(fields, dict):
        return Reason.NOT_AN_OBJECT
    text = fields.pop(limits.text_field, None)
    if not isinstance(text, str):
        return Reason.INVALID_TEXT
    if is_blank(text):
        return Reason.EMPTY_TEXT
    if len(text) > limits.max_text_characters:
        return Reason.TEXT_TOO_LONG
    identity = fields.pop(limits.id_field, None)
    if identity is None:
        identity = f"{record.topic}-{record.partition}-{record.offset}"
    elif isinstance(identity, int) and not isinstance(identity, bool):
        identity = str(identity)
        if len(identity) > 64:
            return Reason.INVALID_ID
    elif not isinstance(identity, str) or not _ID.fullmatch(identity):
        return Reason.INVALID_ID
    return ParsedReview(identity, text, fields)


_OWN_FIELDS = frozenset(Prediction.model_fields)


def prediction_json(review: ParsedReview, source: Record, own: dict[str, Any]) -> bytes:
    """Value of the output record; `own` holds the fields that the model determines, from label to unknown."""
    taken = {name: value for name, value in review.fields.items() if name in _OWN_FIELDS}
    prediction = {
        "id": review.id,
        **own,
        "source": {
            "topic": source.topic,
            "partition": source.partition,
            "offset": source.offset,
            "timestamp": _utc(source.timestamp_ms),
        },
        "processed_at": datetime.now(UTC).isoformat(timespec="milliseconds"),
        **{name: value for name, value in review.fields.items() if name not in _OWN_FIELDS},
    }
    if taken:
        prediction["carried"] = taken
    try:
        return orjson.dumps(prediction, default=_decimal)
    except TypeError:
        return orjson.dumps(_spelled_out(prediction), default=_decimal)


def _decimal(value: Any) -> orjson.Fragment:
    """How orjson writes a type that it does not know: a number with all its digits, as it was read."""
    if isinstance(value, Decimal):
        return orjson.Fragment(str(value))
    raise TypeError


def _spelled_out(value: Any) -> Any:
    """`value` with integers of more than 64 bits as fragments, because orjson refuses them."""
    if isinstance(value, dict):
        return {name: _spelled_out(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_spelled_out(each) for each in value]
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        return orjson.Fragment(str(value))
    return value


def source_headers(source: Record) -> list[tuple[str, bytes]]:
    """The coordinates in every output and dead-letter record, after the headers of its input."""
    return [
        ("source-topic", source.topic.encode("ascii")),
        ("source-partition", b"%d" % source.partition),
        ("source-offset", b"%d" % source.offset),
    ]


def dead_letter_headers(source: Record, reason: Reason, cut: str | None = None) -> list[tuple[str, bytes]]:
    """Headers of a dead letter, which follow those of its input; see `DeadLetter`."""
    value = source.value
    headers = [
        *source_headers(source),
        ("dead-letter-reason", reason.encode()),
        ("dead-letter-sha256", hashlib.sha256(value or b"").hexdigest().encode()),
        ("dead-letter-bytes", b"%d" % (-1 if value is None else len(value))),
    ]
    return headers if cut is None else [*headers, ("dead-letter-cut", cut.encode())]


def _utc(timestamp_ms: int) -> str | None:
    """ISO 8601; None for a record without a timestamp, or with one outside the calendar."""
    if timestamp_ms < 0:
        return None
    try:
        return datetime.fromtimestamp(timestamp_ms / 1000, UTC).isoformat(timespec="milliseconds")
    except (OverflowError, ValueError, OSError):
        return None
