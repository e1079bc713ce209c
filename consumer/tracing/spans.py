"""The spans of one poll: the poll, its stages, and one for each result whose record belongs to a sampled trace."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from opentelemetry.context import Context
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    Tracer,
    set_span_in_context,
)

from consumer.records.outgoing import Outgoing
from consumer.records.poll import Poll
from consumer.service.stopwatch import Stage
from consumer.settings import WorkerSettings
from consumer.tracing.context import HEADER, TraceContext, header_value, sampled_context
from consumer.tracing.conventions import Attribute
from consumer.tracing.timeline import Timeline

#: The most links from a poll to the traces of its records; also the default limit of OpenTelemetry.
MOST_LINKS = 128
#: Stages that are spans. The others are not of a poll, or take next to no time.
STAGES = frozenset({Stage.PARSE, Stage.CACHE, Stage.TOKENISE, Stage.INFER, Stage.SERIALISE, Stage.PUBLISH, Stage.RETRY})


class PollSpans:
    """What is known of a poll, from its records to their commit.

    Args:
        settings: topics, group.
        tracer: makes spans.
        timeline: notes the stages.
        poll: has records.
        failed: the span of the attempt before, if that was not published.
        attempt: 1 for the first.
    """

    def __init__(
        self,
        settings: WorkerSettings,
        tracer: Tracer,
        timeline: Timeline,
        poll: Poll,
        *,
        failed: SpanContext | None,
        attempt: int,
    ) -> None:
        self._settings, self._tracer, self._timeline = settings, tracer, timeline
        self._created: list[Span] = []
        contexts = [found for record in poll.records if (found := sampled_context(record.headers))]
        before = [] if failed is None else [Link(failed, {Attribute.ATTEMPT.value: attempt - 1})]
        links = before + [Link(_span_context(each)) for each in contexts[: MOST_LINKS - len(before)]]
        self._began = timeline.start()
        attributes: dict[str, str | int] = {
            **_operation("process", settings.input_topic),
            Attribute.GROUP.value: settings.group_id,
            Attribute.MESSAGES.value: len(poll.records),
        }
        if left_out := len(contexts) + len(before) - len(links):
            attributes[Attribute.LINKS_LEFT_OUT.value] = left_out
        if before:
            attributes[Attribute.ATTEMPT.value] = attempt
        self._span = tracer.start_span(
            f"process {settings.input_topic}",
            Context(),
            SpanKind.CONSUMER,
            attributes,
            links,
            self._began,
        )

    @property
    def context(self) -> SpanContext:
        """Of the span of the poll."""
        return self._span.get_span_context()

    def cut(self, kept: Poll, records: int) -> None:
        """Of so many `records`, only those of `kept` go on."""
        self._span.set_attribute(Attribute.MESSAGES.value, len(kept.records))
        self._span.set_attribute(Attribute.PUT_BACK.value, records - len(kept.records))

    def continued(self, outgoing: Sequence[Outgoing]) -> list[Outgoing]:
        """Begin a span for each record that belongs to a sampled trace, and pass that on to the reader of `outgoing`.

        Only the value of the header `traceparent` changes; its length stays.
        """
        return [
            each if (found := sampled_context(each.headers)) is None else self._create(each, found) for each in outgoing
        ]

    def _create(self, outgoing: Outgoing, parent: TraceContext) -> Outgoing:
        attributes = _operation("create", outgoing.topic)
        if reason := self._reason(outgoing):
            attributes[Attribute.REASON.value] = reason
        span = self._tracer.start_span(
            f"create {outgoing.topic}",
            set_span_in_context(NonRecordingSpan(_span_context(parent)), Context()),
            SpanKind.PRODUCER,
            attributes,
            [Link(self.context)] if self._span.is_recording() else None,
            self._began,
        )
        if not span.is_recording():  # the worker's own sampler dropped it: a reader would look for it in vain
            return outgoing
        self._created.append(span)
        made = span.get_span_context()
        headers = list(outgoing.headers)
        headers[parent.place] = (HEADER, header_value(made.trace_id, made.span_id, made.trace_flags))
        return replace(outgoing, headers=headers)

    def published(self, outgoing: Sequence[Outgoing]) -> None:
        """The results are committed: end all spans."""
        reasons = Counter(map(self._reason, outgoing))
        self._span.set_attribute(Attribute.LABELLED.value, reasons.pop("", 0))
        for reason, count in reasons.items():
            self._span.set_attribute(f"{Attribute.DEAD_LETTERED}.{reason}", count)
        now = self.end()
        for span in self._created:
            span.end(now)

    def failed(self, error: Exception) -> None:
        """The results are not committed. The spans of its results never end, so nobody gets to see them."""
        kind = type(error.__cause__ or error).__name__
        self._span.set_status(Status(StatusCode.ERROR, str(error)))
        self._span.set_attribute(Attribute.ERROR.value, kind)
        self._span.add_event("not published", {Attribute.ERROR.value: kind})

    def end(self) -> int:
        """End the span of the poll and those of its stages, now; returns the time."""
        intervals, now = self._timeline.take()
        parent = set_span_in_context(self._span, Context())
        for stage, began, ended in intervals:
            if stage in STAGES:
                self._tracer.start_span(stage.value, parent, start_time=began).end(ended)
        self._span.end(now)
        return now

    def _reason(self, outgoing: Outgoing) -> str:
        """Why it is a dead letter; empty if it is none. What the worker says comes after the headers of the input."""
        if outgoing.topic != self._settings.dead_letter_topic:
            return ""
        return next(value.decode() for name, value in reversed(outgoing.headers) if name == "dead-letter-reason")


def _operation(name: str, topic: str) -> dict[str, str | int]:
    return {
        Attribute.SYSTEM.value: "kafka",
        Attribute.OPERATION_NAME.value: name,
        Attribute.OPERATION_TYPE.value: name,
        Attribute.DESTINATION.value: topic,
    }


def _span_context(context: TraceContext) -> SpanContext:
    return SpanContext(context.trace_id, context.span_id, is_remote=True, trace_flags=TraceFlags(context.flags))
