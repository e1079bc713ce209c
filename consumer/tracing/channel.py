"""A `Channel` that is traced: what the worker reads and publishes through it becomes spans."""

from collections.abc import Mapping, Sequence

from opentelemetry.trace import SpanContext, Tracer

from consumer.errors import GaveUp
from consumer.records.outgoing import Outgoing
from consumer.records.poll import Channel, NotPublished, Obstacle, Poll
from consumer.records.progress import Progress
from consumer.settings import WorkerSettings
from consumer.tracing.spans import PollSpans
from consumer.tracing.timeline import Timeline


class TracedChannel:
    """Passes every call on to `channel`, and traces the polls that have records. Used by one thread.

    Args:
        settings: topics, group.
        channel: to Kafka.
        tracer: makes spans.
        timeline: the stopwatch of the worker.
    """

    def __init__(self, settings: WorkerSettings, channel: Channel, tracer: Tracer, timeline: Timeline) -> None:
        self._settings, self._channel, self._tracer, self._timeline = settings, channel, tracer, timeline
        self._open: PollSpans | None = None
        self._failed: SpanContext | None = None
        self._attempt = 1

    def poll(self, max_records: int) -> Poll:
        """A poll that was not published ends here, after the pause that followed."""
        self._end()
        poll = self._channel.poll(max_records)
        if poll.records:
            self._open = PollSpans(
                self._settings, self._tracer, self._timeline, poll, failed=self._failed, attempt=self._attempt
            )
        return poll

    def publish(self, poll: Poll, outgoing: Sequence[Outgoing]) -> None:
        """Publish with the trace of each record carried on."""
        if self._open is None:
            self._channel.publish(poll, outgoing)
            return
        continued = self._open.continued(outgoing)
        try:
            self._channel.publish(poll, continued)
        except (NotPublished, GaveUp) as error:
            self._open.failed(error)
            self._failed, self._attempt = self._open.context, self._attempt + 1
            raise
        self._open.published(continued)
        self._open, self._failed, self._attempt = None, None, 1

    def cut(self, poll: Poll, counts: Mapping[int, int]) -> Poll:
        """The rest is not of this poll."""
        kept = self._channel.cut(poll, counts)
        if self._open is not None:
            self._open.cut(kept, len(poll.records))
        return kept

    def abandon(self) -> None:
        """The loop has ended; if it did so between a poll and its commit, the poll has failed."""
        if self._open is not None and self._failed is not self._open.context:
            self._open.failed(GaveUp("the worker ended before the results were published"))
        self._end()

    def _end(self) -> None:
        if self._open is not None:
            self._open.end()
            self._open = None

    @property
    def turns(self) -> int:
        """See `Channel`."""
        return self._channel.turns

    @property
    def obstacle(self) -> Obstacle | None:
        """See `Channel`."""
        return self._channel.obstacle

    def rewind(self, poll: Poll) -> None:
        """See `Channel`."""
        self._channel.rewind(poll)

    def settle(self, poll: Poll) -> bool:
        """See `Channel`."""
        return self._channel.settle(poll)

    def assignment(self) -> frozenset[int]:
        """See `Channel`."""
        return self._channel.assignment()

    def progress(self, timeout_seconds: float) -> dict[int, Progress] | None:
        """See `Channel`."""
        return self._channel.progress(timeout_seconds)

    def drained(self) -> bool:
        """See `Channel`."""
        return self._channel.drained()
