"""Spans on their way to a collector: the loop never waits for it, and an exit does not wait for long."""

import logging
import threading
import time
from collections.abc import Iterator, Sequence

import pytest
from opentelemetry.sdk.trace import ReadableSpan, Tracer, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from consumer.errors import UsageError
from consumer.service.logs import RepeatFilter
from consumer.service.metrics import Metrics
from consumer.service.table import SPAN_RESULTS
from consumer.settings import WorkerSettings
from consumer.tracing import on
from consumer.tracing.exporting import Export, open_export
from consumer.tracing.off import Off
from consumer.tracing.on import Tracing
from consumer.tracing.opening import open_tracing
from tests.collector import Collector, silent_collector
from tests.fake_broker import FakeBroker
from tests.unit.test_logs import line
from tests.worker_process import wait_until

SETTINGS = WorkerSettings(tracing=True, instance_id="worker-1")


@pytest.fixture(autouse=True)
def _only_these_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable of OpenTelemetry comes from outside."""
    import os

    for name in [name for name in os.environ if name.startswith("OTEL_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def collector() -> Iterator[Collector]:
    """One that answers."""
    with Collector() as made:
        yield made


class Stuck(SpanExporter):
    """Takes one batch and keeps the thread that sends until it is released."""

    def __init__(self) -> None:
        self.reached, self.released = threading.Event(), threading.Event()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Wait."""
        self.reached.set()
        assert self.released.wait(30)
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        """Nothing to do."""


def tracer_of(export: Export) -> Tracer:
    """Makes spans that go there."""
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(export)
    tracer = provider.get_tracer("test")
    assert isinstance(tracer, Tracer)
    return tracer


def counts(metrics: Metrics) -> dict[str, float]:
    """Of spans by result."""
    return {
        each: metrics.registry.get_sample_value("reviews_spans_total", {"result": each}) or 0 for each in SPAN_RESULTS
    }


def test_a_full_queue_drops_spans_and_counts_each() -> None:
    """Ending a span takes no longer if the collector takes nothing, and memory is bounded."""
    metrics, stuck = Metrics(), Stuck()
    export = Export(stuck, metrics.spans, most=20, at_once=5)
    tracer = tracer_of(export)
    for _ in range(5):
        tracer.start_span("a").end()
    assert stuck.reached.wait(10)
    for _ in range(95):
        tracer.start_span("a").end()
    assert counts(metrics) == {"exported": 0, "dropped": 80}
    assert export.pending == 20
    stuck.released.set()
    export.shutdown()
    assert counts(metrics) == {"exported": 20, "dropped": 80}
    assert export.pending == 0


def test_spans_arrive_with_what_describes_the_worker(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    """The name and version of the program, its instance, the version of the conventions, and the headers as set."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.address)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Basic%20c2VjcmV0")
    metrics = Metrics()
    tracing = open_tracing(SETTINGS, metrics)
    channel = tracing.channel(FakeBroker([b"{}"], polls=1))
    channel.publish(channel.poll(1), [])  # what the worker would make of it does not matter here
    tracing.flush()
    tracing.close()
    assert counts(metrics) == {"exported": len(collector.spans), "dropped": 0}
    assert {span.name for span in collector.spans} >= {"process reviews"}
    (resource,) = collector.received
    described = {each.key: each.value.string_value for each in resource.resource.attributes}
    assert described["service.name"] == "review-consumer"
    assert described["service.instance.id"] == "worker-1"
    assert described["service.version"]
    assert resource.scope_spans[0].schema_url == "https://opentelemetry.io/schemas/1.44.0"
    assert [headers["authorization"] for headers in collector.headers] == ["Basic c2VjcmV0"]


def test_the_name_of_the_service_may_be_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """The standard variables override ours."""
    from consumer.tracing.exporting import resource_of

    monkeypatch.setenv("OTEL_SERVICE_NAME", "labels-eu")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test,service.instance.id=7")
    found = resource_of("worker-1").attributes
    assert (found["service.name"], found["service.instance.id"]) == ("labels-eu", "7")
    assert found["deployment.environment.name"] == "test"


def test_a_collector_that_refuses_costs_a_count(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it does not take is dropped."""
    collector.status = 400
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.address)
    metrics = Metrics()
    export = open_export(metrics.spans)
    tracer_of(export).start_span("a").end()
    export.shutdown()
    assert counts(metrics) == {"exported": 0, "dropped": 1}
    assert collector.spans == []


