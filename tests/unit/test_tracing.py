"""Traces: what a poll looks like, what its results carry on, and that nothing of it is there while tracing is off."""

import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, ParentBased, Sampler
from opentelemetry.semconv._incubating.attributes import messaging_attributes as messaging
from opentelemetry.semconv.attributes import error_attributes
from opentelemetry.semconv.schemas import Schemas
from opentelemetry.trace import SpanKind, StatusCode, get_current_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from consumer.errors import GaveUp
from consumer.model.bundle.loading import load_bundle
from consumer.model.classifier import Classifier
from consumer.records.fault import Reason
from consumer.records.letter import Letter
from consumer.records.messages import Model
from consumer.records.outgoing import Outgoing
from consumer.records.poll import NotPublished, Poll
from consumer.records.record import Record
from consumer.service.health import Health
from consumer.service.metrics import Metrics
from consumer.service.stopwatch import Stage, Stopwatch
from consumer.settings import WorkerSettings
from consumer.tracing.channel import TracedChannel
from consumer.tracing.context import HEADER, header_value, sampled_context
from consumer.tracing.conventions import SCHEMA_URL, SEMCONV_VERSION, Attribute
from consumer.tracing.off import Off
from consumer.tracing.opening import open_tracing
from consumer.tracing.spans import MOST_LINKS, STAGES
from consumer.tracing.timeline import Timeline
from consumer.worker import Worker
from tests.fake_broker import FakeBroker
from tests.fake_bundle import write_bundle
from tests.fake_worker import FakeEngine, Script

ROOT = Path(__file__).parents[2]
TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SAMPLED = f"00-{TRACE}-{SPAN}-01".encode()
REVIEW = b'{"text": "good"}'
Headers = tuple[tuple[str, bytes | None], ...]


class Refusing(FakeBroker):
    """Refuses so many times to publish."""

    times = 1

    def publish(self, poll: Poll, outgoing: Sequence[Outgoing]) -> None:
        """Refuse, then publish."""
        if self.times:
            self.times -= 1
            raise NotPublished("not enough replicas") from TimeoutError()
        super().publish(poll, outgoing)


