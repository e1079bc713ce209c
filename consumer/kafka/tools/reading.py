"""Reads a topic for a tool: a bounded part of it or live, in no group, committed records alone, in flat memory."""

import heapq
import time
from collections.abc import Collection, Iterator, Mapping
from datetime import datetime
from typing import Any, Literal

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import AuthorizationError, KafkaError, RetriableError

from consumer.errors import GaveUp, KafkaUnusable
from consumer.kafka.client import Clients, connection, reason_of
from consumer.kafka.fixes.topics import configured
from consumer.records.record import Record, record_of
from consumer.settings import WorkerSettings
from consumer.settings.times import CONNECT_SECONDS

#: Where to begin or end in each partition: a time, an offset, or, if negative, that many records before the end.
Place = Literal["beginning", "end"] | int | datetime
#: Offsets of a partition: the first to read, and the one after the last.
Bounds = tuple[int, int]

POLL_SECONDS = 0.5
#: Records of one poll, and bytes of one response: what is held at a time.
POLL_RECORDS, FETCH_BYTES = 1000, 8 * 1024 * 1024
#: A quiet topic is asked this often whether a broker still answers, and whether it has new partitions.
PROBE_SECONDS = 5.0
#: A bounded part that does not come for this long is given up.
SILENT_SECONDS = 60.0
_POSITION_MS = 200


def new_reader(settings: WorkerSettings, clients: Clients) -> Any:
    """Create the client of a `TopicReader`: see `consumer.kafka.tools.opening`."""
    return KafkaConsumer(
        **connection(settings, CONNECT_SECONDS, settings.request_timeout_seconds),
        kafka_client=clients,
        group_id=None,
        isolation_level="read_committed",
        enable_auto_commit=False,
        auto_offset_reset="earliest",  # if retention deletes what is about to be read
        client_rack=settings.client_rack or "",
        metadata_max_age_ms=int(settings.metadata_max_age_seconds * 1000),
        max_poll_records=POLL_RECORDS,
        fetch_max_bytes=FETCH_BYTES,
    )


