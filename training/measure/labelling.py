"""`review-training predict`: files in, a line for each of their texts out, in order."""

import csv
import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from itertools import islice
from pathlib import Path
from typing import Protocol, TextIO

from consumer.errors import ReviewsError, UsageError
from training.data.text_values import NO_TEXT
from training.data.texts import STDIN, Row, read_texts
from training.io.output import check_file, check_not_read, writing
from training.io.progress import ProgressBar, say
from training.predictor import CHUNK, Outcome, Predictor

#: Format of an output file whose name ends so.
FORMAT_OF_SUFFIX = {".jsonl": "jsonl", ".csv": "csv", ".txt": "text"}


class Writer(Protocol):
    """Writes one line for one text."""

    def __call__(self, row: Row, outcome: Outcome) -> None:
        """Write it."""
        ...


def label_files(
    bundle: Path,
    files: Sequence[str],
    column: str | None,
    variant: str | None,
    *,
    out: Path | None,
    format_name: str | None,
) -> str:
    """Label every text of `files` and write a line for each, as `Row` and `Outcome` say it.

    Args:
        bundle: see `Predictor.load`.
        files: see `read_texts`; none: standard input.
        column: see `read_texts`.
        variant: see `Predictor.load`.
        out: the file to write; None: standard output.
        format_name: jsonl, csv or text; None: by the name of `out`, else text.

    Returns:
        How many texts got which label, in one line.

    Raises:
        UsageError: a file cannot be read or written, or none of the texts could be labelled. All files are read once
            before the model is loaded.
        BundleError: the bundle is refused.
    """
    sources = _checked(list(files) or [STDIN], out, bundle)
    total = None if STDIN in sources else sum(1 for source in sources for _ in read_texts(source, column))
    counts: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    done = 0
    rows = (row for source in sources for row in read_texts(source, column, say))
    with Predictor.load(bundle, variant) as predictor, _opened(out) as file:
        write = _writer(
            format_name or FORMAT_OF_SUFFIX.get(out.suffix.lower() if out else "", "text"), file, predictor.classes
        )
        with ProgressBar("labelling", total) as bar:
            while chunk := list(islice(rows, CHUNK)):
                for row, outcome in zip(chunk, predictor.outcomes([row.text for row in chunk]), strict=True):
                    told = replace(outcome, reason=row.reason or outcome.reason) if outcome.label is None else outcome
                    write(row, told)
                    if told.label is None:
                        reasons[told.reason or NO_TEXT] += 1
                    else:
                        counts[told.label] += 1
                file.flush()
                done += len(chunk)
                bar.update(done)
    summary = _summary(counts, reasons)
    if reasons and not counts:
        raise UsageError(f"nothing was labelled: {summary}")
    return summary


def _checked(sources: list[str], out: Path | None, bundle: Path) -> list[str]:
    """`sources`, after everything that is wrong with the command line has been said."""
    if STDIN in sources and sys.stdin.isatty():
        raise UsageError("name the files to label, or pipe texts in, one a line")
    if sources.count(STDIN) > 1:
        raise UsageError("standard input (-) can be read once only")
    if out is not None:
        check_file("--out", out)
        read = [("the file", Path(source)) for source in sources if source != STDIN]
        check_not_read("--out", out, [("--bundle", bundle), *read])
    return sources


@contextmanager
def _opened(out: Path | None) -> Iterator[TextIO]:
    """A file beside `out` that takes its name at the end; what an interrupted run wrote stays under the other name.

    Devices and pipes are written to, and a link is left in its place.
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
    with writing("--out", out):
        with partial.open("w", encoding="utf-8", newline="") as file:
            try:
                yield file
            except (KeyboardInterrupt, ReviewsError, OSError):
                say(f"what was labelled so far is in {partial}")
                raise
        partial.replace(out)


def _writer(format_name: str, file: TextIO, classes: Sequence[str]) -> Writer:
    """The function that writes one line of `format_name`, after the header where there is one."""
    if format_name == "text":
        return lambda _row, outcome: print(as_text(outcome), file=file)
    if format_name == "jsonl":
        return lambda row, outcome: print(as_json(row, outcome), file=file)
    table = csv.writer(file, lineterminator="\n")
    table.writerow(["file", "row", "label", "score", *classes, "reason"])

    def write(row: Row, outcome: Outcome) -> None:
        probabilities = outcome.probabilities or {}
        cells = [outcome.label, outcome.score, *(probabilities.get(label) for label in classes), outcome.reason]
        table.writerow([row.source, row.row, *cells])

    return write


def as_text(outcome: Outcome) -> str:
    """Label, tab, score; without a label a dash and the reason."""
    return f"-\t{outcome.reason}" if outcome.label is None else f"{outcome.label}\t{outcome.score:.4f}"


def as_json(row: Row, outcome: Outcome) -> str:
    """One object with where the text stands and what became of it, never the text."""
    return json.dumps({"file": row.source, "row": row.row} | asdict(outcome))


def _summary(counts: Counter[str], reasons: Counter[str]) -> str:
    total = counts.total() + reasons.total()
    line = f"{total} texts" + "".join(f", {count} {label}" for label, count in sorted(counts.items()))
    if reasons:
        without = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common())
        line += f"; {reasons.total()} without a label: {without}"
    return line