class Traced:
    """A worker whose spans are kept in memory.

    Attributes:
        spans: those that ended, after `run`.
    """

    def __init__(self, directory: Path, sampler: Sampler | None = None) -> None:
        self._exporter = InMemorySpanExporter()
        provider = TracerProvider(sampler=sampler or ParentBased(ALWAYS_ON), shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self._tracer = provider.get_tracer("test")
        self._bundle = write_bundle(directory / "bundle")
        self.settings = WorkerSettings(drain=True)
        self.metrics = Metrics()

    def run(self, broker: FakeBroker, *, timeline: Timeline | None = None) -> "Traced":
        """Drain `broker`."""
        timeline = timeline or Timeline()
        channel = TracedChannel(self.settings, broker, self._tracer, timeline)
        classifier = Classifier(load_bundle(self._bundle), FakeEngine(Script()))
        try:
            worker_on(channel, self.settings, classifier, self.metrics, timeline).run()
        finally:
            channel.abandon()
        return self

    @property
    def spans(self) -> list[ReadableSpan]:
        """In the order in which they ended."""
        return list(self._exporter.get_finished_spans())

    def named(self, start: str) -> list[ReadableSpan]:
        """Those whose name begins with `start`."""
        return [span for span in self.spans if span.name.startswith(start)]


def worker_on(
    channel: Any, settings: WorkerSettings, classifier: Classifier, metrics: Metrics, stopwatch: Stopwatch | None = None
) -> Worker:
    """A worker on this channel."""
    return Worker(
        settings,
        channel,
        classifier,
        model=Model(name="m", version="1", digest="0" * 64, variant="fp32"),
        metrics=metrics,
        health=Health(60),
        alive=lambda: None,
        stopwatch=stopwatch,
    )


@pytest.fixture
def traced(tmp_path: Path) -> Traced:
    """With the default sampler."""
    return Traced(tmp_path)


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """A poll that fails is retried at once."""
    monkeypatch.setattr("time.sleep", lambda _: None)


def attributes(span: ReadableSpan) -> Mapping[str, Any]:
    """Of a span that has some."""
    assert span.attributes is not None
    return span.attributes


def context_ids(span: ReadableSpan) -> tuple[int, int]:
    """Trace and span."""
    assert span.context is not None
    return span.context.trace_id, span.context.span_id


def linked(span: ReadableSpan) -> list[tuple[int, int]]:
    """Trace and span of each link."""
    return [(link.context.trace_id, link.context.span_id) for link in span.links]


def header(outgoing: Outgoing) -> list[bytes]:
    """Every `traceparent` that a result has."""
    return [value for name, value in outgoing.headers if name == HEADER]


def test_a_poll_is_a_span_with_its_stages_inside(traced: Traced) -> None:
    """Its stages follow each other within it; it says how many records it has and what became of them."""
    broker = FakeBroker([REVIEW, b"junk", None], polls=1)
    (poll,) = traced.run(broker).named("process ")
    assert (poll.name, poll.kind, poll.parent) == ("process reviews", SpanKind.CONSUMER, None)
    assert attributes(poll) == {
        "messaging.system": "kafka",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.name": "reviews",
        "messaging.consumer.group.name": "review-consumer",
        "messaging.batch.message_count": 3,
        "reviews.labelled": 1,
        "reviews.dead_lettered.not_json": 1,
        "reviews.dead_lettered.tombstone": 1,
    }
    assert poll.status.status_code is StatusCode.UNSET
    stages = [span for span in traced.spans if span is not poll]
    assert {span.name for span in stages} >= {"parse", "tokenise", "infer", "serialise", "publish"}
    assert {span.name for span in stages} <= {stage.value for stage in STAGES}
    times = [poll.start_time, *(time for span in stages for time in (span.start_time, span.end_time)), poll.end_time]
    assert times == sorted(times, key=lambda time: time or 0)
    assert all(span.parent and span.parent.span_id == context_ids(poll)[1] for span in stages)
    # Without a trace of its own, no record gets one
    assert all(not header(each) for each in broker.published)
    assert len(broker.published) == 3


def test_the_trace_of_a_record_goes_on_in_its_result(traced: Traced) -> None:
    """Result and dead letter point to a span whose parent is the record's; every other header stays as it is."""
    own: Headers = (("a", b"1"), (HEADER, SAMPLED), ("tracestate", b"vendor=x,other=y"), ("a", b"2"))
    other = f"00-{'a' * 32}-{'b' * 16}-03".encode()
    broker = FakeBroker([REVIEW, b"junk", REVIEW], polls=1, headers=[own, ((HEADER, other),), ()])
    (poll,) = traced.run(broker).named("process ")
    result, letter, untraced = broker.published
    created = {span.name: span for span in traced.named("create ")}
    assert created.keys() == {"create reviews.labeled", "create reviews.dlq"}
    for outgoing, incoming in ((result, SAMPLED), (letter, other)):
        span = created[f"create {outgoing.topic}"]
        found = sampled_context([(HEADER, incoming)])
        assert found is not None
        assert span.kind is SpanKind.PRODUCER
        assert span.parent is not None
        assert (span.parent.trace_id, span.parent.span_id) == (found.trace_id, found.span_id)
        assert span.parent.is_remote
        trace_id, span_id = context_ids(span)
        assert trace_id == found.trace_id
        (value,) = header(outgoing)
        assert value.startswith(b"00-%032x-%016x-0" % (trace_id, span_id))
        assert len(value) == len(incoming)
        # And the poll and the result point to each other
        assert linked(span) == [context_ids(poll)]
        assert (span.start_time, span.end_time) == (poll.start_time, poll.end_time)
    assert linked(poll) == [(int(TRACE, 16), int(SPAN, 16)), (int("a" * 32, 16), int("b" * 16, 16))]
    assert attributes(created["create reviews.dlq"])["reviews.dead_letter.reason"] == "not_json"
    assert "reviews.dead_letter.reason" not in attributes(created["create reviews.labeled"])
    assert [each for each in result.headers[:4] if each[0] != HEADER] == [each for each in own if each[0] != HEADER]
    assert result.headers[1][0] == HEADER
    assert header(untraced) == []
    # And other programs read it
    carrier = {HEADER: header(result)[0].decode()}
    assert TraceContextTextMapPropagator().extract(carrier) != {}


#: What a record may carry instead of a valid header.
INVALID = (
    b"",
    b"\xff\xfe\x00",
    SAMPLED[:-1],
    SAMPLED + b"\n",
    b" " + SAMPLED,
    SAMPLED + b"-more",
    b"01" + SAMPLED[2:],
    b"ff" + SAMPLED[2:],
    SAMPLED.upper(),
    SAMPLED.replace(b"-", b"_"),
    f"00-{'0' * 32}-{SPAN}-01".encode(),
    f"00-{TRACE}-{'0' * 16}-01".encode(),
    f"00-{'٣' * 32}-{SPAN}-01".encode(),
    f"00-{TRACE}-{SPAN}-00".encode(),  # valid, and its trace is recorded nowhere
)


@pytest.mark.parametrize(
    "own",
    [
        *(((HEADER, value),) for value in INVALID),
        ((HEADER, None),),
        ((HEADER, SAMPLED),) * 2,
        (("Traceparent", SAMPLED),),
    ],
)
def test_a_header_that_is_no_sampled_trace_is_passed_on_as_it_came(traced: Traced, own: Headers) -> None:
    """Of the wrong form or version, twice, in upper case, all zeros, not sampled: carried, and no span or link more."""
    broker = FakeBroker([REVIEW, b"junk"], polls=1, headers=[own, own])
    (poll,) = traced.run(broker).named("process ")
    assert traced.named("create ") == []
    assert linked(poll) == []
    for outgoing in broker.published:
        assert outgoing.headers[: len(own)] == [(name, value or b"") for name, value in own]
    assert len(broker.published) == 2


VALID = st.builds(
    lambda trace, span, flags: header_value(trace, span, flags | 1),
    st.integers(1, 2**128 - 1),
    st.integers(1, 2**64 - 1),
    st.integers(0, 255),
)
VALUES = st.one_of(st.none(), st.binary(max_size=60), VALID, st.from_regex(rb"[0-9a-fA-F]{2}-[0-9a-f-]{40,60}"))
NAMES = st.sampled_from([HEADER, "tracestate", "Traceparent", "a"])


@given(st.lists(st.tuples(NAMES, VALUES), max_size=4))
def test_every_sequence_of_bytes_has_one_outcome(headers: list[tuple[str, bytes | None]]) -> None:
    """Nothing raises, and what is taken for a trace is one that OpenTelemetry's own reader takes for the same."""
    found = sampled_context(headers)
    own = [value or b"" for name, value in headers if name == HEADER]
    if found is None:
        assert len(own) != 1 or not re.fullmatch(
            rb"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f][13579bdf]", own[0]
        )
        return
    assert own == [header_value(found.trace_id, found.span_id, found.flags)]
    assert headers[found.place] == (HEADER, own[0])
    theirs = get_current_span(TraceContextTextMapPropagator().extract({HEADER: own[0].decode()})).get_span_context()
    assert (theirs.trace_id, theirs.span_id, theirs.trace_flags) == (found.trace_id, found.span_id, found.flags)


@given(VALID)
def test_a_valid_header_is_always_taken(value: bytes) -> None:
    """The other half: no valid one is overlooked."""
    assert sampled_context([("a", b""), (HEADER, value)]) is not None


def test_a_trace_that_this_worker_does_not_record_is_passed_on_as_it_came(tmp_path: Path) -> None:
    """If its own sampler drops the spans, the reader of a result still finds the span of the record."""
    broker = FakeBroker([REVIEW], polls=1, headers=[((HEADER, SAMPLED),)])
    assert Traced(tmp_path, ALWAYS_OFF).run(broker).spans == []
    assert [header(each) for each in broker.published] == [[SAMPLED]]


def test_the_worker_may_record_results_alone(tmp_path: Path) -> None:
    """A sampler that drops the polls keeps what belongs to the sampled trace of a record."""
    broker = FakeBroker([REVIEW], polls=1, headers=[((HEADER, SAMPLED),)])
    traced = Traced(tmp_path, ParentBased(ALWAYS_OFF)).run(broker)
    (created,) = traced.spans
    assert created.name == "create reviews.labeled"
    assert linked(created) == []
    assert header(broker.published[0]) != [SAMPLED]


def test_a_poll_that_is_not_published_says_so_and_its_results_have_no_span(traced: Traced) -> None:
    """The failed attempt has an error and an event; the next one points back to it; each result has one span."""
    broker = Refusing([REVIEW, REVIEW], polls=2, done_with=1, headers=[((HEADER, SAMPLED),), ()])
    traced.run(broker)
    failed, published = traced.named("process ")
    assert failed.status.status_code is StatusCode.ERROR
    assert failed.status.description == "not enough replicas"
    assert attributes(failed)["error.type"] == "TimeoutError"
    assert [(event.name, dict(event.attributes or {})) for event in failed.events] == [
        ("not published", {"error.type": "TimeoutError"})
    ]
    assert "reviews.labelled" not in attributes(failed)
    assert published.status.status_code is StatusCode.UNSET
    assert attributes(published)["reviews.poll.attempt"] == 2
    assert linked(published)[0] == context_ids(failed)
    assert linked(published)[1:] == linked(failed) == [(int(TRACE, 16), int(SPAN, 16))]
    # The pause before the next attempt belongs to the one that failed
    assert [span.parent.span_id for span in traced.named("retry") if span.parent] == [context_ids(failed)[1]]
    # Only the results that became visible have a span, and they point to it
    (created,) = traced.named("create ")
    assert linked(created) == [context_ids(published)]
    assert len(broker.published) == 2
    assert header(broker.published[0]) == [header_value(*context_ids(created), 1)]


def test_a_worker_that_gives_up_ends_its_span(traced: Traced, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether publishing fails for the last time or the model is broken, the trace shows the poll that failed."""
    broker = FakeBroker([REVIEW], polls=9, publishes=False)
    with pytest.raises(GaveUp):
        traced.run(broker)
    polls = traced.named("process ")
    assert [attributes(poll).get("reviews.poll.attempt", 1) for poll in polls] == [1, 2, 3, 4, 5, 6]
    assert {poll.status.status_code for poll in polls} == {StatusCode.ERROR}

    def broken(*_: object) -> None:
        raise GaveUp("the model is broken")

    monkeypatch.setattr(Classifier, "classify", broken)
    with pytest.raises(GaveUp):
        traced.run(FakeBroker([REVIEW], polls=1))
    last = traced.named("process ")[6]
    assert (last.status.status_code, attributes(last)["error.type"]) == (StatusCode.ERROR, "GaveUp")
    assert len(traced.named("process ")) == 7


def test_a_poll_has_a_bounded_number_of_links(traced: Traced) -> None:
    """However many records a poll has, it says how many traces it does not link to."""
    values = [b"00-%032x-%016x-01" % (number, number) for number in range(1, 201)]
    broker = Refusing([REVIEW] * 200, polls=2, done_with=1, headers=[((HEADER, value),) for value in values])
    traced.settings = WorkerSettings(drain=True, max_poll_records=200)
    first, second = traced.run(broker).named("process ")
    assert linked(first) == [(number, number) for number in range(1, MOST_LINKS + 1)]
    assert attributes(first)["reviews.links.left_out"] == 200 - MOST_LINKS
    assert linked(second) == [context_ids(first), *linked(first)[:-1]]
    assert attributes(second)["reviews.links.left_out"] == 200 - MOST_LINKS + 1
    # Results are not bounded by the links: each goes on
    assert len({header(each)[0] for each in broker.published}) == 200


def test_a_poll_that_is_cut_counts_what_it_kept(traced: Traced, monkeypatch: pytest.MonkeyPatch) -> None:
    """What costs too much is put back, and belongs to a later span."""
    classify = Classifier.classify

    def first_only(self: Classifier, texts: Sequence[str], *others: Any) -> Any:
        return classify(self, texts[:1], *others)

    monkeypatch.setattr(Classifier, "classify", first_only)
    broker = FakeBroker([REVIEW, b'{"text": "bad"}'], polls=1, headers=[(), ((HEADER, SAMPLED),)])
    (poll,) = traced.run(broker).named("process ")
    assert attributes(poll)["messaging.batch.message_count"] == 1
    assert attributes(poll)["reviews.poll.put_back"] == 1
    assert attributes(poll)["reviews.labelled"] == 1
    assert traced.named("create ") == []
    assert len(broker.published) == 1


def test_a_dead_letter_of_a_traced_record_is_read_and_replayed_as_any_other(traced: Traced) -> None:
    """Its own headers end where they ended, and what is sent again carries the trace on, once."""
    own: Headers = (("a", b"1"), (HEADER, SAMPLED), ("tracestate", b"x=y"))
    broker = FakeBroker([b"junk"], polls=1, headers=[own])
    traced.run(broker)
    (sent,) = broker.published
    letter = Letter.of(Record("reviews.dlq", 0, 0, 0, sent.key, sent.value, tuple(sent.headers)))
    assert (letter.reason, letter.source) == ("not_json", ("reviews", 0, 0))
    assert letter.original_headers == (("a", b"1"), (HEADER, header(sent)[0]), ("tracestate", b"x=y"))
    # Sent again and dead again: the trace continues from the first dead letter, with one header
    again = FakeBroker([b"junk"], polls=1, headers=[letter.original_headers])
    traced.run(again)
    first, second = traced.named("create ")
    assert second.parent is not None
    assert second.parent.span_id == context_ids(first)[1]
    assert header(again.published[0]) == [header_value(*context_ids(second), 1)]


def test_a_dead_letter_without_room_for_headers_gets_none(traced: Traced) -> None:
    """If the headers of the input were cut, none is added in their place."""
    big: Headers = ((HEADER, SAMPLED), ("big", b"x" * 70_000))
    traced.settings = WorkerSettings(drain=True, max_request_bytes=65_536)
    broker = FakeBroker([b"junk"], polls=1, headers=[big])
    traced.run(broker)
    (letter,) = broker.published
    assert header(letter) == []
    assert traced.named("create ") == []
    assert dict(letter.headers)["dead-letter-cut"] == b"value,headers,key"


def test_no_span_holds_content(traced: Traced) -> None:
    """No text, id, key or value of a header, in names, attributes, events or status."""
    own: Headers = (("secret-header", b"secret-value"), (HEADER, SAMPLED), ("tracestate", b"secret=state"))
    values = [b'{"id": "secret-id", "text": "secret-text"}', b'{"secret-junk', b'{"text": 7, "id": "secret-id"}']
    traced.run(Refusing(values, polls=2, done_with=1, headers=[own] * 3))
    assert len(traced.spans) > 12
    assert not [span for span in traced.spans if "secret" in span.to_json()]


def everything(traced: Traced) -> dict[str, set[str]]:
    """The attributes of each kind of span, and of events and links, in runs that have all of them."""
    many = [((HEADER, b"00-%032x-%016x-01" % (number, number)),) for number in range(1, 201)]
    traced.settings = WorkerSettings(drain=True, max_poll_records=200)
    traced.run(Refusing([REVIEW, b"junk"] * 100, polls=2, done_with=1, headers=many))
    found: dict[str, set[str]] = {}
    for span in traced.spans:
        names = found.setdefault(span.name.partition(" ")[0], set())
        names.update(attributes(span))
        for event in span.events:
            names.update(event.attributes or {})
        for link in span.links:
            names.update(link.attributes or {})
    return found


def test_names_are_those_of_the_pinned_conventions_and_of_the_page(traced: Traced) -> None:
    """Every attribute that a span has is declared, in the table of docs/tracing.md, and not deprecated."""
    emitted = everything(traced)
    assert emitted.keys() == {"process", "create", *(stage.value for stage in STAGES)}
    used: set[str] = set().union(*emitted.values())
    reasons = {f"{Attribute.DEAD_LETTERED}.{reason}" for reason in Reason}
    used = {Attribute.DEAD_LETTERED.value if name in reasons else name for name in used}
    assert used == {each.value for each in Attribute} - {Attribute.PUT_BACK.value}  # the test above has that one
    page = (ROOT / "docs/tracing.md").read_text("utf-8")
    table = re.findall(r"^\| `([a-z_.]+)(?:\.REASON)?` \|", page, re.MULTILINE)
    assert table == [each.value for each in Attribute]
    assert f"version {SEMCONV_VERSION} of the semantic conventions" in " ".join(page.split())
    assert Schemas.__members__[f"V{SEMCONV_VERSION.replace('.', '_')}"].value == SCHEMA_URL
    theirs = {value: name for name, value in vars(messaging).items() if name.startswith("MESSAGING_")}
    source = Path(messaging.__file__).read_text("utf-8")
    checked = 0
    for each in Attribute:
        if each.startswith("messaging."):
            assert f'{theirs[each.value]}: Final = "{each.value}"\n"""\nDeprecated' not in source
            checked += 1
    assert checked == 6
    assert Attribute.ERROR.value == error_attributes.ERROR_TYPE
    assert {"create", "process"} <= {each.value for each in messaging.MessagingOperationTypeValues}


def test_the_stages_of_a_timeline_add_up() -> None:
    """From `start` to `take` nothing is left out or counted twice, what is moved included; then nothing is kept."""
    now = [100.0]
    timeline = Timeline(lambda: now[0], lambda: 5_000_000_000)

    def during(stage: Stage, seconds: float) -> None:
        timeline.begin(stage)
        now[0] += seconds

    during(Stage.POLL, 9)
    assert timeline.start() == 5_000_000_000
    during(Stage.PARSE, 1)
    during(Stage.INFER, 4)
    timeline.begin(Stage.OTHER)
    timeline.move(1, Stage.INFER, Stage.TOKENISE)
    timeline.move(-1e-9, Stage.INFER, Stage.CACHE)
    during(Stage.PUBLISH, 2)
    intervals, end = timeline.take()
    seconds = [(each.stage.value, (each.began - 5e9) / 1e9, (each.ended - 5e9) / 1e9) for each in intervals]
    assert seconds == [("parse", 0, 1), ("tokenise", 1, 2), ("infer", 2, 5), ("publish", 5, 7)]
    assert end == 12_000_000_000
    assert timeline.lap() == {Stage.POLL: 9, Stage.PARSE: 1, Stage.INFER: 3, Stage.TOKENISE: 1, Stage.PUBLISH: 2} | {
        Stage.INFER: pytest.approx(3)
    }
    for _ in range(1000):
        during(Stage.POLL, 1)
    assert timeline.take() == ([], 12_000_000_000 + 1000 * 10**9)


PROGRAM = """
import sys
from pathlib import Path
from consumer import cli, run, worker
from consumer.model.bundle.loading import load_bundle
from consumer.model.classifier import Classifier
from consumer.service.health import Health
from consumer.service.metrics import Metrics
from consumer.settings import WorkerSettings
from consumer.tracing.opening import open_tracing
from tests.fake_broker import FakeBroker, drain
from tests.fake_bundle import write_bundle
from tests.fake_worker import FakeEngine, Script
broker = FakeBroker([b'{"text": "good"}'], polls=3)
tracing = open_tracing(WorkerSettings(), Metrics())
assert tracing.channel(broker) is broker
drain(broker, Classifier(load_bundle(write_bundle(Path(sys.argv[1]))), FakeEngine(Script())), Metrics(), Health(60))
tracing.flush()
tracing.close()
print(broker.commits, sorted(name for name in sys.modules if name.startswith("opentelemetry")))
"""


def test_nothing_of_opentelemetry_is_loaded_while_tracing_is_off(tmp_path: Path) -> None:
    """A worker that has labelled and ended never imported it."""
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "bundle")]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.stdout == "3 []\n", ended.stderr


