"""Which dead letters may be sent again, and what is sent then."""

import argparse
import time

from consumer.kafka.tools.reading import TopicReader
from consumer.records.letter import ATTEMPT, REPLAY_OF, Letter
from consumer.records.outgoing import Outgoing
from consumer.settings import WorkerSettings

#: A record this close to the end of the input topic's retention might be deleted before it is labelled.
SPARE_SECONDS = 3600.0

#: Why a selected dead letter is not sent, and what to do about it.
REFUSALS = {
    "cut": "bytes are missing: send the original again from its producer",
    "foreign": "no worker wrote it: it has no dead-letter-reason and source",
    "other_topic": "it comes of another input topic: set --input-topic to that one",
    "attempts": "it was sent again --max-attempts times: find out why it fails",
    "retention": "its time is older than the retention of the input topic, which would delete it: add --timestamp now",
    "too_large": "it is larger than --max-request-bytes",
}


class Judge:
    """Decides what may be sent, and builds it.

    Args:
        arguments: of the command line.
        settings: topics, largest record.
        target: the input topic.
    """

    def __init__(self, arguments: argparse.Namespace, settings: WorkerSettings, target: TopicReader) -> None:
        self._settings = settings
        self._max_attempts = arguments.max_attempts
        self._keeps_time = arguments.timestamp == "source"
        self._partitions = len(target.partitions)
        kept_ms = target.configured("retention.ms") if self._keeps_time else None
        deletes = target.configured("cleanup.policy") != "compact"
        spare = time.time() - SPARE_SECONDS
        self._oldest_ms = spare * 1000 - int(kept_ms) if kept_ms and int(kept_ms) >= 0 and deletes else None

    def refusal(self, letter: Letter) -> str:
        """One of `REFUSALS`; empty if it may be sent."""
        if not letter.reason or letter.source is None:
            return "foreign"
        if letter.cut:
            return "cut"
        if letter.source[0] != self._settings.input_topic:
            return "other_topic"
        if letter.attempts >= self._max_attempts:
            return "attempts"
        if self._oldest_ms is not None and 0 <= letter.source_timestamp_ms < self._oldest_ms:
            return "retention"
        if self.outgoing(letter).size > self._settings.max_request_bytes:
            return "too_large"
        return ""

    def outgoing(self, letter: Letter) -> Outgoing:
        """The input record as it was, in its partition if the topic still has that, with the headers of a replay."""
        _, partition, _ = letter.source or ("", 0, 0)
        headers = [(name, value or b"") for name, value in letter.original_headers]
        headers += [(ATTEMPT, b"%d" % (letter.attempts + 1)), (REPLAY_OF, letter.first_source.encode())]
        keeps = self._keeps_time and letter.source_timestamp_ms >= 0
        return Outgoing(
            self._settings.input_topic,
            partition % self._partitions,
            letter.record.key,
            letter.record.value,
            headers,
            letter.source_timestamp_ms if keeps else None,
        )
