"""Objects of jsonl files, line by line, and of json files, which hold a list of them or the same lines."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from consumer.errors import UsageError
from consumer.tables.files import format_of, lines_of, open_text
from consumer.tables.table import BadRow, Place, Table, TableOptions

#: Characters of the largest json file with a list, which is in memory as a whole.
LARGEST_LIST = 2**30


def json_values(path: Path, options: TableOptions) -> Iterator[tuple[int, Any]]:
    """Number (from 1) and value of each line or element: None of a blank line, a `BadRow` if it is not JSON.

    Raises:
        UsageError: a json file is neither a list nor lines of JSON, or too large to be a list.
    """
    if is_list(path, options.encoding):
        yield from enumerate(_list_in(path, options), start=1)
        return
    for number, line in json_lines(path, options.encoding):
        try:
            yield number, json.loads(line) if line.strip() else None
        except json.JSONDecodeError as error:
            yield number, BadRow(number, f"no JSON: {error.msg} at character {error.colno}")
        except (ValueError, RecursionError):  # a number of thousands of digits, or thousands of brackets
            yield number, BadRow(number, "no JSON: numbers or nesting out of bounds")


def json_lines(path: Path, encoding: str | None) -> Iterator[tuple[int, str]]:
    """Number (from 1) and text of each line, without its end; bytes that are not of this encoding are lone surrogates.

    Raises:
        UsageError: a line is too long, or the encoding is unknown.
    """
    with open_text(path, encoding, newline="\n") as file:
        for number, line in enumerate(lines_of(path, file), start=1):
            yield number, line.removesuffix("\n")


def read_json(path: Path, options: TableOptions) -> Table:
    """A whole file; a field that an object lacks is None, and what is not a JSON object is in `broken`."""
    places: list[Place] = []
    records: list[dict[str, object]] = []
    broken: list[BadRow] = []
    for number, value in json_values(path, options):
        if isinstance(value, dict):
            places.append(number)
            records.append(value)
        elif value is not None:
            broken.append(value if isinstance(value, BadRow) else BadRow(number, "no JSON object"))
    names = dict.fromkeys(name for record in records for name in record)
    return Table({name: [record.get(name) for record in records] for name in names}, places, tuple(broken))


def is_list(path: Path, encoding: str | None) -> bool:
    """Whether this is a json file that holds a list, which may be one long line, rather than an object a line."""
    if format_of(path) != ".json":
        return False
    with open_text(path, encoding, newline="\n") as file:
        while (start := file.read(4096)) and not start.strip():
            pass
    start = start.lstrip()
    if start.startswith("{") and start.splitlines()[0].strip() == "{":
        raise UsageError(f"{path} is one object over many lines: give a list of objects, or one object a line")
    return start.startswith("[")


def _list_in(path: Path, options: TableOptions) -> list[Any]:
    try:
        values: list[Any] = json.loads(list_text(path, options.encoding))
    except json.JSONDecodeError as error:
        raise UsageError(
            f"{path} is not a list in JSON: {error.msg} in line {error.lineno}, character {error.colno}: give a "
            "complete file, or one object a line"
        ) from None
    except (ValueError, RecursionError):
        raise UsageError(f"{path} is not a list in JSON: numbers or nesting out of bounds") from None
    return values


def list_text(path: Path, encoding: str | None) -> str:
    """The whole of a json file with a list.

    Raises:
        UsageError: it is too large.
    """
    with open_text(path, encoding, newline="\n") as file:
        content = file.read(LARGEST_LIST + 1)
    if len(content) > LARGEST_LIST:
        raise UsageError(f"{path} is a list of more than {LARGEST_LIST} characters: write a line an object, as .jsonl")
    return content
