"""The outcome of a record: one record to produce, to the output topic or to the dead-letter topic."""

from dataclasses import dataclass

from consumer.model.classifier import Scored
from consumer.records.messages import (
    Model,
    ParsedReview,
    Reason,
    dead_letter_headers,
    prediction_json,
    source_headers,
)
from consumer.records.outgoing import Outgoing
from consumer.records.record import Record
from consumer.settings import WorkerSettings


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of one record: a prediction with its label, or a dead letter with its reason."""

    source: Record
    outgoing: Outgoing
    result: Scored | Reason


class Outcomes:
    """Builds outcomes for the topics and size limit of `settings` and the model that is served."""

    def __init__(self, settings: WorkerSettings, model: Model) -> None:
        self._output_topic = settings.output_topic
        self._dead_letter_topic = settings.dead_letter_topic
        self._max_bytes = settings.max_request_bytes
        self._model = model.model_dump()

    def predicted(self, record: Record, review: ParsedReview, scored: Scored) -> Outcome:
        """Return the prediction, or a dead letter if the prediction is too large to produce."""
        own = {
            "label": scored.label,
            "score": scored.score,
            "probabilities": scored.probabilities,
            "model": self._model,
            "tokens": scored.tokens,
            "truncated": scored.truncated,
            "unknown": scored.unknown,
        }
        if scored.unsure is not None:
            own["unsure"] = scored.unsure
        headers = [(name, value or b"") for name, value in record.headers] + source_headers(record)
        value = prediction_json(review, record, own)
        outgoing = Outgoing(self._output_topic, record.partition, record.key, value, headers)
        if outgoing.size > self._max_bytes:
            return self.dead(record, Reason.PREDICTION_TOO_LARGE)
        return Outcome(record, outgoing, scored)

    def dead(self, record: Record, reason: Reason) -> Outcome:
        """Return the original bytes; if they are too large to produce, what fits of them and a header that says so."""
        topic, most = self._dead_letter_topic, self._max_bytes
        headers = [(name, value or b"") for name, value in record.headers]
        own = dead_letter_headers(record, reason)
        whole = Outgoing(topic, record.partition, record.key, record.value, headers + own)
        if whole.size <= most:
            return Outcome(record, whole, reason)
        own = dead_letter_headers(record, reason, cut="value")
        room = most - Outgoing(topic, record.partition, record.key, None, headers + own).size
        key = record.key
        if room < 0:
            own = dead_letter_headers(record, reason, cut="value,headers,key")
            headers, key = [], (record.key or b"")[: most // 2] or None
            room = most - Outgoing(topic, record.partition, key, None, own).size
        value = record.value if record.value is None else record.value[:room]
        return Outcome(record, Outgoing(topic, record.partition, key, value, headers + own), reason)
