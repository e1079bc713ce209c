"""Prepares a text before it is tokenised, in the same way for the worker and for training."""

import re
import unicodedata

_HTML_BREAK = re.compile(r"<br\s*/?>", re.IGNORECASE)


def clean(text: str) -> str:
    """Replace HTML line breaks, common in scraped reviews, by newlines."""
    return _HTML_BREAK.sub("\n", text)


def is_blank(text: str) -> bool:
    """Whether `text` has only whitespace, line breaks, and control or format characters.

    A model would label such a text too, but the label would mean nothing.
    """
    return all(letter.isspace() or unicodedata.category(letter) in ("Cc", "Cf") for letter in clean(text))
