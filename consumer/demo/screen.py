"""What the demo prints: live on a terminal, plain lines in a file, and a picture on request."""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

from rich import box
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from consumer.demo.picture import Picture
from consumer.demo.tally import Tally
from consumer.demo.traffic import Outcome

_FILE_WIDTH = 120
_TERMINAL_REFRESH_SECONDS = 0.25
_FILE_REFRESH_SECONDS = 3.0
_STYLES = {"pos": "green", "neg": "red", "dead": "yellow"}


class Screen:
    """Steps, then one line per outcome above a status line, then a table. A context manager around the outcomes.

    Args:
        total: number of records that will be sent.
        picture: gets a copy of what is printed.
    """

    def __init__(self, total: int, picture: Picture | None = None) -> None:
        if hasattr(sys.stdout, "reconfigure"):
            sys.stdout.reconfigure(errors="replace")  # a terminal without UTF-8 shows "?" for an emoji
        console = Console(highlight=False)
        self._moves = console.is_terminal and not console.is_dumb_terminal
        self._console = console if console.is_terminal else Console(highlight=False, width=_FILE_WIDTH)
        self._picture = picture
        self._total = total
        self._address = ""
        self._live = Live(console=self._console, auto_refresh=False, transient=True)
        self._shown = 0.0

    def __enter__(self) -> Self:
        if self._moves:
            self._live.start()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if self._moves:
            self._live.stop()

    def say(self, line: str = "", style: str = "") -> None:
        """Print a line."""
        self._print(Text(line, style), soft_wrap=True)

    @contextmanager
    def step(self, what: str) -> Iterator[Callable[[str], None]]:
        """A part that starts: a spinner on a terminal, and a line with the time it took.

        Yields:
            A function that shows what the step is waiting for.
        """
        started = time.monotonic()
        with self._console.status(Text(what)) as status:
            yield lambda detail: status.update(Text(f"{what}: {detail}"))
        self.say(f"  {what} is ready ({time.monotonic() - started:.1f} s)")

    def head(self, bootstrap: str, topics: Sequence[str], metrics: str) -> None:
        """Print how the parts are connected and where they listen, and what the lines to come mean."""
        self._address = f"{metrics}/metrics"
        source, labelled, dead = topics
        self.say(f"  {source} -> worker -> {labelled}, or {dead} for a record that cannot be labelled")
        self.say(f"  Kafka listens on {bootstrap}")
        self.say(f"  metrics are on {self._address}\n")
        self.say("Each line is one record, read back from Kafka. The model sees only the text: compare its label with")
        self.say("the reviewer's stars. A line that begins with 'dead' is a broken record, with the reason.\n")
        self._print(Text(f"{'label':<5} {'score':>5}  {'stars':<5}  {'film':<26}  first words", style="bold"))

    def outcome(self, outcome: Outcome) -> None:
        """Print one line for a labelled review or a dead letter."""
        line = _dead_letter(outcome) if outcome.reason else _labelled(outcome)
        self._console.print(line, no_wrap=True, overflow="ellipsis")
        if self._picture:
            self._picture.outcome(line)

    def status(self, tally: Tally, sent: int) -> None:
        """Refresh the status line, several times a second on a terminal, every few seconds in a file."""
        now = time.monotonic()
        if now - self._shown < (_TERMINAL_REFRESH_SECONDS if self._moves else _FILE_REFRESH_SECONDS):
            return
        self._shown = now
        line = Text(
            f"{sent} of {self._total} sent, {tally.labels.total()} labelled, {tally.reasons.total()} dead letters | "
            f"{tally.rate_now:.1f} records/s | latency p50 {tally.age(50):.2f} s, p99 {tally.age(99):.2f} s",
            style="bold",
        )
        if self._moves:
            self._live.update(Text.assemble(line, f"\n{self._address}   Ctrl-C stops the demo"), refresh=True)
        elif tally.count:
            self._console.print(Text.assemble("--- ", line))

    def summary(self, tally: Tally, sent: int) -> None:
        """Print the table at the end."""
        table = Table(box=box.ROUNDED, show_header=False)
        table.add_column(justify="right")
        table.add_column()
        table.add_row(str(sent), "records sent", style="bold")
        for label, count in sorted(tally.labels.items(), reverse=True):
            table.add_row(str(count), f"labelled {label}", style=_STYLES.get(label, ""))
        for reason, count in tally.reasons.most_common():
            table.add_row(str(count), f"dead letters: {reason}", style=_STYLES["dead"])
        table.add_section()
        table.add_row(f"{tally.agree} of {tally.clear}", "labels agree with the stars (3 stars are not counted)")
        table.add_row(f"{sent / tally.seconds:.1f}", "records per second, from the first sent to the last read")
        table.add_row(f"{tally.age(50):.2f} s", "median latency, from sending a record to reading its outcome")
        table.add_row(f"{tally.age(99):.2f} s", "99th percentile of the latency")
        if self._picture:
            self._picture.outcomes_end()
        self._print(table)

    def checked(self, tally: Tally) -> None:
        """Print the verdict; then write the picture."""
        labelled, dead = tally.labels.total(), tally.reasons.total()
        self.say(f"checked: {labelled + dead} in = {labelled} labelled + {dead} dead letters", style="bold")
        self.say("Every record has exactly one outcome: none is lost, none is doubled.")
        if self._picture:
            self._picture.save()

    def _print(self, what: Any, *, soft_wrap: bool = False) -> None:
        self._console.print(what, soft_wrap=soft_wrap)
        if self._picture:
            self._picture.print(what)


def _labelled(outcome: Outcome) -> Text:
    review = outcome.sent.record.review if outcome.sent else None
    review = review or {"film": "", "stars": 0, "text": f"(partition {outcome.source[0]} offset {outcome.source[1]})"}
    line = Text(f"{outcome.label:<5}", style=_STYLES.get(outcome.label, ""))
    line.append(f" {outcome.score:.3f}  {'*' * review['stars']:<5}  ", style="default")
    film = Text(_printable(review["film"]))
    film.truncate(26, overflow="ellipsis", pad=True)
    return Text.assemble(line, film, "  ", _printable(review["text"][:200].replace("<br />", " ")))


def _dead_letter(outcome: Outcome) -> Text:
    value = "null" if outcome.value is None else repr(outcome.value[:60])[1:]
    where = f"partition {outcome.source[0]} offset {outcome.source[1]}"
    return Text(f"{'dead':<5} {outcome.reason:<13} {where:<26}  {value}", style=_STYLES["dead"])


def _printable(text: str) -> str:
    """Text of a review, without characters that could move the cursor."""
    return "".join(character if character.isprintable() else " " for character in text)