class TopicReader:
    """Reads one topic. Used by one thread.

    Args:
        settings: timeouts.
        consumer: of `new_reader`; not shared with another reader.
        topic: what to read.

    Raises:
        KafkaUnusable: the topic does not exist, or this user may not read it; here and in each method.

    Attributes:
        partitions: their numbers, in order.
    """

    def __init__(self, settings: WorkerSettings, consumer: Any, topic: str) -> None:
        self._consumer = consumer
        self._topic = topic
        self._timeout_ms = int(settings.request_timeout_seconds * 1000)
        self.partitions = self._known_partitions()
        if not self.partitions:
            raise KafkaUnusable(f"topic {topic} does not exist, or this user may not see it; check its name and rights")

    def configured(self, name: str) -> str | None:
        """One setting of the topic; None if this user may not see it."""
        return configured(self._consumer, self._topic, name, self._timeout_ms / 1000)

    def bounds(self, first: Place, stop: Place = "end", partitions: Collection[int] | None = None) -> dict[int, Bounds]:
        """What to read of each partition, as of now; it may be empty.

        Args:
            first: where to begin. A time: at the first record that is not older.
            stop: where to end, excluding it.
            partitions: only these; None: all.

        Raises:
            KafkaError: no broker can tell.
        """
        places = [self._place(each) for each in self.partitions if partitions is None or each in partitions]
        ends = self._consumer.end_offsets(places, timeout_ms=self._timeout_ms)  # of committed records
        starts = self._consumer.beginning_offsets(places, timeout_ms=self._timeout_ms)
        if unknown := [place.partition for place in places if place not in ends or place not in starts]:
            raise GaveUp(f"no leader of partition {unknown[0]} of {self._topic} is known; try again")
        firsts, stops = (self._resolved(place, starts, ends) for place in (first, stop))
        return {
            place.partition: (
                min(max(starts[place], firsts[place]), ends[place]),
                min(max(starts[place], stops[place]), ends[place]),
            )
            for place in places
        }

    def read(self, bounds: Mapping[int, Bounds]) -> Iterator[Record]:
        """The records within `bounds`: in order within each partition, each once.

        Raises:
            GaveUp: a record cannot be read, or none has come for `SILENT_SECONDS`.
        """
        stops = {self._place(number): stop for number, (first, stop) in bounds.items() if first < stop}
        following = {self._place(number): first for number, (first, _) in bounds.items()}
        self._go_to({place: following[place] for place in stops})
        heard = time.monotonic()
        while stops:
            for place, records in self._poll().items():
                heard = time.monotonic()
                for record in records:
                    if following[place] <= record.offset < stops.get(place, 0):
                        following[place] = record.offset + 1
                        yield record_of(record)
                # What is done with a record may take long; that is no silence.
                heard = time.monotonic()
            reached = [place for place, stop in stops.items() if self._position(place) >= stop]
            for place in reached:
                del stops[place]
            self._consumer.pause(*reached)
            if stops and time.monotonic() - heard > SILENT_SECONDS:
                raise GaveUp(
                    f"partition {min(stops).partition} of {self._topic} has not answered for {SILENT_SECONDS:g} s; run "
                    "the command again when its leader is back"
                )

    def follow(self, starts: Mapping[int, int]) -> Iterator[list[Record]]:
        """Records as they come, by their time, without an end; an empty list after each `POLL_SECONDS` without one.

        Partitions that are added later are read from their first record. Brokers that restart are waited for.

        Raises:
            GaveUp: a record cannot be read.
        """
        following = {self._place(number): first for number, first in starts.items()}
        every_partition = len(following) == len(self.partitions)
        self._go_to(following)
        looked = time.monotonic()
        while True:
            polled = self._poll()
            found = {}
            for place, records in polled.items():
                found[place] = [record_of(record) for record in records if record.offset >= following[place]]
                following[place] = max(following[place], records[-1].offset + 1)
            yield list(heapq.merge(*found.values(), key=lambda record: record.timestamp_ms))
            if every_partition and time.monotonic() - looked > PROBE_SECONDS:
                looked = time.monotonic()
                if added := set(map(self._place, self._known_partitions())) - following.keys():
                    following |= dict.fromkeys(added, 0)
                    self._go_to(following)

    def answers(self) -> bool:
        """Whether a broker answers within `PROBE_SECONDS`."""
        try:
            first = self._place(self.partitions[0])
            return first in self._consumer.end_offsets([first], timeout_ms=int(PROBE_SECONDS * 1000))
        except KafkaError:
            return False

    def _known_partitions(self) -> list[int]:
        try:
            return sorted(self._consumer.partitions_for_topic(self._topic) or ())
        except AuthorizationError as error:
            raise self._forbidden(error) from error

    def _place(self, partition: int) -> TopicPartition:
        return TopicPartition(self._topic, partition)

    def _resolved(
        self, place: Place, starts: Mapping[TopicPartition, int], ends: Mapping[TopicPartition, int]
    ) -> Mapping[TopicPartition, int]:
        """The offset that `place` is in each partition."""
        if place == "beginning":
            return starts
        if place == "end":
            return ends
        if isinstance(place, datetime):
            times = dict.fromkeys(ends, int(place.timestamp() * 1000))
            found = self._consumer.offsets_for_times(times, timeout_ms=self._timeout_ms)
            return {each: ends[each] if found.get(each) is None else found[each].offset for each in ends}
        return {each: int(place) if int(place) >= 0 else ends[each] + int(place) for each in ends}

    def _go_to(self, offsets: Mapping[TopicPartition, int]) -> None:
        self._consumer.assign(list(offsets))
        self._consumer.resume(*offsets)
        for place, offset in offsets.items():
            self._consumer.seek(place, offset)

    def _position(self, place: TopicPartition) -> int:
        # Without a timeout it would wait as long as the client looks for a place to start.
        position: int | None = self._consumer.position(place, timeout_ms=_POSITION_MS)
        return -1 if position is None else position

    def _poll(self) -> dict[TopicPartition, list[Any]]:
        try:
            polled: dict[TopicPartition, list[Any]] = self._consumer.poll(timeout_ms=int(POLL_SECONDS * 1000))
        except AuthorizationError as error:
            raise self._forbidden(error) from error
        except RetriableError:
            return {}
        except Exception as error:  # the client raises what its decoders raise
            raise GaveUp(
                f"a record of {self._topic} cannot be read: {reason_of(error)}; see docs/runbook.md"
            ) from error
        return polled

    def _forbidden(self, error: Exception) -> KafkaUnusable:
        return KafkaUnusable(f"topic {self._topic}: {reason_of(error)}; this user needs the rights Read and Describe")
