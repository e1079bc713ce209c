"""`review-training predict`: texts of files in, a prediction for each out, in order."""

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import IO, Any

from consumer.errors import ReviewsError, UsageError
from consumer.tables.table import GUESSED, TableOptions
from consumer.tables.text_values import NO_TEXT, NOT_UNICODE
from training.data.texts import STDIN, read_texts
from training.io.output import check_file, check_not_read, writing
from training.io.progress import ProgressBar, say
from training.measure.answering.prediction_files import AT_THE_END, Layout, format_of, writer
from training.predictor import CHUNK, Predictor


def label_files(
    bundle: Path,
    files: Sequence[str],
    column: str | None,
    variant: str | None,
    *,
    out: Path | None,
    format_name: str | None,
    with_text: bool = False,
    options: TableOptions = GUESSED,
) -> str:
    """Label every text of `files` and write a prediction for each, with the other columns of its file.

    Args:
        bundle: see `Predictor.load`.
        files: see `read_texts`; none: standard input.
        column: see `read_texts`.
        variant: see `Predictor.load`.
        out: the file to write; None: standard output.
        format_name: one of `FORMATS`; None: by the name of `out`, else text.
        with_text: write the text as well.
        options: see `read_texts`.

    Returns:
        How many texts got which label, in one line.

    Raises:
        UsageError: a file cannot be read or written, the format does not fit the name of `out`, or none of the texts
            could be labelled. All files are read once before the model is loaded.
        BundleError: the bundle is refused.
    """
    sources = _checked(list(files) or [STDIN], out, bundle)
    format_name = format_of(out, format_name)
    with_others = format_name != "text"
    total, columns = _looked_through(sources, column, options, with_others=with_others)
    counts: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    done = 0
    rows = (row for each in sources for row in read_texts(each, column, say, options, with_others=with_others))
    with Predictor.load(bundle, variant) as predictor, _opened(out, format_name) as file:
        table = writer(format_name, file, Layout(predictor.classes, columns, with_text, bool(predictor.members)))
        with ProgressBar("labelling", total) as bar:
            while chunk := list(islice(rows, CHUNK)):
                for row, outcome in zip(chunk, predictor.outcomes([row.text for row in chunk]), strict=True):
                    if outcome.label is None:
                        reason = row.reason or outcome.reason or NO_TEXT
                        reasons[reason] += 1
                        table.write(row, replace(outcome, reason=reason))
                    else:
                        counts[outcome.label] += 1
                        table.write(row, outcome)
                file.flush()
                done += len(chunk)
                bar.update(done)
        table.finish()
    if reasons[NOT_UNICODE]:
        say("if a file is not in UTF-8, name its encoding with --encoding")
    summary = _summary(counts, reasons)
    if not counts:
        raise UsageError(f"nothing was labelled: {summary}")
    return summary


def _looked_through(
    sources: Sequence[str], column: str | None, options: TableOptions, *, with_others: bool
) -> tuple[int | None, tuple[str, ...]]:
    """Texts in all `sources`, and the other columns of their files; standard input has none, and no known number."""
    total, columns = 0, dict[str, None]()
    for source in sources:
        if source != STDIN:
            for row in read_texts(source, column, options=options, with_others=with_others):
                total += 1
                columns |= dict.fromkeys(row.others)
    return None if STDIN in sources else total, tuple(columns)


def _checked(sources: list[str], out: Path | None, bundle: Path) -> list[str]:
    """`sources`, if the command line is right."""
    if STDIN in sources and sys.stdin.isatty():
        raise UsageError("give the files to label, or pipe in texts, one per line")
    if sources.count(STDIN) > 1:
        raise UsageError("standard input (-) can be read once only")
    if out is not None:
        check_file("--out", out)
        read = [("the file", Path(source)) for source in sources if source != STDIN]
        check_not_read("--out", out, [("--bundle", bundle), *read])
    return sources


@contextmanager
def _opened(out: Path | None, format_name: str) -> Iterator[IO[Any]]:
    """A file beside `out` that takes its name at the end; what an interrupted run wrote stays under the other name.

    Devices and pipes are written to, and the target of a link is replaced, not the link.
    """
    if out is None:
        yield sys.stdout
        return
    if out.exists() and not out.is_file():
        with writing("--out", out), out.open("w", encoding="utf-8", newline="") as file:
            yield file
        return
    out = out.resolve()
    partial = out.with_name(f"{out.name}.partial")
    binary = format_name in AT_THE_END
    with writing("--out", out):
        with partial.open("wb") if binary else partial.open("w", encoding="utf-8", newline="") as file:
            try:
                yield file
            except BaseException as error:
                if binary:
                    partial.unlink()
                elif isinstance(error, KeyboardInterrupt | ReviewsError | OSError):
                    say(f"what was labelled so far is in {partial}")
                raise
        partial.replace(out)


def _summary(counts: Counter[str], reasons: Counter[str]) -> str:
    total = counts.total() + reasons.total()
    line = f"{total} texts" + "".join(f", {count} {label}" for label, count in sorted(counts.items()))
    if reasons:
        without = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common())
        line += f"; {reasons.total()} without a label: {without}"
    return line
