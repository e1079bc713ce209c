"""Which values of a table or a list are texts: one rule for every command.

Strings are, and numbers, as their digits. What a spreadsheet made of something else that was typed is not: its cell no
longer holds what was written. "10/10" became a date, "9:30" a time, "100 %" the number 1, and "true" a truth value.
"""

import datetime
import numbers
from typing import Any

from consumer.model.texts.cleaning import is_blank
from consumer.tables.table import Percentage

NO_TEXT = "no text"
NOT_UNICODE = "not valid UTF-8"


#: What else is in cells and lists, first match first; types of numpy and pandas by name, so that neither is loaded.
_NO_TEXTS: tuple[tuple[tuple[type, ...], frozenset[str], str], ...] = (
    ((bool,), frozenset({"bool_", "bool"}), "TRUE or FALSE"),
    ((datetime.date,), frozenset({"datetime64"}), "a date"),
    ((datetime.time, datetime.timedelta), frozenset({"timedelta64"}), "a time"),
    ((Percentage,), frozenset(), "a percentage"),
    ((bytes, bytearray, memoryview), frozenset(), "bytes"),
    ((list, tuple, set, frozenset, dict), frozenset({"ndarray", "Series"}), "a list"),
)


def text_or_reason(value: Any) -> tuple[str | None, str | None]:
    """A text that can be tokenised, or why `value` is none."""
    if isinstance(value, str):
        text = value
    elif _is_missing(value):
        return None, NO_TEXT
    elif kind := other_kind(value):
        return None, f"{kind}, not a text"
    else:
        text = str(value)
    try:
        text.encode()
    except UnicodeEncodeError:  # half a surrogate pair, or a byte that a file reader could not decode
        return None, NOT_UNICODE
    return (None, NO_TEXT) if is_blank(text) else (text, None)


def other_kind(value: Any) -> str | None:
    """What `value` is if it is neither a string nor a number: "a date", for example; None if it is one of these."""
    name = type(value).__name__
    for types, names, kind in _NO_TEXTS:
        if isinstance(value, types) or name in names:
            return kind
    return None if isinstance(value, (str, numbers.Number)) else f"of the type {name}"


def _is_missing(value: Any) -> bool:
    """None, NaN, and the missing values of pandas."""
    try:
        return value is None or bool(value != value)  # noqa: PLR0124 - NaN differs from itself
    except TypeError:
        return True  # pandas.NA does not know whether it differs from itself
    except ValueError:
        return False  # an array
