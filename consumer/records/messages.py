"""The three JSON contracts, and how predictions and dead letters are written."""

import hashlib
from datetime import UTC, datetime
from typing import Any

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from consumer.records.fault import Detail, Fault, Reason
from consumer.records.parse import ParsedReview
from consumer.records.record import Record
from consumer.records.writing import as_json

#: Values of the header `dead-letter-detail`.
DETAIL_PATTERN = rf"^({'|'.join(Detail)})( at byte \d+)?$"


class Review(BaseModel):
    """Value of an input record.

    All other fields are copied to the prediction unchanged, except that NaN, Infinity and -Infinity, which some
    producers write and JSON does not have, become null.
    """

    model_config = ConfigDict(frozen=True, extra="allow", title="Review")

    text: str = Field(min_length=1, description="the review; must not be blank")
    id: Any = Field(
        None,
        description="id of the review: any string, number, true or false. If it is missing, null, empty, an object or "
        "an array, topic-partition-offset of the record is used",
    )


class Model(BaseModel):
    """The model that made a prediction."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    version: str
    digest: str = Field(description="SHA-256 of the bundle's manifest.json", pattern=r"^[0-9a-f]{64}$")
    variant: str = Field(description="precision variant, for example int8")
    member: str | None = Field(None, description="the model of a cascade that answered; absent if there is one model")


class Source(BaseModel):
    """Coordinates of the input record."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    topic: str
    partition: int = Field(ge=0)
    offset: int = Field(ge=0)
    timestamp: AwareDatetime | None = Field(description="timestamp of the input record; null if it has none")


class Prediction(BaseModel):
    """Value of an output record, with all other fields of the review next to these.

    A field of the review that has the name of one of these is moved to `carried`. The record has the key and the
    headers of its input, then source-topic, source-partition, source-offset, source-timestamp (milliseconds since 1970;
    absent if the input record has none) and, with exactly-once delivery, source-lineage. A null header value becomes an
    empty one.
    """

    model_config = ConfigDict(frozen=True, extra="allow", title="Prediction")

    id: str = Field(description="id of the review as it was written, as a string")
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
    carried: dict[str, Any] | None = Field(
        None, description="fields of the review whose names are used above; also an `id` that is an object or an array"
    )


class DeadLetter(BaseModel):
    """Headers of a dead-letter record, added to those of the input record; key and value are the original bytes.

    A null value of a header of the input record becomes an empty one: the client cannot send null there.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", title="DeadLetter", populate_by_name=True)

    source_topic: str = Field(alias="source-topic")
    source_partition: str = Field(alias="source-partition", pattern=r"^\d+$")
    source_offset: str = Field(alias="source-offset", pattern=r"^\d+$")
    source_timestamp: str | None = Field(
        None,
        alias="source-timestamp",
        pattern=r"^\d+$",
        description="timestamp of the input record in milliseconds since 1970; absent if it has none",
    )
    source_lineage: str | None = Field(
        None,
        alias="source-lineage",
        description="which history of commits it belongs to; absent if at least once",
    )
    reason: Reason = Field(alias="dead-letter-reason")
    detail: str | None = Field(
        None,
        alias="dead-letter-detail",
        pattern=DETAIL_PATTERN,
        description="the cause, and the byte of the value at which the parser stopped, counted from 0; absent if the "
        "reason says it all",
    )
    sha256: str = Field(alias="dead-letter-sha256", description="SHA-256 of the original value; of nothing for null")
    value_bytes: str = Field(alias="dead-letter-bytes", description="size of the original value; -1 for null")
    cut: str | None = Field(
        None,
        alias="dead-letter-cut",
        description="what was cut from a record too large to copy: value, or value,headers,key",
    )


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
    return as_json(prediction)


def source_headers(source: Record) -> list[tuple[str, bytes]]:
    """The coordinates in every output and dead-letter record, after the headers of its input."""
    headers = [
        ("source-topic", source.topic.encode("ascii")),
        ("source-partition", b"%d" % source.partition),
        ("source-offset", b"%d" % source.offset),
    ]
    return headers if source.timestamp_ms < 0 else [*headers, ("source-timestamp", b"%d" % source.timestamp_ms)]


def dead_letter_headers(source: Record, fault: Fault, cut: str | None = None) -> list[tuple[str, bytes]]:
    """Headers of a dead letter, which follow those of its input; see `DeadLetter`."""
    value = source.value
    headers = [
        *source_headers(source),
        ("dead-letter-reason", fault.reason.encode()),
        ("dead-letter-sha256", hashlib.sha256(value or b"").hexdigest().encode()),
        ("dead-letter-bytes", b"%d" % (-1 if value is None else len(value))),
    ]
    if fault.detail is not None:
        headers.append(("dead-letter-detail", str(fault).encode()))
    return headers if cut is None else [*headers, ("dead-letter-cut", cut.encode())]


def _utc(timestamp_ms: int) -> str | None:
    """ISO 8601; None for a record without a timestamp, or with one outside the calendar."""
    if timestamp_ms < 0:
        return None
    try:
        return datetime.fromtimestamp(timestamp_ms / 1000, UTC).isoformat(timespec="milliseconds")
    except (OverflowError, ValueError, OSError):
        return None
