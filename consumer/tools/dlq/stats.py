"""`dlq stats`: how many dead letters there are, of which kinds, in flat memory."""

import argparse
from collections import Counter
from collections.abc import Iterator

from consumer.records.letter import Letter
from consumer.tools.dlq.selection import Selection, add_selection, dead_letters
from consumer.tools.options import settings_of
from consumer.tools.output import Output, progress
from consumer.tools.places import utc

HOUR_MS, DAY_MS = 3_600_000, 86_400_000
#: Rows of the table of times: beyond that, days are counted instead of hours.
MOST_TIMES = 48
#: Different values that are counted; the others are one row.
MOST_VALUES = 1000
#: How often progress is shown, in records.
STEP = 2000
OTHERS = "(other values)"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What to count, and by what."""
    parser.add_argument(
        "--by-header",
        action="append",
        default=[],
        metavar="NAME",
        help="also count by the value of this header of the input records, which is printed; repeatable",
    )
    add_selection(parser)


def run(arguments: argparse.Namespace) -> int:
    """Count and print."""
    selection, output = Selection.of(arguments), Output(arguments.json)
    settings = settings_of(arguments)
    counts = Counts(arguments.by_header)
    with dead_letters(settings) as reader:
        bounds = selection.bounds(reader)
        with progress("reading", sum(stop - first for first, stop in bounds.values())) as advance:
            left = selection.count
            for number, record in enumerate(reader.read(bounds), 1):
                letter = Letter.of(record)
                if selection.has(letter):
                    counts.add(letter)
                    left = None if left is None else left - 1
                if number % STEP == 0:
                    advance(STEP)
                if left == 0:
                    break
    _print(counts, output, settings.dead_letter_topic)
    return 0


class Counts:
    """Counters of dead letters.

    Args:
        headers: names of headers whose values are counted.

    Attributes:
        by: a counter for each way of counting.
        total: dead letters.
        cut: those whose bytes are not all there.
        replayed: those that had been sent again before.
        bytes: of the original values.
    """

    def __init__(self, headers: list[str]) -> None:
        self.by: dict[str, Counter[str | int]] = {
            name: Counter() for name in ("reason", "detail", "partition", "hour", "header")
        }
        self.by |= {f"header {name}": Counter() for name in headers}
        self._headers = headers
        self.total = self.cut = self.replayed = self.bytes = 0

    def add(self, letter: Letter) -> None:
        """Count one."""
        by, record = self.by, letter.record
        self.total += 1
        self.cut += bool(letter.cut)
        self.replayed += letter.attempts > 0
        self.bytes += max(0, letter.size or 0)
        by["reason"][letter.reason or "(no dead letter of a worker)"] += 1
        by["detail"][letter.cause] += 1
        by["partition"][record.partition] += 1
        by["hour"][record.timestamp_ms // HOUR_MS] += 1
        original = letter.original_headers
        for name in {name for name, _ in original}:
            _bounded(by["header"], str(name))
        values = dict(original)
        for name in self._headers:
            value = (
                (values.get(name) or b"").decode("utf-8", "backslashreplace") if name in values else "(no such header)"
            )
            _bounded(by[f"header {name}"], value[:200])

    def rows(self) -> Iterator[dict[str, object]]:
        """One row for each count: by what, value, count, share of all."""
        for name, counter in self.by.items():
            found = _times(counter) if name == "hour" else [(str(value), n) for value, n in counter.most_common()]
            if name == "partition":
                found.sort(key=lambda each: int(each[0]))
            for value, count in found:
                by = ("day" if len(counter) > MOST_TIMES else "hour") if name == "hour" else name
                yield {"by": by, "value": value, "count": count, "share": round(count / self.total, 4)}


def _bounded(counter: Counter[str | int], value: str) -> None:
    counter[value if value in counter or len(counter) < MOST_VALUES else OTHERS] += 1


def _times(hours: Counter[str | int]) -> list[tuple[str, int]]:
    """Counts by hour, or by day if there are many."""
    step = DAY_MS // HOUR_MS if len(hours) > MOST_TIMES else 1
    merged: Counter[int] = Counter()
    for hour, count in hours.items():
        merged[int(hour) // step * step] += count
    return [(utc(hour * HOUR_MS) or "(no time)", count) for hour, count in sorted(merged.items())]


def _print(counts: Counts, output: Output, topic: str) -> None:
    if output.is_json:
        summary = {"total": counts.total, "cut": counts.cut, "replayed": counts.replayed, "bytes": counts.bytes}
        output.line({"by": "all", "value": topic, "count": counts.total, **summary})
        output.rows(counts.rows(), ())
        return
    output.say(
        f"{topic}: {counts.total:,} dead letters, {counts.bytes:,} bytes of values; {counts.cut:,} are cut, "
        f"{counts.replayed:,} had been sent again before"
    )
    tables: dict[str, list[dict[str, object]]] = {}
    for row in counts.rows():
        row["share"] = f"{row['share']:.1%}"
        tables.setdefault(str(row["by"]), []).append({str(row["by"]): row["value"], **row})
    for name, rows in tables.items():
        output.rows(rows, (name, "count", "share"))
