"""Progress of a long step: a bar on a terminal, a line now and then in a file."""

import sys
import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

#: Seconds between two lines if the output is not a terminal.
LINE_SECONDS = 30.0


def say(line: str) -> None:
    """Print one line for the user on stderr: stdout is for results."""
    print(line, file=sys.stderr, flush=True)  # noqa: T201


class ProgressBar:
    """Context manager that shows how much of `total` reviews is done, how fast, and how long it will take.

    Args:
        title: what is being done.
        total: reviews in all; None if unknown, as for a pipe.
        done: reviews done by an earlier process; they do not count for the rate.
    """

    def __init__(self, title: str, total: int | None, done: int = 0) -> None:
        self._title, self._total, self._before = title, total, done
        self._started = self._last_line = time.monotonic()
        console = Console(stderr=True)
        self._bar: Progress | None = None
        if console.is_terminal:
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[note]}"),
                TimeRemainingColumn(),
                console=console,
            )
            self._task = self._bar.add_task(title, total=total, completed=done, note="")

    def __enter__(self) -> Self:
        if self._bar:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar:
            self._bar.stop()

    def update(self, done: int, note: str = "") -> None:
        """Show that `done` reviews of the total are done; `note` stands beside the rate."""
        now = time.monotonic()
        rate = max(done - self._before, 1) / max(now - self._started, 1e-9)
        note = f"{rate:.1f} reviews/s {note}".rstrip()
        if self._bar:
            self._bar.update(self._task, completed=done, note=note)
        elif now - self._last_line >= LINE_SECONDS or (self._total is not None and done >= self._total):
            self._last_line = now
            if self._total is None:
                say(f"{self._title}: {done}, {note}")
            else:
                left = (self._total - done) / rate / 60
                say(f"{self._title}: {done}/{self._total}, {note}, {left:.0f} min left")
