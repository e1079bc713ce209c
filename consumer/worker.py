"""The loop: poll ▸ parse ▸ classify ▸ publish. It knows reviews and outcomes, neither Kafka nor an engine."""

import logging
import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from consumer.broker import Broker, NotPublished, Outgoing, Poll
from consumer.classifier import Classifier, Scored
from consumer.errors import GaveUp
from consumer.health import Health
from consumer.messages import (
    Limits,
    Model,
    ParsedReview,
    Reason,
    Record,
    dead_letter_headers,
    parse,
    prediction_json,
    source_headers,
)
from consumer.metrics import Metrics
from consumer.settings import WorkerSettings
from consumer.stall import Progress, StallDetector
from consumer.watchdog import Watchdog

log = logging.getLogger(__name__)

#: A poll that was not published is redone after 0.1 s, 0.2 s, 0.4 s ... and the worker gives up after this many.
ATTEMPTS = 6
#: A worker, busy or idle, asks the broker for the ends of its partitions this often.
PROBE_SECONDS = 5.0
#: Outcomes over which the share of dead letters is taken.
RATIO_WINDOW = 1000


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one record: a prediction with its label, or a dead letter with its reason."""

    source: Record
    outgoing: Outgoing
    result: Scored | Reason


@dataclass(slots=True)
class Pace:
    """How many records the next poll may bring, so that its inference takes about `target_seconds`."""

    target_seconds: float
    most: int
    records: int = 32
    _rate: float = field(default=0.0)

    def note(self, records: int, seconds: float) -> None:
        """Learn from a poll of `records` that took `seconds`; recent polls weigh more."""
        rate = records / max(seconds, 1e-6)
        self._rate = rate if not self._rate else 0.7 * self._rate + 0.3 * rate
        # At most doubled each time, so that one lucky poll of short reviews is not followed by a huge one of long ones.
        self.records = max(1, min(self.most, self.records * 2, int(self._rate * self.target_seconds)))


class Worker:
    """Runs until `stop` is called, or until drained. Everything it needs is handed in and stays the caller's to close.

    Raises (from `run`):
        GaveUp: a failure that a restart mends; what was not committed is taken again then.
    """

    def __init__(
        self,
        settings: WorkerSettings,
        broker: Broker,
        classifier: Classifier,
        *,
        model: Model,
        metrics: Metrics,
        health: Health,
        watchdog: Watchdog,
    ) -> None:
        self._settings = settings
        self._broker = broker
        self._classifier = classifier
        self._model = model.model_dump()
        self._metrics = metrics
        self._health = health
        self._watchdog = watchdog
        self._limits = Limits(
            settings.text_field, settings.id_field, settings.max_record_bytes, settings.max_text_characters
        )
        self._pace = Pace(settings.poll_target_seconds, settings.max_poll_records)
        self._stall = StallDetector(settings.stall_timeout_seconds)
        self._failures = 0
        self._assignment: frozenset[int] = frozenset()
        self._answered = self._probed = time.monotonic()
        self._recent: deque[bool] = deque(maxlen=RATIO_WINDOW)
        self.counts: Counter[str] = Counter()
        self.stopping = False

    def stop(self) -> None:
        """Finish the poll at hand, commit it, and return from `run`. Safe in a signal handler."""
        self.stopping = True

    def run(self) -> None:
        """Label reviews until told to stop."""
        while not self.stopping:
            self._turn_begins()
            started = time.monotonic()
            poll = self._broker.poll(self._pace.records)
            self._note_assignment()
            if not poll.records:
                if self._idle():
                    return
                continue
            self._metrics.stage_seconds.labels("poll").observe(time.monotonic() - started)
            outcomes = self._label(poll.records)
            self._commit(poll, outcomes)

    def _turn_begins(self) -> None:
        self._watchdog.rearm()
        self._health.turned()
        self._metrics.ready.set(self._health.ready)

    def _idle(self) -> bool:
        """Do what a full hand has no time for; True when drained."""
        now = time.monotonic()
        if now - self._probed >= PROBE_SECONDS:
            self._probe(now)
        try:
            self._broker.settle()
        except NotPublished as error:
            self._failed(str(error))
            return False
        self._failures = 0
        return self._settings.drain and self._broker.drained()

    def _probe(self, now: float) -> None:
        progress = self._broker.progress(PROBE_SECONDS)
        if progress is not None:
            self._answered = now
            self._health.not_ready_because = ""
            self._look_for_stall(progress, now)
        elif (silent := time.monotonic() - self._answered) >= self._settings.broker_timeout_seconds:
            raise GaveUp(f"no broker has answered for {silent:.0f} s; start the worker again when Kafka is back")
        elif not self._health.not_ready_because:
            self._health.not_ready_because = f"no answer from {self._settings.bootstrap_servers}"
            log.warning("%s; waiting for it", self._health.not_ready_because)
        self._probed = time.monotonic()

    def _look_for_stall(self, progress: Mapping[int, Progress], now: float) -> None:
        for partition, seen in progress.items():
            self._metrics.lag.labels(str(partition)).set(seen.lag)
        if (partition := self._stall.stalled(progress, now)) is not None:
            raise GaveUp(
                f"partition {partition} has not moved for {self._settings.stall_timeout_seconds:g} s although records "
                "wait in it; start the worker again"
            )

    def _note_assignment(self) -> None:
        assignment = self._broker.assignment()
        if assignment == self._assignment:
            return
        log.info("partitions assigned: %s", sorted(assignment) or "none")
        for partition in self._assignment - assignment:
            self._metrics.lag.remove(str(partition))
        missed = self._broker.take_stock(assignment - self._assignment)
        for partition, records in missed.items():
            self._metrics.deleted_unread.inc(records)
            log.error("partition %s: %s records were deleted by retention before they were read", partition, records)
        self._assignment = assignment
        self._metrics.assigned.set(len(assignment))

    def _label(self, records: Sequence[Record]) -> list[Outcome]:
        """One outcome for each of `records`, in order."""
        started = time.monotonic()
        parsed = [parse(record, self._limits) for record in records]
        read = time.monotonic()
        classified = self._classifier.classify([review.text for review in parsed if isinstance(review, ParsedReview)])
        results = iter(classified.results)
        outcomes = []
        for record, review in zip(records, parsed, strict=True):
            result = next(results) if isinstance(review, ParsedReview) else review
            if isinstance(review, ParsedReview) and isinstance(result, Scored):
                outcomes.append(self._predicted(record, review, result))
            else:
                outcomes.append(self._dead(record, review if isinstance(review, Reason) else Reason.MODEL_ERROR))
        self._pace.note(len(records), time.monotonic() - started)
        stats, stage = classified.stats, self._metrics.stage_seconds
        stage.labels("parse").observe(read - started)
        stage.labels("tokenise").observe(stats.tokenise_seconds)
        stage.labels("infer").observe(stats.infer_seconds)
        self._metrics.model_batches.inc(stats.batches)
        self._metrics.tokens.labels("real").inc(stats.tokens)
        self._metrics.tokens.labels("padding").inc(stats.padded_tokens - stats.tokens)
        return outcomes

    def _predicted(self, record: Record, review: ParsedReview, scored: Scored) -> Outcome:
        own = {
            "label": scored.label,
            "score": scored.score,
            "probabilities": scored.probabilities,
            "model": self._model,
            "tokens": scored.tokens,
            "truncated": scored.truncated,
        }
        headers = [(name, value or b"") for name, value in record.headers] + source_headers(record)
        value = prediction_json(review, record, own)
        outgoing = Outgoing(self._settings.output_topic, record.partition, record.key, value, headers)
        if outgoing.size > self._settings.max_request_bytes:
            return self._dead(record, Reason.PREDICTION_TOO_LARGE)
        return Outcome(record, outgoing, scored)

    def _dead(self, record: Record, reason: Reason) -> Outcome:
        """The original bytes, unless no broker would take them: then what fits, and a header that says so."""
        topic, most = self._settings.dead_letter_topic, self._settings.max_request_bytes
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

    def _commit(self, poll: Poll, outcomes: Sequence[Outcome]) -> None:
        started = time.monotonic()
        try:
            self._broker.publish(poll, [outcome.outgoing for outcome in outcomes])
        except NotPublished as error:
            self._broker.rewind(poll)
            self._failed(str(error))
            return
        self._failures = 0
        self._answered = time.monotonic()
        self._health.not_ready_because = ""
        self._metrics.stage_seconds.labels("publish").observe(self._answered - started)
        self._count(outcomes)
        if self._answered - self._probed >= PROBE_SECONDS:
            self._probe(self._answered)

    def _failed(self, cause: str) -> None:
        """Nothing was published: wait a little longer each time, then leave it to a new process."""
        self._failures += 1
        self._metrics.not_published.inc()
        if self._failures >= ATTEMPTS:
            raise GaveUp(f"nothing could be published {self._failures} times in a row ({cause}); see docs/runbook.md")
        log.warning("not published, taken again (%s of %s): %s", self._failures, ATTEMPTS, cause)
        time.sleep(0.05 * 2**self._failures)

    def _count(self, outcomes: Sequence[Outcome]) -> None:
        metrics, now = self._metrics, time.time()
        metrics.consumed.inc(len(outcomes))
        metrics.poll_records.observe(len(outcomes))
        for outcome in outcomes:
            dead = isinstance(outcome.result, Reason)
            if isinstance(outcome.result, Reason):
                metrics.dead_lettered.labels(outcome.result.value).inc()
            else:
                metrics.labelled.labels(outcome.result.label).inc()
                metrics.score.observe(outcome.result.score)
                metrics.truncated.inc(outcome.result.truncated)
            if outcome.source.timestamp_ms >= 0:
                # A producer's clock may run ahead of ours.
                metrics.record_age.observe(max(0.0, now - outcome.source.timestamp_ms / 1000))
            self.counts["dead_lettered" if dead else "labelled"] += 1
            self._recent.append(dead)
        ratio = sum(self._recent) / RATIO_WINDOW
        if len(self._recent) == RATIO_WINDOW and ratio > self._settings.max_dead_letter_ratio:
            raise GaveUp(
                f"{ratio:.0%} of the last {RATIO_WINDOW} records were dead letters, more than max_dead_letter_ratio; "
                "find out what the producers changed before starting again"
            )
