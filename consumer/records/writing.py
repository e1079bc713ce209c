"""How JSON is written: numbers keep every digit that they were read with."""

from typing import Any

import jiter
import orjson

from consumer.records.parse import is_finite


def as_json(value: Any) -> bytes:
    """`value` in compact JSON; NaN and infinities are null.

    Raises:
        TypeError: it holds a type that JSON does not have, or half of a surrogate pair.
    """
    try:
        return orjson.dumps(value, default=_number)
    except TypeError:
        return orjson.dumps(_spelled_out(value), default=_number)


def _number(value: Any) -> orjson.Fragment:
    """How orjson writes a type that it does not know: a number as it was read, or null for what JSON does not have."""
    if isinstance(value, jiter.LosslessFloat):
        return orjson.Fragment(bytes(value) if is_finite(value) else b"null")
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
