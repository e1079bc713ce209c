"""`dlq list`: dead letters, one line each."""

import argparse
from collections.abc import Iterator

from consumer.records.letter import Letter
from consumer.tools.dlq.rows import Content, add_content, facts, printed
from consumer.tools.dlq.selection import Selection, add_selection, dead_letters
from consumer.tools.options import settings_of
from consumer.tools.output import Output
from consumer.tools.tail.lines import dead_letter_line

#: Bytes of each part of the content on a terminal, unless --bytes is set.
LINE_BYTES = 200


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which ones, and which parts of them."""
    add_selection(parser)
    add_content(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print them as they are read."""
    selection, content, output = Selection.of(arguments), Content.of(arguments), Output(arguments.json)
    settings = settings_of(arguments)
    count = 0
    with dead_letters(settings) as reader:
        for letter in selection.read(reader):
            count += 1
            if output.is_json:
                output.line({**facts(letter), **content.row(letter)})
                continue
            line = dead_letter_line(letter.record)
            output.console.print(line.text(output.console.width), no_wrap=True, overflow="ellipsis", crop=True)
            for part in _content(letter, content):
                output.say(f"    {part}")
    output.say(f"{count:,} dead letters" if count else "No dead letter meets these conditions.", "bold")
    return 0


def _content(letter: Letter, content: Content) -> Iterator[str]:
    limit = content.limit or LINE_BYTES
    if content.key:
        yield f"key     {printed(letter.record.key, limit)}"
    if content.headers:
        for name, value in letter.original_headers:
            yield f"header  {name} = {printed(value, limit)}"
    if content.value:
        yield f"value   {printed(letter.record.value, limit)}"
