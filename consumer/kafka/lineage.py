"""Committed offsets that went back although nobody asked for it, noticed by the results that are already there.

A group coordinator can answer with offsets that it once had, after a loss of data or a fault of its own, and nothing
in Kafka's protocol tells (row 31 in docs/delivery.md). So every commit carries, as its metadata, the name of a lineage,
and so does every result, as a header; one transaction writes both. Within a lineage the offsets of a partition only
grow, and no result is ahead of the committed offset. Where one is, the commit is lost, and reading goes on behind it.

A commit repeats its own offset beside the lineage. Offsets that a person sets carry neither, and where a tool moves an
offset and keeps the metadata (as a mirror of clusters does), the two differ. A new lineage begins then, and the records
are labelled again, as asked: results of the old one say nothing about an offset that somebody chose.
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
from consumer.kafka.client import reason_of
from consumer.settings import WorkerSettings

log = logging.getLogger(__name__)

HEADER = "source-lineage"
_METADATA = re.compile(r"lineage=([0-9a-f]{16}) offset=([0-9]{1,19})")
#: Offsets from the end of an output partition within which a result is looked for, one step after the other. The first
#: is enough where the output topics have as many partitions as the input; the last bounds how much is read. Not for how
#: long, for dead letters may be large: `request_timeout_seconds` does that.
SPANS = (32, 256, 2048)


class ResultsTimeoutError(KafkaTimeoutError):  # type: ignore[misc]
    """Not all results that were asked for came in time."""


class Lineages:
    """The lineage of each partition that is ours. Used by one thread.

    Args:
        settings: topics, timeouts.
        reader: a consumer of committed records, in no group; the caller's to close. None for at-least-once delivery,
            where results may well be ahead: nothing is marked then, and nothing is looked at.
        partitions: number of partitions of each topic.
    """

    def __init__(self, settings: WorkerSettings, reader: Any, partitions: Mapping[str, int]) -> None:
        self._settings = settings
        self._reader = reader
        self._partitions = partitions
        self._names: dict[int, str] = {}
        self._told = False

    def headers(self, partition: int) -> list[tuple[str, bytes]]:
        """For each result of a record of this source partition."""
        return [(HEADER, self._names[partition].encode())] if self._names else []

    def metadata(self, partition: int, offset: int) -> str:
        """For the commit of this offset of this source partition."""
        return f"lineage={self._names[partition]} offset={offset}" if self._names else ""

    def adopt(self, committed: Mapping[int, OffsetAndMetadata | None]) -> dict[int, int]:
        """Take over partitions with these committed offsets, or begin a lineage where they have none of their own.

        Returns:
            Where to go on instead, for each partition whose committed offset went back.

        Raises:
            KafkaError: the results could not be looked at; nothing is safe to read yet.
            GaveUp: results cannot be read, as a batch that was damaged on the disk of a broker.
        """
        if self._reader is None:
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
            if not self._told:  # partitions may be taken over one by one, and again with every rebalance
                log.warning(
                    "committed offsets are not compared with results: no right to read them (%s)", reason_of(error)
                )
            self._told = True
            return {}
        return {
            partition: offset + 1
            for partition, offset in last.items()
            if (commit := committed[partition]) is not None and offset >= commit.offset
        }

    def begin(self, partition: int) -> None:
        """A new lineage for a partition of ours: its records are labelled again from the start."""
        if self._names:
            self._names[partition] = secrets.token_hex(8)

    def _last_results(self, lineages: Mapping[int, str]) -> dict[int, int]:
        """Source offset of the last result of each partition, as far as one is found, on either topic, in time."""
        seconds = self._settings.request_timeout_seconds
        last: dict[int, int] = {}
        looked_at = 0
        try:
            for source, offset in self._results(lineages, time.monotonic() + seconds):
                looked_at += 1
                if source is not None:
                    last[source] = max(last.get(source, -1), offset)
        except ResultsTimeoutError:
            if not looked_at:
                raise
            # They come, too slowly: so they would the next time, and no partition would be read for ever.
            log.warning("committed offsets are compared with the %s results that came in %g s", looked_at, seconds)
        return last

    def _results(self, lineages: Mapping[int, str], deadline: float) -> Iterator[tuple[int | None, int]]:
        """Source partition and offset of each record that is looked at; None for one of no lineage of ours."""
        partition_of = {name.encode(): partition for partition, name in lineages.items()}
        for topic in (self._settings.output_topic, self._settings.dead_letter_topic):
            sought: dict[TopicPartition, set[int]] = {}
            for partition in lineages:
                sought.setdefault(TopicPartition(topic, partition % self._partitions[topic]), set()).add(partition)
            left_ms = max(1, int((deadline - time.monotonic()) * 1000))
            starts = self._reader.beginning_offsets(list(sought), timeout_ms=left_ms)
            ends = before = self._reader.end_offsets(list(sought), timeout_ms=left_ms)  # of committed records
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
        """Headers of the committed records with `after` <= offset < `before`; of a name that occurs twice the last."""
        unread = {place for place in after if after[place] < before[place]}
        self._reader.assign(list(unread))
        for place in unread:
            self._reader.seek(place, after[place])
        while unread:
            for place, records in self._polled(min(unread).topic).items():
                yield from ((place, dict(record.headers)) for record in records if record.offset < before[place])
            unread = {place for place in unread if (self._reader.position(place) or 0) < before[place]}
            if unread and time.monotonic() > deadline:
                raise ResultsTimeoutError(f"no answer on {min(unread).topic}")

    def _polled(self, topic: str) -> dict[TopicPartition, list[Any]]:
        try:
            polled: dict[TopicPartition, list[Any]] = self._reader.poll(timeout_ms=200)
        except (RetriableError, AuthorizationError):
            raise
        except Exception as error:  # the client raises what its decoders raise
            raise GaveUp(
                f"cannot read the results on {topic}, with which committed offsets are compared: {reason_of(error)}; "
                "see docs/runbook.md"
            ) from error
        return polled
