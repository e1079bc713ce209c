"""From files to the rows that are trained on and the rows that are measured on; everything left out is reported."""

import json
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from consumer.errors import UsageError
from consumer.model.bundle.manifest import MANIFEST, Manifest, Source
from consumer.tables.names import USUAL, Columns
from consumer.tables.table import GUESSED, TableOptions, name_of
from training.data.columns import check_labels
from training.data.duplicates import without_duplicates
from training.data.leaks import Leaks, examples, find_leaks
from training.data.reviews import Reviews, read_reviews

#: Bad rows that are named one by one; a file with more of them has one fault, not many.
NAMED_BAD_ROWS = 10


@dataclass(frozen=True)
class DataOptions:
    """How files are read and compared.

    Args:
        columns: where texts and labels are, in every file.
        near: Jaccard similarity of their word 5-grams from which two texts are near duplicates.
        max_overlap: largest share of test texts that may occur, exactly or nearly, in the training file.
        drop_leaked: take these texts out of the test rows as well; then any share is allowed.
        table: how every file is read, and which labels are renamed.
        test_share: share of the training file held out to measure on; None: a file of its own measures.
    """

    columns: Columns = USUAL
    near: float = 0.8
    max_overlap: float = 0.02
    drop_leaked: bool = False
    table: TableOptions = GUESSED
    test_share: float | None = None


DEFAULTS = DataOptions()

#: The record of an adapted encoder, beside its weights; see `training.adapt`.
ADAPTED = "run.json"

#: What `without_duplicates` removes.
REPEATED = "repeated and contradicting rows"


class LearntFrom(NamedTuple):
    """The name of a model, and the files that it was trained on, as far as it says."""

    name: str
    sources: tuple[Source, ...]


@dataclass(frozen=True)
class Prepared:
    """`train` has no duplicates and shares no text with `test`.

    `test` is as the file has it, but for `dropped` rows whose text leaked and that were to be left out.
    """

    train: Reviews
    test: Reviews
    dropped: int = 0


def prepare(train_file: Path, test_file: Path, options: DataOptions, say: Callable[[str], None]) -> Prepared:
    """Read both files, report what is wrong with them, and take out of the rows what must not be there.

    Args:
        train_file: see `read_reviews`.
        test_file: see `read_reviews`.
        options: how they are read and compared.
        say: receives each finding, one line each.

    Raises:
        UsageError: a file cannot be used, their labels differ, or they overlap by more than allowed.
    """
    train, test = (read_and_report(file, say, options) for file in (train_file, test_file))
    return prepare_rows(train, test, options, say)


def prepare_rows(train: Reviews, test: Reviews, options: DataOptions, say: Callable[[str], None]) -> Prepared:
    """As `prepare`, of files that have been read."""
    train = unrepeated(train, say)
    _check_taught(train, test)  # before the leak check, which may take a minute
    leaks = check_leaks(train, test, options, say)
    train = _without(train, leaks.train_rows)
    if leaks:
        say(f"{len(leaks.train_rows)} training rows with these texts are left out")
    dropped = len(leaks) if options.drop_leaked else 0
    if dropped:
        test = _without(test, leaks.test_rows)
        say(f"{dropped} test rows with these texts are left out")
    _check_taught(train, test)
    say(f"{len(train)} rows to train on, {len(test)} to measure on, labels {', '.join(train.label_names)}")
    return Prepared(train, test, dropped)


def unrepeated(reviews: Reviews, say: Callable[[str], None]) -> Reviews:
    """`reviews` without repeated and contradicting rows, which are counted; `UsageError` if too few are left."""
    left, repeats, contradicting = without_duplicates(reviews)
    if repeats or contradicting:
        say(f"{left.path.name}: {repeats} repeated rows removed, {contradicting} with contradicting labels removed")
    check_left(left, REPEATED)
    return left


def prepare_test(
    test_file: Path, train_file: Path | None, options: DataOptions, say: Callable[[str], None]
) -> tuple[Reviews, int]:
    """The rows of `test_file` to measure on; with `train_file`, checked against what the model was trained on.

    Returns:
        The rows, and how many were left out because they leaked.

    Raises:
        UsageError: a file cannot be used, or they overlap by more than allowed.
    """
    test = read_and_report(test_file, say, options, learned=False)
    if train_file is None:
        if options.drop_leaked:
            raise UsageError("--drop-leaked needs --train, the file that the model was trained on")
        return test, 0
    leaks = check_leaks(read_and_report(train_file, say, options, learned=False), test, options, say)
    if not leaks or not options.drop_leaked:
        return test, 0
    if len(leaks) == len(test):
        raise UsageError(f"every text of {test_file} occurs in {train_file}: no row is left to measure on")
    say(f"{len(leaks)} test rows with these texts are left out")
    return test.only(row for row in range(len(test)) if row not in leaks.test_rows), len(leaks)


