"""Finds records of the input topic by their coordinates: results hold the label, not the text."""

import time
from collections.abc import Iterable
from typing import Any

from kafka import TopicPartition
from kafka.errors import KafkaError

from consumer.records.record import Record, record_of
from consumer.settings import WorkerSettings

Coordinates = tuple[str, int, int]
#: How long to look for the records of one batch of lines.
SECONDS = 3.0
#: Reading on is cheaper than going there, up to this many records.
NEAR = 2000


class Lookup:
    """Reads single records. Used by one thread.

    Args:
        consumer: of `consumer.kafka.tools.reading.new_reader`, for this alone.
        settings: the input topic; coordinates of other topics are not looked up.
    """

    def __init__(self, consumer: Any, settings: WorkerSettings) -> None:
        self._consumer = consumer
        self._topic = settings.input_topic
        #: Offset of the next record that the client returns.
        self._next: dict[TopicPartition, int] = {}

    def records(self, wanted: Iterable[Coordinates]) -> dict[Coordinates, Record]:
        """The records that are found within `SECONDS`; retention may have deleted the others, or rights be missing."""
        sought: dict[TopicPartition, set[int]] = {}
        for topic, partition, offset in wanted:
            if topic == self._topic:
                sought.setdefault(TopicPartition(topic, partition), set()).add(offset)
        found: dict[Coordinates, Record] = {}
        try:
            self._assign(sought.keys() - self._next.keys())
            for place in self._next:
                self._consumer.pause(place)
            deadline = time.monotonic() + SECONDS
            for place, offsets in sought.items():
                self._consumer.resume(place)
                self._read(place, offsets, deadline, found)
                self._consumer.pause(place)
        except (KafkaError, AssertionError):  # the words are an extra: the line is shown without them
            self._next.clear()
        return found

    def _assign(self, added: Iterable[TopicPartition]) -> None:
        if added := set(added):
            self._consumer.assign([*self._next, *added])
            for place in {*self._next, *added}:
                # Without a position the client would begin to read at its own choice.
                self._next.setdefault(place, 0)
                self._consumer.seek(place, self._next[place])

    def _read(
        self, place: TopicPartition, offsets: set[int], deadline: float, found: dict[Coordinates, Record]
    ) -> None:
        left = sorted(offsets)
        while left and time.monotonic() < deadline:
            if not self._next[place] <= left[0] <= self._next[place] + NEAR:
                self._consumer.seek(place, left[0])
                self._next[place] = left[0]
            for message in self._consumer.poll(timeout_ms=200).get(place, ()):
                self._next[place] = message.offset + 1
                if message.offset in offsets:
                    found[message.topic, message.partition, message.offset] = record_of(message)
            left = [offset for offset in left if offset >= self._next[place]]
