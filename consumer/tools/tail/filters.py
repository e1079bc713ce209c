"""Which lines `tail` shows."""

import argparse
from dataclasses import dataclass

from consumer.errors import UsageError
from consumer.records.fault import Reason
from consumer.tools.places import assignment
from consumer.tools.tail.lines import Line


def share(text: str) -> float:
    """A number from 0 to 1.

    Raises:
        argparse.ArgumentTypeError: it is none.
    """
    try:
        number = float(text)
    except ValueError:
        number = -1
    if not 0 <= number <= 1:
        raise argparse.ArgumentTypeError("must be a number from 0 to 1")
    return number


def add_filters(parser: argparse.ArgumentParser) -> None:
    """The flags; a line is shown if all of them hold."""
    group = parser.add_argument_group("Which lines (all conditions have to hold)")
    group.add_argument("--label", action="append", metavar="LABEL", help="with this label; repeatable")
    group.add_argument("--min-score", type=share, metavar="SCORE", help="with at least this score, 0 to 1")
    group.add_argument("--max-score", type=share, metavar="SCORE", help="with at most this score")
    group.add_argument(
        "--unsure", action=argparse.BooleanOptionalAction, help="only reviews that the model is (not) unsure of"
    )
    group.add_argument(
        "--model", metavar="NAME", help="of the model with this name, version, or beginning of its digest"
    )
    group.add_argument(
        "--field",
        action="append",
        type=assignment,
        metavar="NAME=VALUE",
        help="with this field, as in film=Heat or model.variant=int8; repeatable",
    )
    group.add_argument(
        "--reason",
        action="append",
        choices=list(Reason),
        metavar="REASON",
        help="with --dead-letters: with this reason",
    )


@dataclass(frozen=True, slots=True)
class Filter:
    """The conditions of one command line."""

    labels: frozenset[str]
    min_score: float
    max_score: float
    unsure: bool | None
    model: str | None
    fields: tuple[tuple[str, str], ...]
    reasons: frozenset[str]

    @classmethod
    def of(cls, arguments: argparse.Namespace) -> "Filter":
        """As the flags of `add_filters` say.

        Raises:
            UsageError: a condition for the other kind of records.
        """
        flags = {
            f"--{name.replace('_', '-')}"
            for name in ("label", "min_score", "max_score", "unsure", "model", "field")
            if getattr(arguments, name) is not None
        }
        if arguments.dead_letters and flags:
            raise UsageError(f"{min(flags)} is about labelled reviews; leave out --dead-letters")
        if arguments.reason and not arguments.dead_letters:
            raise UsageError("--reason is about dead letters; add --dead-letters")
        return cls(
            frozenset(arguments.label or ()),
            0.0 if arguments.min_score is None else arguments.min_score,
            1.0 if arguments.max_score is None else arguments.max_score,
            arguments.unsure,
            arguments.model,
            tuple(arguments.field or ()),
            frozenset(arguments.reason or ()),
        )

    def has(self, line: Line) -> bool:
        """Whether to show it."""
        row = line.row
        if self.reasons:
            return row.get("reason") in self.reasons
        score = row.get("score")
        if (self.min_score > 0 or self.max_score < 1) and not (
            isinstance(score, int | float) and self.min_score <= score <= self.max_score
        ):
            return False
        return (
            (not self.labels or row.get("label") in self.labels)
            and (self.unsure is None or bool(row.get("unsure")) == self.unsure)
            and (self.model is None or self._is_of_model(row.get("model")))
            and all(_field(row, name) == value for name, value in self.fields)
        )

    def _is_of_model(self, model: object) -> bool:
        if not isinstance(model, dict) or self.model is None:
            return False
        digest = str(model.get("digest"))
        return self.model in (model.get("name"), model.get("version")) or (
            len(self.model) >= 6 and digest.startswith(self.model)
        )


def _field(row: dict[str, object], path: str) -> str | None:
    """The field as text, in the prediction or in what it carries of the review; None if there is none."""
    for holder in (row, row.get("carried")):
        value: object = holder
        for name in [path] if isinstance(holder, dict) and path in holder else path.split("."):
            value = value.get(name) if isinstance(value, dict) else None
        if value is not None:
            return str(value).lower() if isinstance(value, bool) else str(value)
    return None
