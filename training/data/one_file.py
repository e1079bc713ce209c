"""One file that both trains and measures: a share of its rows is held out before anything else is done with them."""

from collections.abc import Callable
from pathlib import Path

from consumer.errors import UsageError
from training.data.holdout import held_out_rows
from training.data.leaks import find_leaks
from training.data.prepare import DataOptions, Prepared, check_left, prepare, read_and_report, unrepeated
from training.data.reviews import Reviews

#: Share of the training file that measures the model if no other file does, and the largest one.
TEST_SHARE = 0.2
MOST_TEST_SHARE = 0.5


def prepare_either(
    train_file: Path, test_file: Path | None, seed: int, options: DataOptions, say: Callable[[str], None]
) -> Prepared:
    """`prepare` of both files; without a `test_file`, `prepare_one` of the other."""
    if test_file:
        return prepare(train_file, test_file, options, say)
    return prepare_one(train_file, seed, options, say)


def prepare_one(file: Path, seed: int, options: DataOptions, say: Callable[[str], None]) -> Prepared:
    """As `training.data.prepare.prepare`, with `options.test_share` of the rows of each label as the test rows.

    They are drawn with `seed` from the rows without duplicates. A row that nearly repeats one on the other side goes
    back to the rows to train on, so that no text is measured that the model has seen in other words.

    Raises:
        UsageError: the file cannot be used, or too few rows are left on either side.
    """
    share = options.test_share or TEST_SHARE
    reviews = unrepeated(read_and_report(file, say, options), say)
    drawn = set(held_out_rows(reviews.labels, share, seed, "test"))
    measured = _unlike_the_others(reviews, drawn, options.near)
    if returned := len(drawn) - len(measured):
        say(f"{returned} of the rows drawn to measure on are near duplicates of others, and trained on instead")
    test = reviews.only(sorted(measured))
    train = reviews.only(sorted(set(range(len(reviews))) - measured))
    try:
        check_left(train, "the rows held out to measure on")
        check_left(test, "the rows to train on")
    except UsageError as error:
        raise UsageError(f"{error}: change --test-share, or give another file with --test") from None
    say(
        f"{len(train)} rows to train on, labels {', '.join(train.label_names)}; {len(test)} are held out to measure on "
        f"({share:.0%} of {file.name}, not an independent file)"
    )
    return Prepared(train, test)


def _unlike_the_others(reviews: Reviews, drawn: set[int], near: float) -> set[int]:
    """The `drawn` rows without those that a row on the other side nearly repeats, which then are on that side too."""
    measured = set(drawn)
    others = set(range(len(reviews))) - measured
    while measured and others:
        left = sorted(measured)
        leaks = find_leaks(reviews.only(sorted(others)), reviews.only(left), near)
        others = {left[row] for row in leaks.test_rows}
        measured -= others
    return measured
