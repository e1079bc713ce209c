"""`fit`, `evaluate`, `lr_find` and `compare` for notebooks and scripts: as the commands, but they return results."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from consumer.errors import ReviewsError
from training.notebook.arguments import arguments_of, documented

if TYPE_CHECKING:
    from training.notebook.choosing import ComparisonResult, RateResult
    from training.notebook.results import EvaluationResult, FitResult
    from training.notebook.validation import FoldsResult

File = str | os.PathLike[str]


@documented("fit")
def fit(train: File, out: File, test: File | None = None, **options: Any) -> "FitResult | FoldsResult":
    """Fine-tune an encoder on `train`, measure it, and write the bundle `out`; as `review-training fit`.

    Without `test`, a share of `train` is held out to measure on. A run that was stopped resumes with the same call.
    With `folds=K` the result has `folds`, a cross-validation; with `folds_only=True` the result is that alone.

    Raises:
        UsageError: an argument is wrong, or a file cannot be used; the message names it.
    """
    with _ready():
        arguments = arguments_of("fit", {"train": train, "out": out, "test": test, **options})
        from training.commands.fit import make, make_in_folds
        from training.notebook.results import FitResult
        from training.notebook.validation import FoldsResult

        if arguments.folds is None:
            return FitResult.of(Path(arguments.out), make(arguments))
        outcome = make_in_folds(arguments)
        if outcome.made:
            return FitResult.of(Path(arguments.out), outcome.made)
        return FoldsResult(outcome.record, outcome.directory)


@documented("evaluate")
def evaluate(bundle: File, data: File, **options: Any) -> "EvaluationResult":
    """Measure a bundle on a file of labelled reviews; as `review-training evaluate`.

    Raises:
        UsageError: an argument is wrong, or a file cannot be used; the message names it.
        BundleError: the bundle is refused.
    """
    with _ready():
        arguments = arguments_of("evaluate", {"bundle": bundle, "data": data, **options})
        from training.commands.evaluate import make, write_page
        from training.notebook.results import EvaluationResult

        report = make(arguments)
        write_page(arguments, report)
        return EvaluationResult(report)


@documented("lr_find")
def lr_find(train: File, **options: Any) -> "RateResult":
    """Find a learning rate with a range test; as `review-training lr-find`, but the plot is only written to an `out`.

    Raises:
        UsageError: an argument is wrong, or a file cannot be used; the message names it.
    """
    with _ready():
        arguments = arguments_of("lr_find", {"train": train, **options})
        from training.commands.lr_find import make
        from training.notebook.choosing import RateResult

        result = RateResult(make(arguments))
        if options.get("out") is not None:
            result.save(arguments.out)
        return result


@documented("compare")
def compare(train: File, test: File | None = None, out: File | None = None, **options: Any) -> "ComparisonResult":
    """Train small models, BERT and DistilBERT on the same rows, and measure them; as `review-training compare`.

    Without `test`, a share of `train` is held out to measure on.

    Raises:
        UsageError: an argument is wrong, or a file cannot be used; the message names it.
    """
    with _ready():
        arguments = arguments_of("compare", {"train": train, "test": test, "out": out, **options})
        from training.commands.compare import make
        from training.notebook.choosing import ComparisonResult

        return ComparisonResult(make(arguments), Path(arguments.out))


@contextmanager
def _ready() -> Iterator[None]:
    """Check that training is installed; of our errors and of an interruption, a notebook shows the message alone."""
    from training.cli import check_installed

    try:
        check_installed()
        yield
    except (ReviewsError, KeyboardInterrupt) as error:
        line = f"{type(error).__name__}: {error}"
        error._render_traceback_ = lambda: [line]  # type: ignore[union-attr]  # what IPython asks an exception for
        raise
