"""`dlq show PARTITION:OFFSET`: one dead letter with its reason, coordinates and bytes."""

import argparse
import base64
from collections.abc import Iterator

from consumer.errors import UsageError
from consumer.records.letter import Letter
from consumer.service.logs import visible
from consumer.tools.dlq.rows import facts, printed, shown
from consumer.tools.dlq.selection import dead_letters
from consumer.tools.options import settings_of
from consumer.tools.output import Output
from consumer.tools.places import coordinates, natural

LIMIT = 2000
WIDTH = 16
AS = ("auto", "text", "hex", "none")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which one, and how."""
    parser.add_argument(
        "place", type=coordinates, metavar="PARTITION:OFFSET", help="of the dead-letter topic, as in list"
    )
    parser.add_argument(
        "--as",
        dest="form",
        choices=AS,
        default="auto",
        help="how to print the value; auto: text if it is UTF-8, else hex; none: not at all [default: auto]",
    )
    parser.add_argument("--key", action="store_true", help="print the key as well")
    parser.add_argument("--headers", action="store_true", help="print the values of the input record's headers as well")
    parser.add_argument(
        "--start",
        type=int,
        metavar="BYTE",
        help="first byte of the value to print [default: near the one that the detail names]",
    )
    parser.add_argument(
        "--bytes", type=natural, default=LIMIT, metavar="N", help=f"bytes of the value to print [default: {LIMIT}]"
    )


def run(arguments: argparse.Namespace) -> int:
    """Print it.

    Raises:
        UsageError: there is no such dead letter.
    """
    output = Output(arguments.json)
    partition, offset = arguments.place
    settings = settings_of(arguments)
    with dead_letters(settings) as reader:
        if partition not in reader.partitions:
            raise UsageError(f"there is no partition {partition}, only 0 to {max(reader.partitions)}")
        first, end = reader.bounds(offset, partitions={partition})[partition]
        stop = min(end, offset + 1)
        found = next((record for record in reader.read({partition: (first, stop)}) if record.offset == offset), None)
    if found is None:
        raise UsageError(
            f"{settings.dead_letter_topic} has no record at {partition}:{offset}; see dlq list for those it has"
        )
    letter = Letter.of(found)
    if output.is_json:
        output.line(_object(letter, arguments))
        return 0
    for name, value in facts(letter).items():
        if value is not None:
            output.say(f"{name.replace('_', ' '):>16}  {value}")
    names = ", ".join(str(name) for name, _ in letter.original_headers)
    output.say(f"{'headers':>16}  {names or 'none'}")
    if arguments.headers:
        for name, value in letter.original_headers:
            output.say(f"{'header':>16}  {name} = {printed(value)}")
    if arguments.key:
        output.say(f"{'key':>16}  {printed(found.key)}")
    if arguments.form != "none":
        for line in lines(letter, arguments.form, _start(letter, arguments), arguments.bytes):
            output.say(line)
    return 0


def _start(letter: Letter, arguments: argparse.Namespace) -> int:
    """The first byte to print: half of the bytes are before the one at which the parser stopped."""
    if arguments.start is not None:
        return max(0, int(arguments.start))
    position = letter.position or 0
    count: int = arguments.bytes
    return 0 if position < count else position - count // 2


def _object(letter: Letter, arguments: argparse.Namespace) -> dict[str, object]:
    row = facts(letter)
    if arguments.key:
        row["key"] = shown(letter.record.key)
    if arguments.headers:
        row["headers"] = [[str(name), shown(value)] for name, value in letter.original_headers]
    if arguments.form != "none":
        value, start = letter.record.value, _start(letter, arguments)
        part = None if value is None else value[start : start + arguments.bytes]
        hexed = part is not None and arguments.form == "hex"
        row["value_start"] = start
        row["value"] = {"base64": base64.b64encode(part or b"").decode()} if hexed else shown(part)
    return row


def lines(letter: Letter, form: str, start: int, count: int) -> Iterator[str]:
    """The value for people: its text a line at a time, or 16 bytes a line in hex; marked where the parser stopped."""
    value = letter.record.value
    if value is None:
        yield f"{'value':>16}  (null)"
        return
    part = value[start : start + count]
    yield f"{'value':>16}  bytes {start:,} to {start + len(part):,} of {len(value):,}"
    if form == "auto":
        form = "text" if isinstance(shown(part), str) else "hex"
    if form == "text":
        yield from _text(part, start, letter.position)
        return
    for at in range(0, len(part), WIDTH):
        row = part[at : at + WIDTH]
        text = "".join(chr(each) if 32 <= each < 127 else "." for each in row)
        here = letter.position is not None and 0 <= letter.position - start - at < len(row)
        mark = f"  <- byte {letter.position}" if here else ""
        yield f"{start + at:08x}  {row.hex(' '):<47}  {text}{mark}"


def _text(part: bytes, start: int, position: int | None) -> Iterator[str]:
    """Lines of text; after the one that holds the position, a caret below it."""
    at = start
    for line in part.split(b"\n"):
        text = line.decode("utf-8", "backslashreplace")
        yield text
        if position is not None and at <= position <= at + len(line):
            before = line[: position - at].decode("utf-8", "backslashreplace")
            yield " " * len(visible(before)) + f"^ byte {position}"
        at += len(line) + 1
