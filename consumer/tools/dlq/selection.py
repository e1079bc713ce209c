"""Which dead letters a command is about: flags, and the records that they select."""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

from consumer.errors import UsageError
from consumer.kafka.tools.opening import opened
from consumer.kafka.tools.reading import Bounds, Place, TopicReader, new_reader
from consumer.records.fault import Detail, Reason
from consumer.records.letter import Letter
from consumer.settings import WorkerSettings
from consumer.tools.places import PLACES, assignment, coordinates, natural, place


def add_selection(parser: argparse.ArgumentParser) -> None:
    """The flags that select dead letters; all of them have to hold."""
    group = parser.add_argument_group("Which dead letters (all conditions have to hold)")
    group.add_argument(
        "--reason", action="append", choices=list(Reason), metavar="REASON", help="with this reason; repeatable"
    )
    group.add_argument(
        "--detail", action="append", choices=list(Detail), metavar="DETAIL", help="with this detail; repeatable"
    )
    group.add_argument(
        "--partition",
        action="append",
        type=int,
        metavar="N",
        help="in this partition of the dead-letter topic; repeatable",
    )
    group.add_argument(
        "--at", action="append", type=coordinates, metavar="PARTITION:OFFSET", help="this dead letter; repeatable"
    )
    group.add_argument(
        "--source",
        action="append",
        type=coordinates,
        metavar="PARTITION:OFFSET",
        help="the dead letter of this record of the input topic; repeatable",
    )
    group.add_argument(
        "--from",
        dest="first",
        type=place,
        default="beginning",
        metavar="PLACE",
        help=f"from here on: {PLACES} [default: beginning]",
    )
    group.add_argument(
        "--to", dest="stop", type=place, default="end", metavar="PLACE", help="up to here, excluded [default: end]"
    )
    group.add_argument(
        "--header",
        action="append",
        type=assignment,
        metavar="NAME=VALUE",
        help="whose input record had this header; repeatable",
    )
    group.add_argument("--count", type=natural, metavar="N", help="the first N of them")


@dataclass(frozen=True, slots=True)
class Selection:
    """The conditions of one command line; `Letter`s that meet all of them are selected."""

    reasons: frozenset[str]
    details: frozenset[str]
    partitions: frozenset[int] | None
    at: frozenset[tuple[int, int]]
    sources: frozenset[tuple[int, int]]
    first: Place
    stop: Place
    headers: tuple[tuple[str, str], ...]
    count: int | None

    @classmethod
    def of(cls, arguments: argparse.Namespace) -> "Selection":
        """As the flags of `add_selection` say."""
        at = frozenset(arguments.at or ())
        partitions = frozenset(arguments.partition) if arguments.partition else None
        if at and partitions is None:
            partitions = frozenset(partition for partition, _ in at)
        return cls(
            frozenset(arguments.reason or ()),
            frozenset(arguments.detail or ()),
            partitions,
            at,
            frozenset(arguments.source or ()),
            arguments.first,
            arguments.stop,
            tuple(arguments.header or ()),
            arguments.count,
        )

    def bounds(self, reader: TopicReader) -> dict[int, Bounds]:
        """What to read: more than is selected, because times of records may be out of order.

        Raises:
            UsageError: a partition that is asked for does not exist.
        """
        if self.partitions and (unknown := self.partitions - set(reader.partitions)):
            raise UsageError(f"there is no partition {min(unknown)}, only 0 to {max(reader.partitions)}")
        stop = "end" if isinstance(self.stop, datetime) else self.stop
        bounds = reader.bounds(self.first, stop, self.partitions)
        if not self.at:
            return bounds
        narrowed = {}
        for partition, (first, end) in bounds.items():
            offsets = [offset for number, offset in self.at if number == partition]
            low, high = (min(offsets), max(offsets) + 1) if offsets else (end, end)
            narrowed[partition] = (min(max(first, low), end), min(end, high))
        return narrowed

    def has(self, letter: Letter) -> bool:
        """Whether `letter` meets every condition but the count."""
        record = letter.record
        return (
            (not self.reasons or letter.reason in self.reasons)
            and (not self.details or letter.detail in self.details)
            and (not self.at or (record.partition, record.offset) in self.at)
            and (not self.sources or (letter.source is not None and letter.source[1:] in self.sources))
            and (not isinstance(self.first, datetime) or record.timestamp_ms >= self.first.timestamp() * 1000)
            and (not isinstance(self.stop, datetime) or record.timestamp_ms < self.stop.timestamp() * 1000)
            and all(
                (letter.header(name) or b"") == value.encode() and letter.header(name) is not None
                for name, value in self.headers
            )
        )

    def read(self, reader: TopicReader) -> Iterator[Letter]:
        """The selected dead letters: partition by partition, in order."""
        left = self.count
        for partition, bounds in self.bounds(reader).items():
            for record in reader.read({partition: bounds}):
                letter = Letter.of(record)
                if self.has(letter):
                    yield letter
                    left = None if left is None else left - 1
                    if left == 0:
                        return


@contextmanager
def dead_letters(settings: WorkerSettings) -> Iterator[TopicReader]:
    """A reader of the dead-letter topic.

    Raises:
        KafkaUnusable: no broker answers, or the topic may not be read.
    """
    with opened(settings, new_reader) as consumer:
        yield TopicReader(settings, consumer, settings.dead_letter_topic)
