"""The loop: poll ▸ label ▸ publish. It knows records and outcomes, but neither Kafka nor engines."""

import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence

from consumer.errors import GaveUp
from consumer.labelling import Labelling
from consumer.model.labeller import Labeller
from consumer.probe import Probe
from consumer.records.fault import Fault
from consumer.records.messages import Model
from consumer.records.outcomes import Outcome
from consumer.records.poll import Channel, NotPublished, Poll
from consumer.service.dead_letter_log import DeadLetterLog
from consumer.service.health import Health, State
from consumer.service.metrics import Metrics
from consumer.service.stopwatch import Stage, Stopwatch
from consumer.service.table import PollEnd
from consumer.settings import WorkerSettings

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
        between_polls: called before each poll with what makes another model label from then on.
        stopping: whether to return after the current poll.
        stopwatch: notes where the time goes.

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
        between_polls: Callable[[Callable[[Labeller, Model], None]], None] = lambda _serve: None,
        stopping: Callable[[], bool] = lambda: False,
        stopwatch: Stopwatch | None = None,
    ) -> None:
        self._settings = settings
        self._broker = broker
        self._metrics = metrics
        self._health = health
        self._alive = alive
        self._between_polls = between_polls
        self._stopping = stopping
        self._stopwatch = stopwatch or Stopwatch()
        self._labelling = Labelling(
            settings, classifier, model=model, metrics=metrics, stopwatch=self._stopwatch, alive=alive
        )
        self._probe = Probe(settings, broker, metrics, health)
        self._failures = 0
        self._assignment: frozenset[int] = frozenset()
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
            while not self._stopping():
                is_drained = self._turn()
                self._metrics.note_time(self._stopwatch.lap())
                if is_drained:
                    return True
            return False
        finally:
            self._dead_letters.write()

    def _turn(self) -> bool:
        """One poll, from its records to their commit; True when drained."""
        self._alive()
        self._dead_letters.write_if_due()
        self._between_polls(self._labelling.serve)
        limit = self._labelling.pace.records
        poll = self._poll(limit)
        if not poll.records:
            self._ask_if_due()
            return self._settled(poll)
        labelled = self._labelling.label(poll.records)
        end = PollEnd.RECORDS if len(poll.records) >= limit else PollEnd.ALL
        if labelled.counts is not None:
            end = PollEnd.COST
            poll = self._broker.cut(poll, labelled.counts)
        self._metrics.poll_ends.labels(end.value).inc()
        published = self._commit(poll, labelled.outcomes)
        # Here as well: if producers never pause, no poll is ever empty.
        return self._ask_if_due(published) and published and self._settled(poll)

    def _poll(self, limit: int) -> Poll:
        self._metrics.poll_limit.set(limit)
        self._stopwatch.begin(Stage.POLL)
        poll = self._broker.poll(limit)
        self._stopwatch.begin(Stage.OTHER)
        if self._health.readiness.state is State.BLOCKED:  # the next probe would be seconds away
            self._health.answered(self._broker.obstacle)
        if self._health.readiness.state is State.READY:  # otherwise records may wait that no broker reports
            self._stopwatch.move(poll.idle_seconds, Stage.POLL, Stage.IDLE)
        self._note_assignment()
        self._note_losses(poll)
        self._metrics.note_waiting(poll.records)
        return poll

    def _ask_if_due(self, moves: bool = True) -> bool:
        """Ask how far there is to go, if the last time is long enough ago; returns whether it was."""
        if is_due := self._probe.is_due:
            self._stopwatch.begin(Stage.PROBE)
            self._probe.ask(moves)
            self._stopwatch.begin(Stage.OTHER)
        return is_due

    def _settled(self, poll: Poll) -> bool:
        """Commit positions that moved without a record; True when drained."""
        self._stopwatch.begin(Stage.PUBLISH)
        try:
            if self._broker.settle(poll):
                self._failures = 0
                self._metrics.last_commit.set_to_current_time()
        except NotPublished as error:
            self._failed(str(error))
            return False
        self._stopwatch.begin(Stage.PROBE)
        is_drained = self._broker.drained()
        self._stopwatch.begin(Stage.OTHER)
        return is_drained

    def _note_assignment(self) -> None:
        assignment = self._broker.assignment()
        if assignment != self._assignment:
            log.info("partitions assigned: %s", sorted(assignment) or "none")
            self._metrics.note_assignment(assignment, self._assignment)
            self._assignment = assignment

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

    def _commit(self, poll: Poll, outcomes: Sequence[Outcome]) -> bool:
        """Publish `outcomes`; if that fails, rewind so that the poll is retried. Whether they are published."""
        self._stopwatch.begin(Stage.PUBLISH)
        try:
            self._broker.publish(poll, [outcome.outgoing for outcome in outcomes])
        except NotPublished as error:
            self._broker.rewind(poll)
            self._failed(str(error))
            return False
        self._stopwatch.begin(Stage.OTHER)
        self._failures = 0
        self._probe.answered()
        self._count(outcomes)
        return True

    def _failed(self, cause: str) -> None:
        """Wait longer after each failure to publish; in the end leave it to a new process."""
        self._failures += 1
        self._metrics.not_published.inc()
        if self._failures >= ATTEMPTS:
            raise GaveUp(f"publishing failed {self._failures} times in a row ({cause}); see docs/runbook.md")
        log.warning("not published, retrying (%s of %s): %s", self._failures, ATTEMPTS, cause)
        self._stopwatch.begin(Stage.RETRY)
        time.sleep(0.05 * 2**self._failures)
        self._stopwatch.begin(Stage.OTHER)

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
