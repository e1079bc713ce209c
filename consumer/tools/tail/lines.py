"""A record as a line: of a terminal, or of JSON."""

import json
from dataclasses import dataclass, field

from rich.text import Text

from consumer.records.letter import Letter
from consumer.records.record import Record
from consumer.service.logs import visible
from consumer.tools.dlq.rows import facts
from consumer.tools.output import bar
from consumer.tools.places import utc

WORDS = 12
_STYLES = ("green", "red", "yellow", "blue", "magenta", "cyan")


@dataclass(slots=True)
class Line:
    """One record.

    Attributes:
        record: as it was read.
        row: what JSON holds of it.
        source: partition and offset of the input record, if it is known.
        parts: what a terminal shows, with its style.
    """

    record: Record
    row: dict[str, object]
    source: tuple[str, int, int] | None = None
    parts: list[tuple[str, str]] = field(default_factory=list)

    def add_words(self, words: str) -> None:
        """Add the first words of the review."""
        self.row["words"] = words
        self.parts.append((f"  {visible(words)}", ""))

    def text(self, width: int) -> Text:
        """The line for a terminal of `width` columns: nothing in it steers the terminal."""
        place = f"{self.record.partition}:{self.record.offset}"
        line = Text.assemble(
            (utc(self.record.timestamp_ms) or "(no time)", "dim"), (f"  {place:<10} ", ""), *self.parts
        )
        line.truncate(width, overflow="ellipsis")
        return line


def prediction_line(record: Record) -> Line:
    """A labelled review; another record is shown as such, by its size."""
    try:
        prediction = json.loads(record.value or b"")
    except (ValueError, RecursionError):
        prediction = None
    place: dict[str, object] = {
        "partition": record.partition,
        "offset": record.offset,
        "time": utc(record.timestamp_ms),
    }
    label = prediction.get("label") if isinstance(prediction, dict) else None
    score = prediction.get("score") if isinstance(prediction, dict) else None
    if not isinstance(prediction, dict) or not isinstance(label, str) or not isinstance(score, int | float):
        size = len(record.value or b"")
        return Line(record, {"record": place, "bytes": size}, None, [(f"(no prediction, {size:,} bytes)", "dim")])
    # Labels come in the order of the model: the same one always has the same colour.
    labels = list(prediction["probabilities"]) if isinstance(prediction.get("probabilities"), dict) else []
    style = _STYLES[sorted(labels, reverse=True).index(label) % len(_STYLES)] if label in labels else ""
    parts = [(f"{visible(label):<10} ", style), (f"{bar(score)} ", style), (f"{score:.2f}", "")]
    parts.append((" ?" if prediction.get("unsure") else "  ", "bold"))
    return Line(record, {**prediction, "record": place}, _source(prediction.get("source")), parts)


def _source(source: object) -> tuple[str, int, int] | None:
    """Coordinates of the input record, if they are sound."""
    match source:
        case {"topic": str(topic), "partition": int(partition), "offset": int(offset)}:
            return topic, partition, offset
        case _:
            return None


def dead_letter_line(record: Record) -> Line:
    """A dead letter: reason, detail, size and source, nothing of its content."""
    letter = Letter.of(record)
    row = facts(letter)
    detail = letter.detail if letter.position is None else f"{letter.detail} at byte {letter.position}"
    size = "null" if letter.size == -1 else "? bytes" if letter.size is None else f"{letter.size:,} bytes"
    notes = [
        *([f"from {letter.source[1]}:{letter.source[2]}"] if letter.source else []),
        *([f"attempt {letter.attempts + 1}"] if letter.attempts else []),
        *([f"cut: {letter.cut}"] if letter.cut else []),
    ]
    cause = f"{letter.reason or '(no dead letter of a worker)'} {detail}"
    parts = [(f"{visible(cause):<28} ", "red"), (f"{size}  ", ""), (visible(", ".join(notes)), "dim")]
    return Line(record, row, letter.source, parts)
