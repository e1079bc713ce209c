"""From two files to the rows that are trained on and the rows that are measured on; everything left out is told."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from consumer.errors import UsageError
from training.data import Reviews, read_reviews, without_duplicates, without_overlap

#: Bad rows that are named one by one; a file with more of them has one fault, not many.
NAMED_BAD_ROWS = 10


@dataclass(frozen=True)
class Prepared:
    """`train` has no duplicates and shares no text with `test`, which is as the file has it."""

    train: Reviews
    test: Reviews


def prepare(train_file: Path, test_file: Path, max_overlap: float, say: Callable[[str], None]) -> Prepared:
    """Read both files, report what is wrong with them, and take out of the training rows what must not be there.

    Args:
        train_file: see `read_reviews`.
        test_file: see `read_reviews`.
        max_overlap: largest share of test texts that may occur in the training file.
        say: told each finding, one line each.

    Raises:
        UsageError: a file cannot be used, their labels differ, or they overlap by more than `max_overlap`.
    """
    train, test = read_and_report(train_file, say), read_and_report(test_file, say)
    if unknown := sorted(set(test.labels) - set(train.labels)):
        raise UsageError(f"{test_file} has labels that {train_file} lacks: {', '.join(unknown)}")
    train, repeats, contradicting = without_duplicates(train)
    if repeats or contradicting:
        say(f"{train_file.name}: {repeats} repeated rows removed, {contradicting} with contradicting labels removed")
    train, leaked = without_overlap(train, test)
    share = leaked / len(test)
    say(f"leak check: {leaked} of {len(test)} test texts ({share:.2%}) also occur in {train_file.name}")
    if share > max_overlap:
        raise UsageError(
            f"{share:.1%} of the test texts occur in the training file, more than {max_overlap:.1%}: an accuracy "
            "measured on them would be a fiction; give separate files (or raise --max-overlap)"
        )
    if leaked:
        say("these texts are left out of the training rows")
    say(f"{len(train)} rows to train on, {len(test)} to measure on, labels {', '.join(train.label_names)}")
    return Prepared(train, test)


def read_and_report(path: Path, say: Callable[[str], None]) -> Reviews:
    """Read `path` and name the rows that cannot be used."""
    reviews = read_reviews(path)
    for bad in reviews.bad_rows[:NAMED_BAD_ROWS]:
        say(f"{path.name}: row {bad.row} left out: {bad.reason}")
    if len(reviews.bad_rows) > NAMED_BAD_ROWS:
        say(f"{path.name}: {len(reviews.bad_rows) - NAMED_BAD_ROWS} more rows left out")
    return reviews
