"""Where to begin or end reading, and one record, as they are written on a command line."""

import argparse
import re
from datetime import UTC, datetime, timedelta

from consumer.kafka.tools.reading import Place

PLACES = (
    "beginning, end, a time such as 2026-11-01T00:00:00Z, an age such as 90s, 15m, 2h or 7d, an offset, or -N for the "
    "last N records of each partition"
)
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def place(text: str) -> Place:
    """The place that `text` means: see `PLACES`.

    Raises:
        argparse.ArgumentTypeError: none.
    """
    if text == "beginning":
        return "beginning"
    if text == "end":
        return "end"
    if re.fullmatch(r"-?[0-9]{1,18}", text):
        return int(text)
    if age := re.fullmatch(r"([0-9]{1,6})([smhd])", text):
        return datetime.now(UTC) - timedelta(**{_UNITS[age[2]]: int(age[1])})
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        time = None
    if time is None or time.tzinfo is None:
        raise argparse.ArgumentTypeError(f"must be {PLACES}; a time needs its zone")
    return time


def coordinates(text: str) -> tuple[int, int]:
    """PARTITION:OFFSET, or the end of a name such as reviews.dlq-2-1187.

    Raises:
        argparse.ArgumentTypeError: neither.
    """
    found = re.fullmatch(r"(?:[a-zA-Z0-9._-]{1,249}-)?([0-9]{1,9})[:-]([0-9]{1,18})", text)
    if found is None:
        raise argparse.ArgumentTypeError("must be PARTITION:OFFSET, such as 2:1187")
    return int(found[1]), int(found[2])


def natural(text: str) -> int:
    """A number of 1 or more.

    Raises:
        argparse.ArgumentTypeError: it is none.
    """
    if not re.fullmatch(r"[0-9]{1,12}", text) or not int(text):
        raise argparse.ArgumentTypeError("must be a number of 1 or more")
    return int(text)


def assignment(text: str) -> tuple[str, str]:
    """NAME=VALUE.

    Raises:
        argparse.ArgumentTypeError: there is no "=".
    """
    name, separator, value = text.partition("=")
    if not name or not separator:
        raise argparse.ArgumentTypeError("must be NAME=VALUE")
    return name, value


def utc(timestamp_ms: int) -> str:
    """ISO 8601, to the second; empty for a record without a timestamp, or with one outside the calendar."""
    try:
        return (
            "" if timestamp_ms < 0 else datetime.fromtimestamp(timestamp_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        )
    except (OverflowError, ValueError, OSError):
        return ""
