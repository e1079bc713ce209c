"""Why a record became a dead letter: a reason, a detail and a position, never content."""

from dataclasses import dataclass
from enum import StrEnum


class Reason(StrEnum):
    """Why a record became a dead letter; a closed set, used as a header and as a metric label."""

    TOMBSTONE = "tombstone"
    TOO_LARGE = "too_large"
    NOT_JSON = "not_json"
    NOT_AN_OBJECT = "not_an_object"
    INVALID_TEXT = "invalid_text"
    EMPTY_TEXT = "empty_text"
    TEXT_TOO_LONG = "text_too_long"
    MODEL_ERROR = "model_error"
    PREDICTION_TOO_LARGE = "prediction_too_large"


class Detail(StrEnum):
    """The cause behind `not_json`, `not_an_object` or `invalid_text`; a closed set."""

    # not_json
    EMPTY = "empty"
    SYNTAX = "syntax"
    TRUNCATED = "truncated"
    TRAILING_DATA = "trailing_data"
    DUPLICATE_KEY = "duplicate_key"
    NESTING = "nesting"
    INVALID_NUMBER = "invalid_number"
    INVALID_ESCAPE = "invalid_escape"
    CONTROL_CHARACTER = "control_character"
    LONE_SURROGATE = "lone_surrogate"
    INVALID_UTF8 = "invalid_utf8"
    UTF_16 = "utf_16"
    UTF_32 = "utf_32"
    COMPRESSED = "compressed"
    SCHEMA_REGISTRY_FRAMING = "schema_registry_framing"
    # not_an_object
    ENCODED_TWICE = "encoded_twice"
    # invalid_text
    MISSING = "missing"
    # not_an_object and invalid_text: the type that is there instead
    NULL = "null"
    BOOLEAN = "boolean"
    NUMBER = "number"
    STRING = "string"
    ARRAY = "array"
    OBJECT = "object"


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a record cannot be labelled.

    Attributes:
        reason: one of a closed set.
        detail: the cause behind the reason; None if the reason says it all.
        position: index in the value of the byte at which the parser stopped; None if there is no such place.
    """

    reason: Reason
    detail: Detail | None = None
    position: int | None = None

    def __str__(self) -> str:
        """The value of the header `dead-letter-detail`; empty without a detail."""
        if self.detail is None:
            return ""
        return self.detail.value if self.position is None else f"{self.detail.value} at byte {self.position}"
