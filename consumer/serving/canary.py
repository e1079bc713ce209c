"""Texts that a new bundle has to label much as the one before it did."""

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from consumer.errors import UsageError
from consumer.model.labeller import Labeller, Scored
from consumer.records.parse import Limits, ParsedReview, parse
from consumer.records.record import Record
from consumer.settings import WorkerSettings

log = logging.getLogger(__name__)

#: Texts of a canary file at most: they are labelled at every start as well.
MOST_TEXTS = 1000
#: Labelled between two looks at whether to go on.
_AT_ONCE = 32

#: A label for each text; None if the model fails on it.
Answers = tuple[str | None, ...]


@dataclass(frozen=True, slots=True)
class Canary:
    """The texts of `canary_file`; none if it is not set."""

    texts: tuple[str, ...] = ()

    def ask(self, labeller: Labeller, at_work: Callable[[], None] = lambda: None) -> Answers:
        """The labels that `labeller` gives; `at_work` is called every few texts."""
        answers: list[str | None] = []
        for start in range(0, len(self.texts), _AT_ONCE):
            results = labeller.classify(self.texts[start : start + _AT_ONCE], at_work).results
            answers += [result.label if isinstance(result, Scored) else None for result in results]
            at_work()
        return tuple(answers)


def differing(before: Answers, after: Answers) -> int:
    """How many of the texts have another label than before."""
    return sum(one != other for one, other in zip(before, after, strict=True))


def read_canary(settings: WorkerSettings) -> Canary:
    """The texts of `canary_file`, read as the records of the input topic are; none if it is not set.

    Raises:
        UsageError: it cannot be read, a row has no text, or there are too many.
    """
    path = settings.canary_file
    if path is None:
        return Canary()
    texts = tuple(islice(_texts(path, settings), MOST_TEXTS + 1))
    if not texts:
        raise UsageError(f"canary_file {path} has no rows; write some texts into it, or unset canary_file")
    if len(texts) > MOST_TEXTS:
        raise UsageError(
            f"canary_file {path} has more than {MOST_TEXTS:,} texts; keep fewer: they are labelled at each start"
        )
    return Canary(texts)


def _texts(path: Path, settings: WorkerSettings) -> Iterator[str]:
    # Readers of tables are only imported by workers that read one.
    from consumer.tables.rows import open_rows
    from consumer.tables.table import GUESSED
    from consumer.tables.text_values import text_or_reason

    limits = Limits.of(settings)
    _, rows = open_rows(path, GUESSED, settings.text_field, log.warning)
    for row in rows:
        text: str | None = None
        if isinstance(row.content, bytes):
            review = parse(Record("", 0, row.number, -1, None, row.content), limits)
            text = review.text if isinstance(review, ParsedReview) else None
        elif isinstance(row.content, Mapping):
            text, _ = text_or_reason(row.content[settings.text_field])
        if text is None:
            raise UsageError(f"row {row.number} of canary_file {path} has no text in {settings.text_field}; correct it")
        yield text
