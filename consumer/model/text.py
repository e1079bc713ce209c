"""What a review says before it is cut into tokens: the same for the worker and for training."""

import re
import unicodedata

_HTML_BREAK = re.compile(r"<br\s*/?>", re.IGNORECASE)


def clean(text: str) -> str:
    """Replace HTML line breaks, which scraped reviews carry, by newlines."""
    return _HTML_BREAK.sub("\n", text)


def is_blank(text: str) -> bool:
    """Whether `text` has nothing to read: only blanks, breaks, and characters that control or format.

    A model labels such a text too, as whatever the absence of words looks like to it.
    """
    return all(letter.isspace() or unicodedata.category(letter) in ("Cc", "Cf") for letter in clean(text))