@pytest.mark.parametrize(("most", "stop_timeout_seconds"), [(0.7, 15), (30.0, 1)])
def test_an_exit_waits_for_a_silent_collector_only_so_long(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, most: float, stop_timeout_seconds: int
) -> None:
    """For as long as leaving the group may take, and never more than a few seconds; it says what was not sent."""
    monkeypatch.setattr(on, "FLUSH_SECONDS", most)
    with silent_collector() as address:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", address)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "4")
        settings = WorkerSettings(tracing=True, stop_timeout_seconds=stop_timeout_seconds)
        tracing = open_tracing(settings, Metrics())
        channel = tracing.channel(FakeBroker([b"{}"], polls=1))
        channel.publish(channel.poll(1), [])
        began = time.monotonic()
        tracing.flush()
        assert time.monotonic() - began < 0.5  # leaving the group begins at once
        tracing.close()
        least = min(most, stop_timeout_seconds)
        assert least - 0.1 < time.monotonic() - began < least + 1.5
        assert [message for message in caplog.messages if "were not sent" in message]
    wait_until(lambda: not [each for each in threading.enumerate() if each.name == "tracing-flush"], 20, "it gives up")


def test_an_exit_before_the_loop_waits_for_nothing() -> None:
    """A worker that is stopped while it starts has no span to send."""
    with silent_collector():
        tracing = open_tracing(SETTINGS, Metrics())
        began = time.monotonic()
        tracing.close()
        assert time.monotonic() - began < 1
    assert isinstance(tracing, Tracing)


REFUSED = (
    ("OTEL_TRACES_EXPORTER", "secret"),
    ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
    ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/json"),
    ("OTEL_EXPORTER_OTLP_ENDPOINT", "user:secret@collector:4317"),
    ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://secret:secret"),
    ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/secret/ca.pem"),
    ("OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY", "/secret/key.pem"),
    ("OTEL_EXPORTER_OTLP_HEADERS", "secret"),
    ("OTEL_BSP_MAX_QUEUE_SIZE", "secret"),
    ("OTEL_BSP_SCHEDULE_DELAY", "-1"),
    ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "0"),
    ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "2049"),
    ("OTEL_SPAN_LINK_COUNT_LIMIT", "secret"),
)


@pytest.mark.parametrize(("name", "value"), REFUSED)
def test_what_cannot_be_followed_is_refused_at_start(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """With the variable and what it may be; its value, which may be a secret, is in no message."""
    monkeypatch.setenv(name, value)
    caplog.set_level(logging.DEBUG)
    with pytest.raises(UsageError, match=name) as refusal:
        open_tracing(SETTINGS, Metrics())
    assert "secret" not in str(refusal.value) + caplog.text


@pytest.mark.parametrize(
    ("endpoint", "shown"),
    [
        ("", "localhost:4318"),
        ("http://user:secret@collector:4318/base?token=secret", "collector:4318"),
        ("https://collector.example", "collector.example"),
    ],
)
def test_the_log_names_the_collector_without_secrets(
    endpoint: str, shown: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """One line at start, with host and port."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
    caplog.set_level(logging.INFO)
    open_export(Metrics().spans).shutdown()
    assert [message for message in caplog.messages if "tracing" in message] == [f"tracing: spans are sent to {shown}"]


def test_the_sdk_may_be_disabled_by_its_own_variable(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """`OTEL_SDK_DISABLED` turns everything off, as it does in every other program, and the log says so."""
    monkeypatch.setenv("OTEL_SDK_DISABLED", "True")
    assert type(open_tracing(SETTINGS, Metrics())) is Off
    assert "OTEL_SDK_DISABLED" in caplog.text


def test_a_collector_that_is_away_fills_no_log() -> None:
    """The exporter repeats its complaint with every batch; a line a minute is shown, with a count of the others."""
    shown = RepeatFilter()
    name = "opentelemetry.exporter.otlp.proto.http.trace_exporter"
    lines = [line(name, "Failed to export %s batch", 1000.0 + 5 * n, "span") for n in range(25)]
    passed = [each.getMessage() for each in lines if shown.filter(each)]
    assert passed == [
        "Failed to export span batch",
        "Failed to export span batch (11 more like it before)",
        "Failed to export span batch (11 more like it before)",
    ]


def test_the_libraries_log_no_details(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    """With log_level DEBUG, neither OpenTelemetry nor the HTTP client below it logs requests."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.address)
    open_export(Metrics().spans).shutdown()
    for library in ("opentelemetry.sdk.trace", "urllib3.connectionpool"):
        assert not logging.getLogger(library).isEnabledFor(logging.INFO)
