"""Texts without labels, from which a student learns what its teacher says of them."""

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from consumer.errors import UsageError
from consumer.tables.text_values import text_or_reason
from training.data.duplicates import normalised_all
from training.data.leaks import find_leaks
from training.data.prepare import DataOptions, Prepared, check_leaks
from training.data.reviews import Reviews, file_sha256
from training.data.texts import read_texts

#: The label of such a text.
NONE = ""


def read_unlabeled(
    path: Path, column: str | None, data: Prepared, options: DataOptions, say: Callable[[str], None]
) -> Reviews:
    """The texts of `path` to train on: each once, none of the training file, and none like a test text.

    Args:
        path: one of the files that `read_texts` reads.
        column: see `read_texts`.
        data: the labelled rows.
        options: how texts are compared, and how many of the test texts may occur in `path`.
        say: receives what is left out.

    Raises:
        UsageError: the file cannot be read, lacks the column, or holds more of the test texts than `options` allow.
    """
    try:
        reviews = read_only_texts(path, column, options, lambda line: say(_renamed(line)))
    except UsageError as error:
        raise UsageError(_renamed(str(error))) from None
    first: dict[str, int] = {}
    for row, key in enumerate(normalised_all(reviews.texts)):
        first.setdefault(key, row)
    labelled = set(normalised_all(data.train.texts))
    new = [row for key, row in first.items() if key not in labelled]
    if repeats := len(reviews) - len(new):
        say(f"{path.name}: {repeats} texts repeated or also in {data.train.path.name} left out")
    reviews = reviews.only(new)
    leaks = check_leaks(reviews, data.test, options, say, what=path.name)
    if leaks:
        say(f"{len(leaks.train_rows)} texts of {path.name} are left out for it")
        reviews = reviews.only(row for row in range(len(reviews)) if row not in leaks.train_rows)
    if not len(reviews):
        raise UsageError(f"no text of {path} is left to learn from: give another --unlabeled, or none")
    say(f"{len(reviews)} texts without labels")
    return reviews


def unlike_held_out(
    texts: Reviews, parts: Sequence[Reviews | None], near: float, say: Callable[[str], None]
) -> Reviews:
    """`texts` without near duplicates of the rows of `parts`, which are held out of the training file."""
    known = frozenset[int]().union(*(find_leaks(texts, part, near).train_rows for part in parts if part))
    if known:
        say(f"{len(known)} texts without labels are left out, which nearly repeat rows that are held out")
    return texts.only(row for row in range(len(texts)) if row not in known)


def read_only_texts(path: Path, column: str | None, options: DataOptions, say: Callable[[str], None]) -> Reviews:
    """The texts of `path`, each with the label `NONE`; rows without a text are left out and reported.

    Args:
        path: one of the files that `read_texts` reads.
        column: see `read_texts`.
        options: how tables are read.
        say: receives what was guessed, and what is left out.

    Raises:
        UsageError: the file cannot be read, lacks the column, or holds no text.
    """
    texts: list[str] = []
    places: list[int | str] = []
    bad: Counter[str] = Counter()
    for row in read_texts(str(path), column, say, options.table, with_others=False):
        text, reason = text_or_reason(row.text)
        if text is None:
            bad[row.reason or str(reason)] += 1
        else:
            texts.append(text)
            places.append(row.row)
    if not texts:
        raise UsageError(f"{path} has no usable text" + (f" ({next(iter(bad))})" if bad else ": it is empty"))
    for reason, count in bad.items():
        say(f"{path.name}: {count} rows left out: {reason}")
    return Reviews(path, file_sha256(path), tuple(texts), (NONE,) * len(texts), places=tuple(places))


def _renamed(line: str) -> str:
    """What the reader says, with the option of this file; the one that it names belongs to the labelled files."""
    return line.replace("--text-column", "--unlabeled-column")
