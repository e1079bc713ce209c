"""The names of columns: usual ones, and how a wanted one is found."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from consumer.errors import UsageError

#: Receives what was guessed.
Say = Callable[[str], None]

#: Columns of a directory with a folder of text files for each label.
FILE_TEXT, FOLDER = "text of the file", "folder"

#: Names of columns that are taken without asking, the likeliest first; upper and lower case are the same.
TEXT_NAMES = (
    *(FILE_TEXT, "Reviews", "review", "text", "review_text", "reviewText", "comment", "comment_text", "content"),
    *("sentence", "body", "document", "message", "texts"),
)
LABEL_NAMES = (
    *(FOLDER, "Sentiment", "label", "labels", "sentiments", "class", "category", "target", "polarity"),
    *("rating", "stars", "score"),
)

#: Characters of a column name that are shown; a file without header has a whole review there.
SHOWN_NAME = 40


@dataclass(frozen=True)
class Columns:
    """Names of the columns of texts and of labels; None: found by their usual names."""

    text: str | None = None
    label: str | None = None


USUAL = Columns()


def find_column(names: Sequence[str], wanted: str | None, usual: Iterable[str]) -> str | None:
    """`wanted` itself, or the first of the `usual` names that is among `names`; None: it is not there.

    A line break in a name is a blank. In usual names, case and underscores do not matter.
    """
    if wanted is not None:
        if wanted in names:
            return wanted
        alike = [name for name in names if _one_line(name) == _one_line(wanted)]
        return alike[0] if len(alike) == 1 else None
    folded = {_usual_form(name): name for name in reversed(names)}
    return next((folded[_usual_form(name)] for name in usual if _usual_form(name) in folded), None)


def text_column(source: str, names: Sequence[str], wanted: str | None, say: Say, advice: str = "") -> int:
    """Which of the columns `names` holds the text; tells `say` if it was guessed among several.

    Raises:
        UsageError: `wanted` is not among them, or nothing tells which one it is.
    """
    name = guessed_text_column(source, names, wanted, say)
    if name is not None:
        return names.index(name)
    found = listed(names)
    if wanted is not None:
        raise UsageError(f"{source} lacks the column {wanted!r}; it has {found}{advice}")
    if len(names) == 1:
        return 0
    raise UsageError(f"{source} has the columns {found}: name the column of texts with --text-column{advice}")


def guessed_text_column(source: str, names: Sequence[str], wanted: str | None, say: Say) -> str | None:
    """The `wanted` column or one of `TEXT_NAMES`; None: neither is there. Tells `say` if it was guessed."""
    name = find_column(names, wanted, TEXT_NAMES)
    if name is not None and wanted is None and len(names) > 1:
        say(f"{source}: texts are read from {name!r}; choose another column with --text-column")
    return name


def listed(names: Sequence[str]) -> str:
    """`names` for a message, without the whole review that a table without a header has there."""
    return ", ".join(repr(name if len(name) <= SHOWN_NAME else f"{name[:SHOWN_NAME]}…") for name in names) or "none"


def _one_line(name: str) -> str:
    return " ".join(name.split())


def _usual_form(name: str) -> str:
    return _one_line(name.replace("_", " ")).casefold()
