"""The loop: poll ▸ parse ▸ classify ▸ publish. It knows reviews and outcomes, but neither Kafka nor engines."""

import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence

from consumer.errors import GaveUp
from consumer.model.labeller import Labeller, Scored
from consumer.pace import Pace
from consumer.records.fault import Fault, Reason
from consumer.records.messages import Model
from consumer.records.outcomes import Outcome, Outcomes
from consumer.records.parse import Limits, ParsedReview, parse
from consumer.records.poll import Channel, NotPublished, Poll
from consumer.records.progress import Progress
from consumer.records.record import Record
from consumer.service.dead_letter_log import DeadLetterLog
from consumer.service.health import Health, State
from consumer.service.metrics import Metrics
from consumer.settings import WorkerSettings
from consumer.settings.times import PROBE_SECONDS
from consumer.stall import StallDetector

log = logging.getLogger(__name__)

#: A poll that was not published is retried after 0.1 s, 0.2 s, 0.4 s ... After this many failures the worker gives up.
ATTEMPTS = 6
#: The share of dead letters is that of the last outcomes, this many.
RATIO_WINDOW = 1000


class Worker:
    """Labels reviews until stopped or drained. The caller closes everything that it passes in.

    Args:
        settings: of this worker.
        broker: where records come from and results go.
        classifier: labels texts.
        model: what the classifier serves, for results.
        metrics: updated with each poll.
        health: updated with what the broker returns.
        alive: called at least once in each turn of the loop, and during waits that are long and yet no hang.
        stopping: whether to return after the current poll.

    Attributes:
        counts: outcomes that were committed, "labelled" and "dead_lettered".
    """

    def __init__(
        self,
        settings: WorkerSettings,
        broker: Channel,
        classifier: Labeller,
        *,
        model: Model,
        metrics: Metrics,
        health: Health,
        alive: Callable[[], None],
        stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        self._settings = settings
        self._broker = broker
        self._classifier = classifier
        self._outcomes = Outcomes(settings, model)
        self._metrics = metrics
        self._health = health
        self._alive = alive
        self._stopping = stopping
        self._limits = Limits.of(settings)
        self._pace = Pace(settings.poll_target_seconds, settings.max_poll_records)
        self._stall = StallDetector(settings.stall_timeout_seconds)
        self._failures = 0
        self._assignment: frozenset[int] = frozenset()
        self._answered = self._probed = time.monotonic()
        self._recent: deque[bool] = deque(maxlen=RATIO_WINDOW)
        self._dead_letters = DeadLetterLog()
        self.counts: Counter[str] = Counter()

    def run(self) -> bool:
        """Label reviews until stopped or drained.

        Returns:
            Whether it is drained.

        Raises:
            GaveUp: a failure that a restart fixes; the next worker resumes from the last commit.
        """
        try:
            return self._loop()
        finally:
            self._dead_letters.write()

    def _loop(self) -> bool:
        while not self._stopping():
            self._alive()
            self._dead_letters.write_if_due()
            started = time.monotonic()
            poll = self._broker.poll(self._pace.records)
            if self._health.readiness.state is State.BLOCKED:  # the next probe would be seconds away
                self._health.answered(self._broker.obstacle)
            self._note_assignment()
            self._note_losses(poll)
            if not poll.records:
                if self._idle(poll):
                    return True
                continue
            self._metrics.stage_seconds.labels("poll").observe(time.monotonic() - started)
            outcomes = self._label(poll.records)
            published = self._commit(poll, outcomes)
            if self._probe_is_due():
                self._probe(published)
                # Here as well: if producers never pause, no poll is ever empty.
                if published and self._settled(poll):
                    return True
        return False

    def _idle(self, poll: Poll) -> bool:
        """Do what there is no time for while records come; True when drained."""
        if self._probe_is_due():
            self._probe()
        return self._settled(poll)

    def _settled(self, poll: Poll) -> bool:
        """Commit positions that moved without a record; True when drained."""
        try:
            if self._broker.settle(poll):
                self._failures = 0
        except NotPublished as error:
            self._failed(str(error))
            return False
        return self._broker.drained()

    def _probe_is_due(self) -> bool:
        return time.monotonic() - self._probed >= PROBE_SECONDS

    def _probe(self, moves: bool = True) -> None:
        """Ask how far there is to go. Look for a stall only if it `moves`: the last poll was published."""
        now = time.monotonic()
        progress = self._broker.progress(min(PROBE_SECONDS, self._settings.watchdog_seconds / 2))
        if progress is not None:
            self._answered = now
            self._health.answered(self._broker.obstacle)
            self._metrics.note_lag(progress)
            if moves:
                self._look_for_stall(progress, now)
        elif (silent := time.monotonic() - self._answered) >= self._settings.broker_timeout_seconds:
            raise GaveUp(f"no broker has answered for {silent:.0f} s; restart the worker when Kafka is back")
        elif self._health.unanswered(self._settings.bootstrap_servers):
            log.warning("%s; waiting for it", self._health.readiness.reason)
        self._probed = time.monotonic()

    def _look_for_stall(self, progress: Mapping[int, Progress], now: float) -> None:
        if (stalled := self._stall.stalled(progress, now, self._broker.turns)) is not None:
            seconds = f"{self._settings.stall_timeout_seconds:g} s"
            if progress[stalled].position is None:
                raise GaveUp(
                    f"the committed offset of partition {stalled} has not been known for {seconds}; perhaps a "
                    "transaction does not end, see docs/runbook.md"
                )
            raise GaveUp(
                f"partition {stalled} has not moved for {seconds} although it has records to read; restart the worker"
            )

    def _note_assignment(self) -> None:
        assignment = self._broker.assignment()
        if assignment == self._assignment:
            return
        log.info("partitions assigned: %s", sorted(assignment) or "none")
        for partition in self._assignment - assignment:
            self._metrics.lag.remove(str(partition))
        self._assignment = assignment
        self._metrics.assigned.set(len(assignment))

    def _note_losses(self, poll: Poll) -> None:
        for partition, records in poll.deleted.items():
            self._metrics.deleted_unread.inc(records)
            log.error("partition %s: %s records were deleted by retention before they were read", partition, records)
        self._metrics.commits_lost.inc(len(poll.restored))
        for partition, offset in poll.restored.items():
            log.error(
                "partition %s: Kafka returned an old committed offset; resuming after the last published result, %s",
                partition,
                offset - 1,
            )

    def _label(self, records: Sequence[Record]) -> list[Outcome]:
        """One outcome for each of `records`, in order."""
        started = time.monotonic()
        parsed = [parse(record, self._limits) for record in records]
        read = time.monotonic()
        # A poll may take much longer than the one before if all of its reviews are long; that is no hang.
        classified = self._classifier.classify(
            [review.text for review in parsed if isinstance(review, ParsedReview)], self._alive
        )
        results = iter(classified.results)
        outcomes = []
        for record, review in zip(records, parsed, strict=True):
            result = next(results) if isinstance(review, ParsedReview) else review
            if isinstance(review, ParsedReview) and isinstance(result, Scored):
                outcomes.append(self._outcomes.predicted(record, review, result))
            else:
                outcomes.append(
                    self._outcomes.dead(record, review if isinstance(review, Fault) else Fault(Reason.MODEL_ERROR))
                )
        self._pace.note(classified.stats.texts, time.monotonic() - started)
        self._metrics.note_inference(read - started, classified.stats)
        return outcomes

    def _commit(self, poll: Poll, outcomes: Sequence[Outcome]) -> bool:
        """Publish `outcomes`; if that fails, rewind so that the poll is retried. Whether they are published."""
        started = time.monotonic()
        try:
            self._broker.publish(poll, [outcome.outgoing for outcome in outcomes])
        except NotPublished as error:
            self._broker.rewind(poll)
            self._failed(str(error))
            return False
        self._failures = 0
        self._answered = time.monotonic()
        self._health.answered(None)
        self._metrics.stage_seconds.labels("publish").observe(self._answered - started)
        self._count(outcomes)
        return True

    def _failed(self, cause: str) -> None:
        """Wait longer after each failure to publish; in the end leave it to a new process."""
        self._failures += 1
        self._metrics.not_published.inc()
        if self._failures >= ATTEMPTS:
            raise GaveUp(f"publishing failed {self._failures} times in a row ({cause}); see docs/runbook.md")
        log.warning("not published, retrying (%s of %s): %s", self._failures, ATTEMPTS, cause)
        time.sleep(0.05 * 2**self._failures)

    def _count(self, outcomes: Sequence[Outcome]) -> None:
        self._metrics.note_commit(outcomes)
        self._dead_letters.note(outcomes)
        dead = [isinstance(outcome.result, Fault) for outcome in outcomes]
        self.counts.update("dead_lettered" if each else "labelled" for each in dead)
        self._recent.extend(dead)
        ratio = sum(self._recent) / RATIO_WINDOW
        if len(self._recent) == RATIO_WINDOW and ratio > self._settings.max_dead_letter_ratio:
            raise GaveUp(
                f"{ratio:.0%} of the last {RATIO_WINDOW} records were dead letters, more than max_dead_letter_ratio; "
                "find out what the producers changed before you restart"
            )
