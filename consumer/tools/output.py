"""What tools print: a table on a terminal, JSON lines in a pipe or with `--json`; progress of long work on stderr."""

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from consumer.service.logs import visible

#: Between two lines of progress if stderr is no terminal.
LINE_SECONDS = 10.0


def add_json(parser: argparse._ActionsContainer) -> None:
    """The flag that asks for JSON lines on a terminal as well."""
    parser.add_argument("--json", action="store_true", help="print JSON lines; the default if stdout is no terminal")


class Output:
    """Prints rows to stdout.

    Args:
        as_json: JSON lines even on a terminal.

    Attributes:
        is_json: whether rows are printed as JSON lines.
    """

    def __init__(self, as_json: bool = False) -> None:
        if hasattr(sys.stdout, "reconfigure"):
            sys.stdout.reconfigure(errors="backslashreplace")  # a terminal without UTF-8
        self.is_json = as_json or not sys.stdout.isatty()
        self.console = Console(highlight=False)

    def line(self, row: Mapping[str, object]) -> None:
        """Print one row as a JSON line, at once: the reader of a pipe may be waiting for it."""
        sys.stdout.write(json.dumps(row, default=str) + "\n")
        sys.stdout.flush()

    def rows(self, rows: Iterable[Mapping[str, object]], columns: Sequence[str], title: str = "") -> None:
        """Print `rows`: as a table of `columns`, or each as a JSON line with everything that it holds."""
        if self.is_json:
            for row in rows:
                self.line(row)
            return
        table = Table(title=title or None, title_justify="left")
        for column in columns:
            table.add_column(column)
        for row in rows:
            table.add_row(*(cell(row.get(column)) for column in columns))
        self.console.print(table)

    def say(self, line: str, style: str = "") -> None:
        """Print a line for people; nothing if the output is JSON."""
        if not self.is_json:
            self.console.print(Text(visible(line), style), soft_wrap=True)


def cell(value: object) -> Text:
    """`value` as a cell in which nothing steers the terminal; a `Text` keeps its style."""
    if isinstance(value, Text):
        return value
    return Text("" if value is None else f"{value:,}" if isinstance(value, int) else visible(str(value)))


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.finished_speed or task.speed or 0:,.0f}/s")


@contextmanager
def progress(what: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """Show how far long work is, with its rate and the time left, on stderr.

    Args:
        what: is being done, such as "sending".
        total: steps in all; None if that is not known.

    Yields:
        A function that adds to the steps that are done.
    """
    console = Console(stderr=True)
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), _Rate(), TimeRemainingColumn())
    if console.is_terminal:
        with Progress(*columns, console=console, transient=True) as bar:
            task = bar.add_task(what, total=total)
            yield lambda steps: bar.advance(task, steps)
        return
    yield _Lines(what, total).advance


class _Lines:
    """Progress as a line every `LINE_SECONDS`, for logs."""

    def __init__(self, what: str, total: int | None) -> None:
        self._progress = Progress(disable=True)
        self._progress.add_task(what, total=total)
        (self._task,) = self._progress.tasks
        self._what = what
        self._shown = self._progress.get_time()

    def advance(self, steps: int) -> None:
        """Add to the steps that are done."""
        self._progress.advance(self._task.id, steps)
        if (now := self._progress.get_time()) - self._shown >= LINE_SECONDS:
            self._shown = now
            share = f" of {self._task.total:,.0f}" if self._task.total else ""
            left = f", {self._task.time_remaining:.0f} s left" if self._task.time_remaining else ""
            sys.stderr.write(
                f"{self._what}: {self._task.completed:,.0f}{share}, {self._task.speed or 0:,.0f}/s{left}\n"
            )