def test_no_code_of_tracing_runs_in_the_loop_while_it_is_off(tmp_path: Path) -> None:
    """Not for a record, not for a poll, not for a stage: the worker has the very channel and stopwatch of before."""
    tracing = open_tracing(WorkerSettings(), Metrics())
    assert type(tracing) is Off
    assert type(tracing.stopwatch) is Stopwatch
    broker = FakeBroker([REVIEW] * 10, polls=3, headers=[((HEADER, SAMPLED),)] * 10)
    channel = tracing.channel(broker)
    assert channel is broker
    classifier = Classifier(load_bundle(write_bundle(tmp_path / "bundle")), FakeEngine(Script()))
    made = worker_on(channel, WorkerSettings(drain=True), classifier, Metrics(), tracing.stopwatch)
    called: list[str] = []

    def note(frame: FrameType, event: str, _argument: object) -> None:
        if event == "call":
            called.append(frame.f_code.co_filename)

    sys.setprofile(note)
    try:
        made.run()
    finally:
        sys.setprofile(None)
    assert len(called) > 100
    assert not [name for name in called if "/consumer/tracing/" in name or "/opentelemetry/" in name]
    assert [header(each) for each in broker.published] == [[SAMPLED]] * 30


def test_the_worker_refuses_to_start_without_the_extra(tmp_path: Path) -> None:
    """A clear line and the exit code of wrong settings, before a model is loaded or a record read."""
    program = "import sys; sys.modules['opentelemetry'] = None; from consumer.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", program, "run", "--tracing", "--bundle", str(tmp_path), "--metrics-port", "0"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 2, ended.stderr
    assert "pip install 'review-consumer[tracing]'" in ended.stderr.splitlines()[-1]
    assert "Traceback" not in ended.stderr
