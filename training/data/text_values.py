"""Which values of a table or a list are texts."""

import numbers
from typing import Any

from consumer.model.text import is_blank

NO_TEXT = "no text"
NOT_UNICODE = "not valid UTF-8"


def text_or_reason(value: Any) -> tuple[str | None, str | None]:
    """A text that can be tokenised, or why `value` is none."""
    if _is_missing(value):
        return None, NO_TEXT
    if not isinstance(value, (str, numbers.Number)):
        return None, f"not a text ({type(value).__name__})"
    text = str(value)
    try:
        text.encode()
    except UnicodeEncodeError:  # half a surrogate pair, or a byte that a file reader could not decode
        return None, NOT_UNICODE
    return (None, NO_TEXT) if is_blank(text) else (text, None)


def _is_missing(value: Any) -> bool:
    """None, NaN, and the missing values of pandas."""
    if isinstance(value, str):
        return False
    try:
        return value is None or bool(value != value)  # noqa: PLR0124 - NaN differs from itself
    except TypeError:
        return True  # pandas.NA does not know whether it differs from itself
    except ValueError:
        return False  # an array
