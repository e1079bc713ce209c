"""The outcome of a record: one record to produce, to the output topic or to the dead-letter topic."""

import time
from dataclasses import dataclass

from consumer.model.labeller import Scored
from consumer.model.texts.language import UNDETERMINED, language_of
from consumer.records.fault import Fault, Reason
from consumer.records.foreign_headers import foreign_headers
from consumer.records.messages import Model, dead_letter_headers, prediction_json, source_headers
from consumer.records.outgoing import Outgoing
from consumer.records.parse import ParsedReview
from consumer.records.record import Record
from consumer.settings import OutputTimestamp, WorkerSettings


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of one record: a prediction with its label, or a dead letter with its fault.

    `characters` is the length of the text that was labelled, `language` what `language_of` says of it.
    """

    source: Record
    outgoing: Outgoing
    result: Scored | Fault
    characters: int = 0
    language: str = UNDETERMINED


class Outcomes:
    """Builds outcomes for the topics and size limit of `settings` and the model that is served."""

    def __init__(self, settings: WorkerSettings, model: Model) -> None:
        self._output_topic = settings.output_topic
        self._dead_letter_topic = settings.dead_letter_topic
        self._max_bytes = settings.max_request_bytes
        self._style, self._group_id = settings.dead_letter_headers, settings.group_id
        self._keeps_timestamps = settings.output_timestamp is OutputTimestamp.SOURCE
        self._model = model.model_dump(exclude_none=True)

    def predicted(self, record: Record, review: ParsedReview, scored: Scored) -> Outcome:
        """Return the prediction, or a dead letter if the prediction is too large to produce."""
        own = {
            "label": scored.label,
            "score": scored.score,
            "probabilities": scored.probabilities,
            "model": self._model if scored.member is None else {**self._model, "member": scored.member},
            "tokens": scored.tokens,
            "truncated": scored.truncated,
            "unknown": scored.unknown,
        }
        if scored.unsure is not None:
            own["unsure"] = scored.unsure
        headers = _headers(record) + source_headers(record)
        value = prediction_json(review, record, own)
        outgoing = Outgoing(
            self._output_topic, record.partition, record.key, value, headers, self._timestamp_ms(record)
        )
        if outgoing.size > self._max_bytes:
            return self.dead(record, Fault(Reason.PREDICTION_TOO_LARGE))
        return Outcome(record, outgoing, scored, len(review.text), language_of(review.text))

    def dead(self, record: Record, fault: Fault) -> Outcome:
        """Return the original bytes; if they are too large to produce, what fits of them and a header that says so."""
        headers = _headers(record)
        whole = self._dead_letter(record, record.key, record.value, headers + self._marks(record, fault))
        if whole.size <= self._max_bytes:
            return Outcome(record, whole, fault)
        key = record.key
        headers += self._marks(record, fault, cut="value")
        room = self._max_bytes - self._dead_letter(record, key, None, headers).size
        if room < 0:
            headers = self._marks(record, fault, cut="value,headers,key")
            key = (record.key or b"")[: self._max_bytes // 2] or None
            room = self._max_bytes - self._dead_letter(record, key, None, headers).size
        value = record.value if record.value is None else record.value[:room]
        return Outcome(record, self._dead_letter(record, key, value, headers), fault)

    def _marks(self, record: Record, fault: Fault, cut: str | None = None) -> list[tuple[str, bytes]]:
        """What a dead letter says of itself, after the headers of its input."""
        return dead_letter_headers(record, fault, cut) + foreign_headers(self._style, record, fault, self._group_id)

    def _dead_letter(
        self, record: Record, key: bytes | None, value: bytes | None, headers: list[tuple[str, bytes]]
    ) -> Outgoing:
        return Outgoing(self._dead_letter_topic, record.partition, key, value, headers, self._timestamp_ms(record))

    def _timestamp_ms(self, record: Record) -> int | None:
        """The timestamp of the record to produce; None: the current time.

        A timestamp of the future becomes the current time. A broker refuses one that is more than an hour ahead
        (message.timestamp.after.max.ms), so one record with a wrong clock would stop its partition.
        """
        if not self._keeps_timestamps or not 0 <= record.timestamp_ms <= time.time() * 1000:
            return None
        return record.timestamp_ms


def _headers(record: Record) -> list[tuple[str, bytes]]:
    """The headers of `record`. A null value becomes an empty one, because kafka-python cannot send null there."""
    return [(name, value or b"") for name, value in record.headers]
