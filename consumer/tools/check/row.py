"""One row of the table."""

from dataclasses import asdict, dataclass
from enum import StrEnum


class Status(StrEnum):
    """What a check has found.

    `FAILED`: the worker would not start, would stop, or would lose reviews. `WARNING`: it works, but a promise is
    weaker than it should be. `UNKNOWN`: it could not be checked.
    """

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Row:
    """What was checked, and what to do.

    Attributes:
        check: a name that scripts may rely on.
        status: see there.
        found: one line.
        remedy: one line; empty if there is nothing to do.
    """

    check: str
    status: Status
    found: str
    remedy: str = ""

    @property
    def as_json(self) -> dict[str, str]:
        """The row as a JSON object."""
        return asdict(self)


def ok(check: str, found: str) -> Row:
    """All is well."""
    return Row(check, Status.OK, found)


def warning(check: str, found: str, remedy: str) -> Row:
    """It works, but."""
    return Row(check, Status.WARNING, found, remedy)


def failed(check: str, found: str, remedy: str) -> Row:
    """It would not work."""
    return Row(check, Status.FAILED, found, remedy)


def unknown(check: str, why: object, remedy: str = "") -> Row:
    """It could not be checked; never good."""
    return Row(check, Status.UNKNOWN, f"not checked: {why}", remedy)
