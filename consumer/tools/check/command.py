"""`review-consumer check`: asks everything, prints the table, and says by its exit code whether to go live."""

import argparse
import logging
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext

from rich.console import Console
from rich.text import Text

from consumer.errors import KafkaUnusable
from consumer.flags import add_settings
from consumer.kafka.tools.check.brokers import bootstrap_problems
from consumer.kafka.tools.check.cluster import Cluster, NotAnswered
from consumer.kafka.tools.opening import opened
from consumer.service import logs
from consumer.settings import WorkerSettings
from consumer.settings.sources import read_settings
from consumer.tools.check import brokers, group, machine, rights, topics, transactions
from consumer.tools.check.context import Context
from consumer.tools.check.row import Row, Status, failed, unknown
from consumer.tools.output import Output, add_json

#: What is asked of a cluster that lets us in, in this order; each with a name for its row if it cannot be asked.
CHECKS: tuple[tuple[str, Callable[[Context], Iterable[Row]]], ...] = (
    ("brokers", brokers.reachable),
    ("topics", topics.there),
    ("rights", rights.needed),
    ("optional rights", rights.helpful),
    ("partitions", topics.partitions),
    ("replication", topics.replication),
    ("settings of the topics", topics.configured),
    ("group", group.rows),
    ("transactions", transactions.own),
    ("open transactions", transactions.hanging),
)
STYLES = {Status.OK: "green", Status.WARNING: "yellow", Status.FAILED: "bold red", Status.UNKNOWN: "magenta"}
HEAD = "found, and what to do"
#: A check failed; with --strict, or one warns or could not be made.
NOT_READY = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The settings of `run`, and what only this command needs."""
    parser.usage = "%(prog)s [--workers N] [--strict] [--json] [--config FILE] [FLAG ...]"
    parser.description = (
        "Check everything that must hold before go-live: brokers, credentials, rights, topics and their settings, "
        "group and lag, transactions, clock, bundle, memory. Takes the settings of `run`, starts no worker, joins no "
        "group, writes no record. Run it where the worker will run, with its settings and its user."
    )
    parser.epilog = (
        "exit codes: 0 nothing failed; 1 a check failed, or with --strict warns or could not be made; "
        "2 wrong usage or settings"
    )
    parser.add_argument(
        "--workers", type=_count, metavar="N", help="workers that are planned, compared with partitions"
    )
    parser.add_argument("--strict", action="store_true", help="exit with 1 on warnings and unknown rows as well")
    add_json(parser)
    parser.add_argument("--config", metavar="FILE", help="settings file, TOML [REVIEWS_CONFIG]")
    add_settings(parser, WorkerSettings)


def run(arguments: argparse.Namespace) -> int:
    """Print a row for each check; the exit code says whether the worker can go live.

    Raises:
        UsageError: the settings are wrong; nothing was checked.
    """
    sourced = read_settings(arguments)
    settings = sourced.settings
    logs.set_up("text" if sys.stderr.isatty() else settings.log_format, "ERROR")  # the rows say what there is to say
    logging.getLogger("kafka").propagate = False
    output, found = Output(arguments.json), []
    terminal = Console(stderr=True)
    with terminal.status("checking") if terminal.is_terminal else nullcontext() as status:
        for row in _rows(settings, arguments.workers, sourced.warnings, sourced.origins):
            found.append(row)
            if status:
                status.update(f"checked {row.check}")
            if output.is_json:
                output.line(row.as_json)
    if not output.is_json:
        _print(output, found)
    bad = {Status.FAILED, Status.WARNING, Status.UNKNOWN} if arguments.strict else {Status.FAILED}
    return NOT_READY if any(row.status in bad for row in found) else 0


def _rows(settings: WorkerSettings, workers: int | None, warnings: Iterable[str], origins: str) -> Iterator[Row]:
    yield from machine.settings_rows(settings, tuple(warnings), origins)
    yield from machine.rows(settings)
    yield from _kafka(settings, workers)


def _kafka(settings: WorkerSettings, workers: int | None) -> Iterator[Row]:
    bootstrap = brokers.bootstrap(bootstrap_problems(settings))
    yield bootstrap
    unreached = [brokers.CREDENTIALS, *(name for name, _ in CHECKS)]
    if bootstrap.status is Status.FAILED:
        yield from (unknown(name, "no broker can be reached") for name in unreached)
        return
    try:
        with opened(settings, Cluster, "admin client") as cluster:
            unreached = []
            yield brokers.credentials(settings)
            context = Context(cluster, settings, workers)
            for name, check in CHECKS:
                if check is not brokers.reachable and all(each.problem for each in context.brokers):
                    yield unknown(name, "no broker can be reached where it says it is")
                    continue
                try:
                    yield from check(context)
                except NotAnswered as error:
                    yield unknown(name, error)
    except KafkaUnusable as error:
        yield failed(brokers.CREDENTIALS, str(error), "see docs/runbook.md, exit code 4")
        yield from (unknown(name, "no connection to Kafka") for name in unreached[1:])


def _print(output: Output, found: list[Row]) -> None:
    """The table, and one line that counts."""
    output.rows(
        ({"": Text(row.status.value, STYLES[row.status]), "check": row.check, HEAD: _cell(row)} for row in found),
        ("", "check", HEAD),
    )
    counts = {status: sum(row.status is status for row in found) for status in Status}
    plural = {Status.WARNING: "s"}
    line = ", ".join(
        f"{count} {status.value}{plural.get(status, '') if count > 1 else ''}"
        for status, count in counts.items()
        if count
    )
    worst = next(status for status in (Status.FAILED, Status.UNKNOWN, Status.WARNING, Status.OK) if counts[status])
    output.say(line, STYLES[worst])


def _cell(row: Row) -> Text:
    """What was found, and below it what to do: a column of its own would be too narrow for a command."""
    shown = Text(logs.visible(row.found))
    return shown.append(f"\n> {logs.visible(row.remedy)}", "italic") if row.remedy else shown


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError("must be a whole number, 1 or more")
    return int(text)
