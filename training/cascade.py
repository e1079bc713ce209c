"""`review-training cascade`: from finished bundles to a cascade, measured on rows that chose nothing of it.

ask       each member answers every row of both files
calibrate all members on the same rows, so that a probability means the same whoever answers
choose    the cheapest thresholds that lose little enough on these rows
measure   on the other rows: what is lost, with its interval, and how fast it is
write     the bundle, if it keeps its word
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from consumer.errors import UsageError
from consumer.model.bundle.loading import Bundle, load_bundle
from training.data.leaks import find_leaks
from training.data.prepare import DEFAULTS, DataOptions, prepare_test, read_and_report
from training.data.reviews import Reviews, draw
from training.io.progress import say
from training.measure.calibrate import MIN_ROWS
from training.measure.cascades.choosing import ask, decide, measure
from training.measure.evaluate import check_known_labels
from training.measure.reports.report import LIMIT_SEED
from training.packaging.cascade import Timing, check_beside, write_cascade
from training.packaging.cascade_views import as_text
from training.packaging.sealing import check_name, check_outside, check_replaceable


@dataclass(frozen=True)
class Order:
    """What is to be built, from what; see the options of the command.

    `max_loss` is in percentage points; `keep` is a directory for the members' answers.
    """

    members: tuple[Path, ...]
    choose: Path
    test: Path
    out: Path
    max_loss: float
    precision: float = 0.98
    train: Path | None = None
    name: str | None = None
    keep: Path | None = None
    speed_rows: int = 0
    threads: int | None = None
    options: DataOptions = DEFAULTS


def cascade(order: Order) -> str:
    """Build the cascade and write it to `order.out`.

    Returns:
        What was measured, as text.

    Raises:
        UsageError: a file or a member cannot be used, or more is lost than allowed.
        BundleError: a member is refused.
    """
    check_replaceable(order.out)
    check_name(order.name, order.out)
    read = [("--choose", order.choose), ("--test", order.test), ("--train", order.train)]
    members = [("--member", member) for member in order.members]
    check_outside("--out", order.out, [*read, *members, ("--keep-answers", order.keep)])
    bundles = [load_bundle(member) for member in order.members]
    check_beside(order.out, bundles)
    labels = bundles[0].manifest.labels
    choosing, test, measuring = _rows(order, bundles)
    asked = [ask(bundle, labels, choosing, test, order.keep) for bundle in bundles]
    decided = decide(asked, choosing, labels, order.max_loss, order.precision)
    measured = measure(asked, decided, test, measuring, labels)
    loss = measured.loss
    if loss.points > order.max_loss:
        raise UsageError(
            f"{loss.points:.2f} points are lost on the {loss.rows} rows that measure (95 % interval "
            f"{loss.interval[0]:.2f} to {loss.interval[1]:.2f}), more than the {order.max_loss:g} of --max-loss: "
            "nothing was written; give --choose more rows, or raise --max-loss"
        )
    timing = Timing(draw(test, order.speed_rows, LIMIT_SEED).texts, order.threads) if order.speed_rows else None
    speed = write_cascade(
        order.out, asked, decided, measured, name=order.name or order.out.name, choosing=choosing, timing=timing
    )
    say(f"so that the worker notices drift: review-training profile --bundle {order.out} --data {order.test}")
    return as_text([bundle.manifest.name for bundle in bundles], decided, measured, speed)


def _rows(order: Order, bundles: Sequence[Bundle]) -> tuple[Reviews, Reviews, list[int]]:
    """The rows that choose, all rows of the test file, and which of these measure.

    Raises:
        UsageError: a file cannot be used, a member was trained on what chooses or measures, or too few rows are left.
    """
    choosing, _ = prepare_test(order.choose, order.train, order.options, say)
    test = read_and_report(order.test, say, order.options, learned=False)
    for bundle in bundles:
        manifest = bundle.manifest
        trained = {part.sha256 for part in manifest.learnt_from}
        for option, reviews in (("--choose", choosing), ("--test", test)):
            check_known_labels(reviews, manifest.labels)
            if reviews.sha256 in trained:
                raise UsageError(
                    f"{manifest.name} was trained on {reviews.path}, so it is surer and more often right there than on "
                    f"other texts: give {option} reviews that no member has seen"
                )
    if len(choosing) < MIN_ROWS:
        raise UsageError(f"{order.choose} has {len(choosing)} usable rows; choosing needs at least {MIN_ROWS}")
    taken = find_leaks(choosing, test, order.options.near).test_rows
    measuring = [row for row in range(len(test)) if row not in taken]
    if len(measuring) < MIN_ROWS:
        raise UsageError(
            f"{len(measuring)} rows of {order.test} are not in {order.choose} as well; measuring needs at least "
            f"{MIN_ROWS}"
        )
    if taken:
        say(f"{len(taken)} test rows are among those that choose: the other {len(measuring)} measure")
    return choosing, test, measuring
