"""`dlq list`: dead letters, one line each."""

import argparse
from collections.abc import Iterator

from consumer.records.letter import Letter
from consumer.tools.dlq.rows import Content, add_content, facts, printed
from consumer.tools.dlq.selection import Selection, add_selection, dead_letters
from consumer.tools.options import settings_of
from consumer.tools.output import Output

#: Rows of a table on a terminal if --count is not set: a table is laid out in memory.
ROWS = 100
#: Bytes of each part of the content in a table, unless --bytes is set.
TABLE_BYTES = 60
COLUMNS = ("place", "time", "reason", "detail", "bytes", "source", "attempts")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which ones, and which parts of them."""
    add_selection(parser)
    add_content(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print a table of the first ones, or all as JSON lines."""
    selection, content, output = Selection.of(arguments), Content.of(arguments), Output(arguments.json)
    settings = settings_of(arguments)
    with dead_letters(settings) as reader:
        found = selection.read(reader)
        if output.is_json:
            for letter in found:
                output.line({**facts(letter), **content.row(letter)})
            return 0
        shown = list(_first(found, selection.count or ROWS + 1))
        more = selection.count is None and len(shown) > ROWS
        rows = [_row(letter, content) for letter in (shown[:ROWS] if more else shown)]
        output.rows(rows, (*COLUMNS, *content.columns), title=settings.dead_letter_topic)
        if more:
            output.say(f"These are the first {ROWS}; add --count N for more, or --json for all.")
        if not rows:
            output.say("No dead letter meets these conditions.")
    return 0


def _first(letters: Iterator[Letter], count: int) -> Iterator[Letter]:
    for _, letter in zip(range(count), letters, strict=False):
        yield letter


def _row(letter: Letter, content: Content) -> dict[str, object]:
    record, limit = letter.record, content.limit or TABLE_BYTES
    detail = letter.detail if letter.position is None else f"{letter.detail} at byte {letter.position}"
    row: dict[str, object] = {
        "place": f"{record.partition}:{record.offset}",
        "time": facts(letter)["time"],
        "reason": letter.reason or "(no dead letter of a worker)",
        "detail": f"{detail} (cut: {letter.cut})" if letter.cut else detail,
        "bytes": letter.size,
        "source": ":".join(map(str, letter.source[1:])) if letter.source else "",
        "attempts": letter.attempts,
    }
    if content.key:
        row["key"] = printed(record.key, limit)
    if content.value:
        row["value"] = printed(record.value, limit)
    if content.headers:
        row["headers"] = ", ".join(f"{name}={printed(value, limit)}" for name, value in letter.original_headers)
    return row
