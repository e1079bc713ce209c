"""Which column goes where, as the command line says it."""

import argparse
import hashlib
from dataclasses import astuple, dataclass

from consumer.errors import UsageError
from consumer.records.messages import DeadLetter
from consumer.settings import WorkerSettings
from consumer.tables.options import reading
from consumer.tables.table import GUESSED, TableOptions

#: Headers that the worker adds to results: two of a name could not be told apart.
RESERVED = frozenset(field.alias or name for name, field in DeadLetter.model_fields.items())


@dataclass(frozen=True)
class Mapping:
    """Columns of a file by what they become.

    Attributes:
        text, id, key, timestamp: names of columns; None: the usual column, the column of this name if there is one, no
            key, the time of sending.
        fields: further columns, each with the name of its field; None: all of them, under their own names.
        headers: names and values of headers that every record has.
        header_columns: columns, each with the name of its header.
        wrap: whether a line of a jsonl file that is a string becomes the text of an object.
        table: how tables are read.
    """

    text: str | None = None
    id: str | None = None
    fields: tuple[tuple[str, str], ...] | None = None
    key: str | None = None
    headers: tuple[tuple[str, str], ...] = ()
    header_columns: tuple[tuple[str, str], ...] = ()
    timestamp: str | None = None
    wrap: bool = False
    table: TableOptions = GUESSED

    @property
    def others(self) -> tuple[str, ...]:
        """The named columns beside that of the text."""
        named = (self.id, self.key, self.timestamp, *(name for name, _ in (*(self.fields or ()), *self.header_columns)))
        return tuple(name for name in named if name is not None)

    def digest(self, settings: WorkerSettings) -> str:
        """Tells mappings apart that make other records of a file; 16 hexadecimal digits."""
        table = {**vars(self.table), "labels": ""}
        parts = (*astuple(self)[:-1], sorted(table.items(), key=str), settings.text_field, settings.id_field)
        return hashlib.sha256(repr(parts).encode("utf-8", "surrogateescape")).hexdigest()[:16]


def mapping_of(arguments: argparse.Namespace) -> Mapping:
    """What was given.

    Raises:
        UsageError: two flags contradict each other, or a header has a name that the worker uses.
    """
    headers = tuple(arguments.header)
    columns = tuple(arguments.header_column)
    names = [name for name, _ in headers] + [name for _, name in columns]
    if taken := RESERVED & set(names):
        raise UsageError(f"--header {min(taken)}: the worker adds a header of this name to its results; choose another")
    if len(set(names)) < len(names):
        raise UsageError("two of --header and --header-column give a header the same name; choose another")
    if arguments.field and arguments.no_fields:
        raise UsageError("--field chooses columns and --no-fields takes none; give one of them")
    fields: tuple[tuple[str, str], ...] | None = tuple(arguments.field) or (() if arguments.no_fields else None)
    if fields and len({field for _, field in fields}) < len(fields):
        raise UsageError("two of --field give a field the same name; choose another")
    return Mapping(
        text=arguments.text_column,
        id=arguments.id_column,
        fields=fields,
        key=arguments.key_column,
        headers=headers,
        header_columns=columns,
        timestamp=arguments.timestamp_column,
        wrap=arguments.wrap,
        table=reading(arguments),
    )


def renamed(text: str) -> tuple[str, str]:
    """COLUMN or COLUMN=NAME, as argparse reads it."""
    column, separated, name = text.rpartition("=")
    if not separated:
        return text, text
    if not column or not name:
        raise ValueError
    return column, name


def constant(text: str) -> tuple[str, str]:
    """NAME=VALUE, as argparse reads it."""
    name, separated, value = text.partition("=")
    if not separated or not name:
        raise ValueError
    return name, value
