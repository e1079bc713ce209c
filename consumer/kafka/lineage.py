"""Detects committed offsets that moved backwards by mistake, from the results that are already published.

A group coordinator can return old offsets, after a loss of data or because of a fault of its own, and nothing in
Kafka's protocol reports it (row 31 in docs/delivery.md). So every commit carries the name of a lineage in its metadata,
and every result carries it in a header; one transaction writes both. Within a lineage the offsets of a partition only
grow, and no result is ahead of the committed offset. If one is, the commit was lost, and reading resumes after it.

A commit repeats its own offset beside the lineage. Offsets that an operator sets carry neither, and if a tool moves an
offset and keeps the metadata (as cluster mirrors do), the two differ. Then a new lineage begins and the records are
labelled again, as requested: results of the old lineage say nothing about an offset that was chosen.
"""

import logging
import re
import secrets
import time
from collections.abc import Iterator, Mapping
from typing import Any

from kafka import TopicPartition
from kafka.errors import AuthorizationError, KafkaTimeoutError, RetriableError
from kafka.structs import OffsetAndMetadata

from consumer.errors import GaveUp
from consumer.kafka.beginnings import Beginnings
from consumer.kafka.client import reason_of
from consumer.settings import WorkerSettings

log = logging.getLogger(__name__)

HEADER = "source-lineage"
_METADATA = re.compile(r"lineage=([0-9a-f]{16}) offset=([0-9]{1,19})(?: partitions=[0-9]{1,9})?")
#: How far from the end of an output partition to look for a result, in offsets, step by step. The first is enough if
#: the output topics have as many partitions as the input; the last bounds how much is read. Dead letters may be large,
#: so `request_timeout_seconds` bounds how long it takes.
SPANS = (32, 256, 2048)
#: Wait for the position of the reader, which is known unless retention has just deleted what stood there.
POSITION_MS = 200


class ResultsTimeoutError(KafkaTimeoutError):  # type: ignore[misc]
    """Not all requested results came in time."""