def check_leaks(
    train: Reviews, test: Reviews, options: DataOptions, say: Callable[[str], None], what: str = "the training file"
) -> Leaks:
    """Report what `test` shares with `train`, which is called `what` in a refusal.

    Raises:
        UsageError: it is more than `options` allow.
    """
    leaks = find_leaks(train, test, options.near)
    say(leaks.in_words(train, test))
    for line in examples(leaks, train, test):
        say(f"  {line}")
    share = len(leaks) / len(test)
    if share > options.max_overlap and not options.drop_leaked:
        raise UsageError(
            f"{share:.1%} of the test texts occur in {what}, more than {options.max_overlap:.1%}: an "
            "accuracy measured on them would be meaningless; give separate files, leave these texts out with "
            "--drop-leaked, or raise --max-overlap"
        )
    return leaks


def check_unseen(
    models: Iterable[Path], data: Prepared, say: Callable[[str], None], told: Iterable[LearntFrom] = ()
) -> tuple[Source, ...]:
    """Check that no model was trained on the rows that will measure its successor.

    If it was trained on the same training file, this is reported: rows held out of it are new to the model only if it
    held out the same ones.

    Args:
        models: directories.
        data: the rows.
        say: receives the report.
        told: of further models, which are not here.

    Returns:
        The files that they were trained on, each once.

    Raises:
        UsageError: one was trained on the test file.
    """
    found: dict[str, Source] = {}
    for name, sources in [*map(learnt_from, dict.fromkeys(models)), *told]:
        check_not_trained_on(data.test, name, sources)
        trained = {part.sha256: part for part in sources}
        if data.train.sha256 in trained:
            say(
                f"{name} was trained on {data.train.path.name}, too, maybe on rows that are held out of it here "
                "(not with the same --seed and shares); calibrate on other reviews in the end, with review-training "
                "calibrate"
            )
        found |= trained
    return tuple(found.values())


def learnt_from(model: Path) -> LearntFrom:
    """What the model in the directory `model` was trained on. Only bundles and bases made here say."""
    with suppress(OSError, ValueError):
        manifest = Manifest.model_validate_json((model / MANIFEST).read_bytes())
        return LearntFrom(manifest.name, manifest.learnt_from)
    with suppress(OSError, ValueError, AttributeError, TypeError):
        record = json.loads((model / ADAPTED).read_bytes())
        told = record.get("learnt_from", []) + record.get("adapted_to", [])
        return LearntFrom(model.resolve().name, tuple(Source.model_validate(part) for part in told))
    return LearntFrom(model.name, ())


def check_not_trained_on(test: Reviews, name: str, sources: Iterable[Source]) -> None:
    """Raise `UsageError` if the file of `test` is one of the `sources` that the model `name` was trained on."""
    if test.sha256 in {part.sha256 for part in sources}:
        raise UsageError(
            f"{name} was trained on {test.path.name}: an accuracy measured on it would be meaningless; start "
            "from another model, or give another file to measure on"
        )


def read_and_report(
    path: Path, say: Callable[[str], None], options: DataOptions = DEFAULTS, *, learned: bool = True
) -> Reviews:
    """Read `path`, report what was guessed, and list the rows that cannot be used; see `read_reviews`."""
    reviews = read_reviews(path, options.columns, learned=learned, options=options.table)
    for remark in reviews.remarks:
        say(f"{path.name}: {remark}")
    for bad in reviews.bad_rows[:NAMED_BAD_ROWS]:
        say(f"{path.name}: {name_of(bad.row)} left out: {bad.reason}")
    if len(reviews.bad_rows) > NAMED_BAD_ROWS:
        say(f"{path.name}: {len(reviews.bad_rows) - NAMED_BAD_ROWS} more rows left out")
    return reviews


def _without(reviews: Reviews, rows: frozenset[int]) -> Reviews:
    """`reviews` without `rows`; `UsageError` if too few are left."""
    left = reviews.only(row for row in range(len(reviews)) if row not in rows)
    if rows:
        check_left(left, "the texts that are in both files")
    return left


def check_left(reviews: Reviews, removed: str) -> None:
    """Raise `UsageError` if too few rows are left without what was `removed`."""
    try:
        check_labels(reviews.path, reviews.labels, str(reviews.columns.label))
    except UsageError as error:
        raise UsageError(f"without {removed}, {error}") from None


def _check_taught(train: Reviews, test: Reviews) -> None:
    """Raise `UsageError` if a label of `test` has no row in `train`: it could not be measured after the training."""
    if unknown := sorted(set(test.labels) - set(train.labels)):
        raise UsageError(f"{test.path} has labels that no row to train on in {train.path} has: {', '.join(unknown)}")
