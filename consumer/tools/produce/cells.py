"""What the cells of a table become in a record: JSON values, bytes of keys and headers, timestamps."""

import datetime
import decimal
import time
from collections.abc import Mapping
from typing import Any

import jiter

from consumer.records.parse import is_finite
from consumer.records.writing import as_json
from consumer.tables.table import Percentage

#: Numbers from here on are milliseconds since 1970 (March 1973), smaller ones are seconds (until the year 5138).
FIRST_MILLISECOND = 10**11

#: Brokers refuse timestamps that are further ahead (the default of message.timestamp.after.max.ms), milliseconds.
AHEAD_MS = 3_600_000


def as_value(cell: Any) -> Any:
    """A cell as a value of JSON: dates and times in ISO 8601, percentages as they are shown.

    Raises:
        ValueError: it holds bytes, which JSON does not have.
    """
    match cell:
        case Percentage():
            return str(cell)
        case None | bool() | int() | float() | str() | jiter.LosslessFloat():
            return cell
        case datetime.datetime() | datetime.date() | datetime.time():
            return cell.isoformat()
        case datetime.timedelta():
            return str(cell)
        case decimal.Decimal():
            return jiter.LosslessFloat(f"{cell:f}".encode()) if cell.is_finite() else None
        case Mapping():
            return {str(name): as_value(each) for name, each in cell.items()}
        case list() | tuple():
            return [as_value(each) for each in cell]
        case bytes() | bytearray() | memoryview():
            raise ValueError("bytes")
        case _:
            return str(cell)


def as_bytes(cell: Any) -> bytes | None:
    """A cell as the key or as a header of a record: UTF-8; None of a blank one.

    Raises:
        ValueError: its text is not Unicode.
    """
    match cell:
        case bytes():
            return cell
        case None | "":
            return None
        case str():
            return cell.encode()
        case jiter.LosslessFloat():
            return bytes(cell)
        case bool():
            return b"true" if cell else b"false"
        case int() | float():
            return str(cell).encode()
        case _:
            value = as_value(cell)
            return value.encode() if isinstance(value, str) else as_json(value)


def as_timestamp(cell: Any) -> int | None:
    """A cell as the timestamp of a record, milliseconds since 1970; None of a blank one. Times without a zone are UTC.

    Raises:
        ValueError: it is no time, or one that brokers refuse: before 1970, or more than an hour ahead.
    """
    match cell:
        case None | "":
            return None
        case bool():
            raise ValueError("TRUE or FALSE, not a time")
        case datetime.datetime():
            found = _milliseconds(cell)
        case datetime.date():
            found = _milliseconds(datetime.datetime(cell.year, cell.month, cell.day))
        case int() | float():
            found = _of_number(float(cell))
        case jiter.LosslessFloat() if is_finite(cell):
            found = _of_number(float(bytes(cell)))
        case str():
            found = _of_text(cell.strip())
        case _:
            raise ValueError("not a time")
    if found < 0:
        raise ValueError("before 1970")
    if found > time.time() * 1000 + AHEAD_MS:
        raise ValueError("more than an hour ahead; brokers refuse it")
    return found


def _of_text(text: str) -> int:
    try:
        return _of_number(float(text))
    except ValueError:
        pass
    try:
        return _milliseconds(datetime.datetime.fromisoformat(text))
    except ValueError:
        raise ValueError("not a time such as 2026-11-01T12:30:00Z, or seconds or milliseconds since 1970") from None


def _of_number(number: float) -> int:
    if not abs(number) < 1e17:  # NaN as well
        raise ValueError("not a time")
    return int(number if abs(number) >= FIRST_MILLISECOND else number * 1000)


def _milliseconds(moment: datetime.datetime) -> int:
    aware = moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)
    return round(aware.timestamp() * 1000)