class Lineages:
    """The lineage of each partition that is ours. Used by one thread.

    Args:
        settings: topics, timeouts.
        reader: a consumer of committed records, in no group; the caller closes it. None for at-least-once delivery,
            where results may be ahead: then nothing is marked, and nothing is compared.
        partitions: number of partitions of each topic.

    Attributes:
        beginnings: where this group begins; its mark ends the metadata of each commit.
    """

    def __init__(self, settings: WorkerSettings, reader: Any, partitions: Mapping[str, int]) -> None:
        self.beginnings = Beginnings(settings, partitions)
        self._settings = settings
        self.reader = reader
        self._partitions = partitions
        self._names: dict[int, str] = {}
        self._logged = False

    def headers(self, partition: int) -> list[tuple[str, bytes]]:
        """Headers for each result of a record of this source partition."""
        return [(HEADER, self._names[partition].encode())] if self._names else []

    def metadata(self, partition: int, offset: int) -> str:
        """Metadata for the commit of this offset of this source partition."""
        lineage = f"lineage={self._names[partition]} offset={offset}" if self._names else ""
        return f"{lineage} {self.beginnings.mark}".strip()

    def adopt(self, committed: Mapping[int, OffsetAndMetadata | None]) -> dict[int, int]:
        """Take over partitions with these committed offsets; a commit without a lineage of its own begins one.

        Returns:
            Where to resume instead, for each partition whose committed offset went back.

        Raises:
            KafkaError: the results could not be read; no partition is safe to read yet.
            GaveUp: results are unreadable, for example a batch that was damaged on a broker's disk.
        """
        self.beginnings.note(committed.values())
        if self.reader is None:
            return {}
        known: dict[int, str] = {}
        for partition, commit in committed.items():
            if commit is None:
                continue
            found = _METADATA.fullmatch(commit.metadata or "")
            if found and int(found[2]) == commit.offset:
                known[partition] = found[1]
        self._names |= {partition: known.get(partition) or secrets.token_hex(8) for partition in committed}
        try:
            last = self._last_results(known) if known else {}
        except AuthorizationError as error:
            if not self._logged:  # partitions may be taken over one by one, and again with every rebalance
                log.warning(
                    "committed offsets are not compared with results: no right to read them (%s)", reason_of(error)
                )
            self._logged = True
            return {}
        return {
            partition: offset + 1
            for partition, offset in last.items()
            if (commit := committed[partition]) is not None and offset >= commit.offset
        }

    def begin(self, partition: int) -> None:
        """Begin a new lineage for a partition of ours, whose records are labelled again."""
        if self._names:
            self._names[partition] = secrets.token_hex(8)

    def _last_results(self, lineages: Mapping[int, str]) -> dict[int, int]:
        """Source offset of the last result of each partition, if one is found in time on either topic."""
        seconds = self._settings.request_timeout_seconds
        last: dict[int, int] = {}
        compared = 0
        try:
            for source, offset in self._results(lineages, time.monotonic() + seconds):
                compared += 1
                if source is not None:
                    last[source] = max(last.get(source, -1), offset)
        except ResultsTimeoutError:
            if not compared:
                raise
            # They come, but too slowly. It would be the same next time, and the partition would never be read.
            log.warning("committed offsets are compared only with the %s results that came in %g s", compared, seconds)
        return last

    def _results(self, lineages: Mapping[int, str], deadline: float) -> Iterator[tuple[int | None, int]]:
        """Source partition and offset of each result read; None for one of another lineage."""
        partition_of = {name.encode(): partition for partition, name in lineages.items()}
        for topic in (self._settings.output_topic, self._settings.dead_letter_topic):
            sought: dict[TopicPartition, set[int]] = {}
            for partition in lineages:
                sought.setdefault(TopicPartition(topic, partition % self._partitions[topic]), set()).add(partition)
            left_ms = max(1, int((deadline - time.monotonic()) * 1000))
            starts = self.reader.beginning_offsets(list(sought), timeout_ms=left_ms)
            ends = before = self.reader.end_offsets(list(sought), timeout_ms=left_ms)  # of committed records
            if unknown := [place for place in sought if place not in starts or place not in ends]:
                raise KafkaTimeoutError(f"no leader of partition {unknown[0].partition} of {topic} is known")
            for span in SPANS:
                after = {place: max(starts[place], ends[place] - span) for place in sought}
                for place, headers in self._read(after, before, deadline):
                    source = partition_of.get(headers.get(HEADER) or b"")
                    offset = headers.get("source-offset") or b""
                    if source is not None and offset.isdigit():
                        sought[place].discard(source)
                        yield source, int(offset)
                    else:
                        yield None, -1
                before = after
                sought = {place: left for place, left in sought.items() if left and after[place] > starts[place]}

    def _read(
        self, after: Mapping[TopicPartition, int], before: Mapping[TopicPartition, int], deadline: float
    ) -> Iterator[tuple[TopicPartition, dict[str, bytes | None]]]:
        """Headers of the committed records with `after` <= offset < `before`; the last of each name."""
        unread = {place for place in after if after[place] < before[place]}
        self.reader.assign(list(unread))
        for place in unread:
            self.reader.seek(place, after[place])
        while unread:
            for place, records in self._polled(min(unread).topic).items():
                yield from ((place, dict(record.headers)) for record in records if record.offset < before[place])
            unread = {place for place in unread if self._position(place) < before[place]}
            if unread and time.monotonic() > deadline:
                raise ResultsTimeoutError(f"no answer on {min(unread).topic}")

    def _position(self, place: TopicPartition) -> int:
        # Without a timeout it would wait as long as the client looks for a place to start.
        position: int | None = self.reader.position(place, timeout_ms=POSITION_MS)
        return -1 if position is None else position

    def _polled(self, topic: str) -> dict[TopicPartition, list[Any]]:
        try:
            polled: dict[TopicPartition, list[Any]] = self.reader.poll(timeout_ms=200)
        except (RetriableError, AuthorizationError):
            raise
        except Exception as error:  # the client raises what its decoders raise
            raise GaveUp(
                f"cannot read the results on {topic}, which committed offsets are compared with: {reason_of(error)}; "
                "see docs/runbook.md"
            ) from error
        return polled
