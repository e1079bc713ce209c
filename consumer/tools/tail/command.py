"""`review-consumer tail`: read, filter, look up the words, print, until there is a reason to end."""

import argparse
import os
import select
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack

from consumer.kafka.tools.lookup import Lookup
from consumer.kafka.tools.opening import opened
from consumer.kafka.tools.reading import PROBE_SECONDS, TopicReader, new_reader
from consumer.records.parse import Limits, ParsedReview, parse
from consumer.records.record import Record
from consumer.settings import WorkerSettings
from consumer.tools.options import EXIT_CODES, add_connection, settings_of
from consumer.tools.output import Output, add_json
from consumer.tools.places import PLACES, natural, place
from consumer.tools.tail.filters import Filter, add_filters
from consumer.tools.tail.lines import WORDS, Line, dead_letter_line, prediction_line


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What to show, from where, and how many."""
    parser.description = (
        "Show labelled reviews as they come: time, partition and offset, label, score, and the first words, which come "
        "from the input topic. Read committed, in no consumer group. Ctrl-C ends it."
    )
    parser.epilog = f"{EXIT_CODES}; 130 Ctrl-C"
    parser.add_argument(
        "--from", dest="first", type=place, default="end", metavar="PLACE", help=f"begin here: {PLACES} [default: end]"
    )
    parser.add_argument("--partition", action="append", type=int, metavar="N", help="only this partition; repeatable")
    parser.add_argument("--count", type=natural, metavar="N", help="end after N lines [default: go on]")
    parser.add_argument(
        "--no-follow", action="store_true", help="end at the end of the topic instead of waiting for more"
    )
    parser.add_argument("--dead-letters", action="store_true", help="show dead letters with reason and bytes instead")
    parser.add_argument(
        "--words",
        type=int,
        metavar="N",
        help=f"first words of each review; 0: do not read the input topic [default: {WORDS} on a terminal, else 0]",
    )
    add_filters(parser)
    add_json(parser)
    add_connection(parser, "input_topic", "output_topic", "dead_letter_topic", "text_field", "value_framing")


def run(arguments: argparse.Namespace) -> int:
    """Print until the count, the end, Ctrl-C, or until the reader of a pipe is gone.

    Raises:
        UsageError: filters that do not fit together.
        KafkaUnusable, GaveUp: Kafka cannot be read.
        BrokenPipeError: nobody reads any more.
    """
    wanted, output = Filter.of(arguments), Output(arguments.json)
    settings = settings_of(arguments)
    topic = settings.dead_letter_topic if arguments.dead_letters else settings.output_topic
    words = arguments.words if arguments.words is not None else (0 if output.is_json else WORDS)
    if arguments.dead_letters:
        words = 0  # content of dead letters is shown by `dlq show`
    left = arguments.count
    with ExitStack() as closing:
        reader = TopicReader(settings, closing.enter_context(opened(settings, new_reader)), topic)
        reads_words = words > 0
        lookup = Lookup(closing.enter_context(opened(settings, new_reader)), settings) if reads_words else None
        for records in _records(reader, arguments):
            lines = [line for record in records if (line := _line(record, arguments)) and wanted.has(line)]
            lines = lines if left is None else lines[:left]
            if lookup is not None:
                _add_words(lines, lookup, words, settings)
            for line in lines:
                if output.is_json:
                    output.line(line.row)
                else:
                    output.console.print(line.text(output.console.width), no_wrap=True, overflow="ellipsis", crop=True)
            if left is not None:
                left -= len(lines)
                if left <= 0:
                    break
    return 0


def _records(reader: TopicReader, arguments: argparse.Namespace) -> Iterator[list[Record]]:
    """What is read; while nothing comes, look whether brokers and the reader of our output are still there."""
    partitions = set(arguments.partition) if arguments.partition else None
    bounds = reader.bounds(arguments.first, partitions=partitions)
    if arguments.no_follow:
        yield from ([record] for record in reader.read(bounds))
        return
    watch = _Watch(reader)
    for records in reader.follow({partition: first for partition, (first, _) in bounds.items()}):
        if records:
            watch.heard()
        else:
            watch.quiet()
        yield records


class _Watch:
    """Looks around while nothing comes."""

    def __init__(self, reader: TopicReader) -> None:
        self._reader = reader
        self._silent = False
        self._looked = time.monotonic()
        self._pipe = select.poll()
        if not sys.stdout.isatty():
            self._pipe.register(sys.stdout.fileno(), 0)

    def heard(self) -> None:
        """Records came."""
        self._looked = time.monotonic()
        self._note(answers=True)

    def quiet(self) -> None:
        """Nothing came for a moment.

        Raises:
            BrokenPipeError: the reader of our output is gone.
        """
        if any(events & (select.POLLERR | select.POLLHUP) for _, events in self._pipe.poll(0)):
            raise BrokenPipeError
        if time.monotonic() - self._looked > PROBE_SECONDS:
            self._note(answers=self._reader.answers())
            self._looked = time.monotonic()

    def _note(self, *, answers: bool) -> None:
        if answers == self._silent:
            self._silent = not answers
            line = (
                "review-consumer: Kafka answers again\n" if answers else "review-consumer: waiting, no broker answers\n"
            )
            os.write(sys.stderr.fileno(), line.encode())


def _line(record: Record, arguments: argparse.Namespace) -> Line | None:
    return dead_letter_line(record) if arguments.dead_letters else prediction_line(record)


def _add_words(lines: list[Line], lookup: Lookup, words: int, settings: WorkerSettings) -> None:
    """Add the first words of each review, as far as the input topic still has it and this user may read it."""
    sources = [line.source for line in lines if line.source is not None]
    found = lookup.records(sources)
    limits = Limits.of(settings)
    for line in lines:
        record = found.get(line.source) if line.source is not None else None
        review = parse(record, limits) if record is not None else None
        if isinstance(review, ParsedReview):
            # Only the beginning is split: a review may be a megabyte.
            line.add_words(" ".join(review.text[: 200 * words].split()[:words]))
