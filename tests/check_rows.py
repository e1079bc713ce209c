"""`review-consumer check`, run in this process: its rows by their names, and its exit code."""

import json
from dataclasses import dataclass

import pytest

from consumer.cli import main


@dataclass(frozen=True)
class Checked:
    """What one run has printed.

    Attributes:
        rows: by name; a name that comes twice fails the test.
        exit_code: of the command.
        stderr: what it has printed there.
    """

    rows: dict[str, dict[str, str]]
    exit_code: int
    stderr: str

    def status(self, name: str) -> str:
        """Of one row."""
        return self.rows[name]["status"]

    def named(self, *statuses: str) -> set[str]:
        """The rows with one of these."""
        return {name for name, row in self.rows.items() if row["status"] in statuses}


class Checker:
    """Runs the command with the same flags again and again."""

    def __init__(self, capsys: pytest.CaptureFixture[str], *flags: str) -> None:
        self._capsys = capsys
        self._flags = flags

    def __call__(self, *more: str) -> Checked:
        """Run it; `more` flags override."""
        self._capsys.readouterr()
        code = main(["check", *self._flags, *more])
        printed = self._capsys.readouterr()
        lines = [json.loads(line) for line in printed.out.splitlines()]
        assert len(lines) > 5
        rows = {line["check"]: line for line in lines}
        assert len(rows) == len(lines)
        return Checked(rows, code, printed.err)
