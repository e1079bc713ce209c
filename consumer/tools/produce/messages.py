"""From a row to a record that the worker takes, or to the reason why it would refuse it."""

from dataclasses import dataclass
from typing import Any

import jiter

from consumer.errors import UsageError
from consumer.records.fault import Detail, Fault, Reason
from consumer.records.outgoing import Outgoing
from consumer.records.parse import Limits, parse, read_json
from consumer.records.record import Record
from consumer.records.writing import as_json
from consumer.settings import WorkerSettings
from consumer.tables.names import find_column
from consumer.tables.rows import Head, Row
from consumer.tables.table import BadRow
from consumer.tables.text_values import NO_TEXT, text_or_reason
from consumer.tools.produce.cells import as_bytes, as_timestamp, as_value
from consumer.tools.produce.mapping import Mapping

#: What the worker adds to the fields of a review at most, bytes: its own fields, and headers with the coordinates.
ADDED_BYTES = 8192


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a row makes no record: a reason of a dead letter or one of ours, and the cause."""

    row: int
    reason: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Message:
    """A record to send, and the row that it is of. Its partition is chosen later."""

    row: int
    record: Outgoing


class Messages:
    """Turns rows into messages.

    Args:
        mapping: which column goes where.
        settings: topic, field names, limits.
        head: the columns of a table, and that of its texts; of a file of JSON, `text` alone, or nothing if each line
            is to be sent as it is.

    Attributes:
        unseen: columns that were named and that no row had so far.

    Raises:
        UsageError: a table lacks a column, or two columns become one field.
    """

    def __init__(self, mapping: Mapping, settings: WorkerSettings, head: Head) -> None:
        self._mapping, self._settings = mapping, settings
        self._limits = Limits.of(settings)
        self._head = head
        self._is_table = bool(head.names)
        self._keeps_lines = not self._is_table and not (head.text or mapping.id or mapping.fields is not None)
        self._headers = [(name, value.encode("utf-8", "surrogateescape")) for name, value in mapping.headers]
        self.unseen = set(mapping.others)
        self._id = mapping.id
        if self._is_table:
            self._names = {name: self._found(name) for name in mapping.others}
            self.unseen.clear()
            self._id = self._names.get(mapping.id or "") or find_column(head.names, None, (settings.id_field,))
        else:
            self._names = {name: name for name in mapping.others}
        self._fields = self._chosen_fields()

    def of(self, row: Row) -> Message | Refusal:
        """The message of `row`, or why there is none."""
        if isinstance(row.content, BadRow):
            return Refusal(row.number, "broken_row", row.content.reason)
        try:
            value, cells = self._value(row)
            return self._checked(row.number, value, cells)
        except _RefusedError as refused:
            is_string = (refused.reason, refused.detail) == (Reason.NOT_AN_OBJECT, Detail.STRING)
            return Refusal(row.number, refused.reason, refused.detail + "; --wrap makes it a text" * is_string)

    def _value(self, row: Row) -> tuple[bytes, Any]:
        """The value of the record, and the cells for its key, headers and timestamp."""
        if not isinstance(row.content, bytes):
            return self._of_cells(row.content), row.content
        if self._keeps_lines and not self._mapping.wrap and not self._names:
            return row.content, {}
        fields = read_json(row.content)
        if isinstance(fields, Fault):
            raise _RefusedError(fields.reason, str(fields))
        if isinstance(fields, str) and self._mapping.wrap and not _is_object(fields):
            return as_json(_placed({}, self._settings.text_field, fields)), {}
        if not isinstance(fields, dict) or self._keeps_lines:
            return row.content, fields if isinstance(fields, dict) else {}
        self.unseen -= fields.keys()
        if self._head.text is not None and self._head.text not in fields:
            raise _RefusedError(Reason.INVALID_TEXT, f"{Detail.MISSING}: no field {self._head.text!r}")
        return self._of_object(fields), fields

    def _of_cells(self, cells: Any) -> bytes:
        text, reason = text_or_reason(cells[self._head.text])
        if text is None:
            raise _RefusedError(*((Reason.EMPTY_TEXT,) if reason == NO_TEXT else (Reason.INVALID_TEXT, reason or "")))
        made = {}
        if self._id is not None and not (cells[self._id] is None or cells[self._id] == ""):
            made = _placed({}, self._settings.id_field, self._plain(self._id, cells[self._id]))
        made = _placed(made, self._settings.text_field, text)
        for column, field in self._fields or ():
            made[field] = self._plain(column, cells[column])
        return self._json(made)

    def _of_object(self, fields: dict[str, Any]) -> bytes:
        """An object with its text and its id under the names that the worker knows, and the chosen fields."""
        text, identity = self._head.text or self._settings.text_field, self._id or self._settings.id_field
        made: dict[str, Any] = {}
        if identity in fields:
            made = _placed(made, self._settings.id_field, fields[identity])
        if text in fields:
            made = _placed(made, self._settings.text_field, fields[text])
        others = self._fields if self._fields is not None else [(name, name) for name in fields]
        for column, field in others:
            if column in fields and not (self._fields is None and column in {text, identity}):
                if field in made:
                    raise _RefusedError(
                        "two_fields", f"{column!r} would overwrite {field!r}; choose fields with --field"
                    )
                made[field] = fields[column]
        return self._json(made)

    def _checked(self, number: int, value: bytes, cells: Any) -> Message:
        """The message, if the worker takes it and brokers do."""
        if not self._is_table:
            self.unseen -= cells.keys()
        key = self._bytes(cells, self._mapping.key)
        headers = list(self._headers)
        for column, name in self._mapping.header_columns:
            if (content := self._bytes(cells, column)) is not None:
                headers.append((name, content))
        timestamp = self._timestamp(cells)
        topic = self._settings.input_topic
        review = parse(Record(topic, 0, 0, -1, key, value), self._limits)
        if isinstance(review, Fault):
            raise _RefusedError(review.reason, str(review))
        record = Outgoing(topic, 0, key, value, headers, timestamp)
        most = self._settings.max_request_bytes
        if record.size > most:
            raise _RefusedError(
                Reason.TOO_LARGE, f"{record.size:,} bytes with key and headers; max_request_bytes is {most:,}"
            )
        if record.size + ADDED_BYTES > most:
            rest = Outgoing(topic, 0, key, as_json(review.fields), headers)
            if rest.size + len(review.id) + ADDED_BYTES > most:
                raise _RefusedError(Reason.PREDICTION_TOO_LARGE, "its fields leave no room for the label")
        return Message(number, record)

    def _bytes(self, cells: Any, column: str | None) -> bytes | None:
        if column is None:
            return None
        try:
            return as_bytes(cells.get(self._names[column]))
        except (ValueError, TypeError):
            raise _RefusedError("invalid_cell", f"{column!r} cannot be the key or a header: not valid UTF-8") from None

    def _timestamp(self, cells: Any) -> int | None:
        if self._mapping.timestamp is None:
            return None
        try:
            return as_timestamp(cells.get(self._names[self._mapping.timestamp]))
        except (ValueError, OverflowError) as error:
            raise _RefusedError("invalid_timestamp", str(error)) from None

    def _plain(self, column: str, cell: Any) -> Any:
        try:
            return as_value(cell)
        except ValueError:
            raise _RefusedError(
                "invalid_cell", f"{column!r} holds bytes, which JSON does not have; leave it out with --field"
            ) from None

    def _json(self, made: dict[str, Any]) -> bytes:
        try:
            return as_json(made)
        except TypeError:
            raise _RefusedError(
                "invalid_cell", "a field is not valid UTF-8; name the encoding with --encoding"
            ) from None

    def _found(self, name: str) -> str:
        found = find_column(self._head.names, name, ())
        if found is None:
            raise UsageError(f"there is no column {name!r}; the file has {', '.join(map(repr, self._head.names))}")
        return found

    def _chosen_fields(self) -> list[tuple[str, str]] | None:
        """Columns that become fields beside text and id; None: every field that an object has."""
        if self._mapping.fields is not None:
            chosen = [(self._names[column], field) for column, field in self._mapping.fields]
        elif self._is_table:
            chosen = [(name, name) for name in self._head.names if name not in {self._head.text, self._id}]
        else:
            return None
        own = {self._settings.text_field.partition(".")[0]}
        own |= {self._settings.id_field.partition(".")[0]} if self._id is not None else set()
        if taken := own & {field for _, field in chosen}:
            raise UsageError(
                f"the column {min(taken)!r} would overwrite a field that the worker reads; choose and rename columns "
                "with --field, or name this one with --text-column or --id-column"
            )
        return chosen


class _RefusedError(Exception):
    def __init__(self, reason: str, detail: str = "") -> None:
        self.reason, self.detail = str(reason), detail


def _placed(holder: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """`holder` with `value` at `path`, whose dots lead into objects."""
    *parents, name = path.split(".")
    place = holder
    for parent in parents:
        place = place.setdefault(parent, {})
    place[name] = value
    return holder


def _is_object(text: str) -> bool:
    """Whether a string is the JSON of an object, which was serialised twice: its text is inside."""
    try:
        return isinstance(jiter.from_json(text.encode()), dict)
    except ValueError:
        return False
