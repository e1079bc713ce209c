"""Where spans go: to an OTLP collector, over HTTP, by a thread that the loop never waits for."""

import logging
import os
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from prometheus_client import Counter

from consumer.errors import UsageError
from consumer.flags import version

log = logging.getLogger(__name__)

#: Spans that wait for the collector at most; OTEL_BSP_MAX_QUEUE_SIZE overrides it.
QUEUE_SPANS = 2048
#: Spans of one request at most; OTEL_BSP_MAX_EXPORT_BATCH_SIZE overrides it.
BATCH_SPANS = 512
#: What else may be set, and the only values that this worker can follow.
_ONLY = {
    "OTEL_TRACES_EXPORTER": "otlp",
    "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
    "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf",
}
_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_FILES = [
    f"OTEL_EXPORTER_OTLP_{signal}{name}"
    for name in ("CERTIFICATE", "CLIENT_KEY", "CLIENT_CERTIFICATE")
    for signal in ("TRACES_", "")
]
_QUEUE, _BATCH, _DELAY = "OTEL_BSP_MAX_QUEUE_SIZE", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "OTEL_BSP_SCHEDULE_DELAY"


class Export(SpanProcessor):
    """A bounded queue in front of `exporter`; what does not fit is dropped and counted, without a log line for each.

    Args:
        exporter: sends spans; may block.
        spans: counts them by `result`, "exported" or "dropped".
        most: spans that may wait.
        at_once: spans of one request at most; None: as OpenTelemetry decides.
    """

    def __init__(
        self, exporter: SpanExporter, spans: Counter, most: int = QUEUE_SPANS, at_once: int | None = None
    ) -> None:
        self._exporter = _Counted(exporter, self._taken)
        self._spans, self._most = spans, most
        self._lock = threading.Lock()
        self._pending = 0
        self._batches = BatchSpanProcessor(self._exporter, max_queue_size=most, max_export_batch_size=at_once)

    @property
    def pending(self) -> int:
        """Spans that are neither exported nor dropped."""
        return self._pending

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Nothing to do."""

    def on_end(self, span: ReadableSpan) -> None:
        """Queue it, if there is room. Never waits for the collector."""
        if not (span.context and span.context.trace_flags.sampled):
            return
        with self._lock:
            if has_room := self._pending < self._most:
                self._pending += 1
        if has_room:
            self._batches.on_end(span)
        else:
            self._spans.labels("dropped").inc()

    def _taken(self, spans: int, result: SpanExportResult) -> None:
        self._spans.labels("exported" if result is SpanExportResult.SUCCESS else "dropped").inc(spans)
        with self._lock:
            self._pending -= spans

    def shutdown(self) -> None:
        """Send what is left. Takes as long as the collector does, or until `abort`."""
        self._batches.shutdown()  # type: ignore[no-untyped-call]

    def abort(self) -> None:
        """Send nothing more, and do not try again what fails."""
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Send what is left now."""
        return self._batches.force_flush(timeout_millis)


class _Counted(SpanExporter):
    """Reports how many spans of each batch `exporter` sent."""

    def __init__(self, exporter: SpanExporter, taken: Callable[[int, SpanExportResult], None]) -> None:
        self._exporter, self._taken = exporter, taken
        self._is_shut = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send `spans`, in the thread of the queue."""
        result = SpanExportResult.FAILURE
        try:
            result = self._exporter.export(spans)
        finally:
            self._taken(len(spans), result)
        return result

    def shutdown(self) -> None:
        """End what is being retried."""
        if not self._is_shut:
            self._is_shut = True
            self._exporter.shutdown()


def resource_of(instance: str | None) -> Resource:
    """What describes this worker; `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` override it."""
    ours = {"service.name": "review-consumer", "service.version": version()}
    if instance is not None:
        ours["service.instance.id"] = instance
    return Resource.create({**ours, **OTELResourceDetector().detect().attributes})


def open_export(spans: Counter) -> Export:
    """Send spans as the `OTEL_*` variables say.

    Raises:
        UsageError: a variable cannot be followed. Its value is not repeated: it may hold a secret.
    """
    for name, only in _ONLY.items():
        if (value := os.environ.get(name, "").strip()) and value != only:
            raise UsageError(f"{name} must be {only} or unset: the worker sends spans no other way")
    for name in _FILES:
        if (path := os.environ.get(name)) and not Path(path).is_file():
            raise UsageError(f"{name} is not the path of a file")
    host = _collector()
    for library in ("opentelemetry", "urllib3"):
        logging.getLogger(library).setLevel(logging.WARNING)
    _number(_DELAY)  # OpenTelemetry reads it itself
    most = _number(_QUEUE) or QUEUE_SPANS
    at_once = _number(_BATCH) or min(most, BATCH_SPANS)
    if at_once > most:
        raise UsageError(f"{_BATCH} must be at most {_QUEUE} ({QUEUE_SPANS} by default)")
    export = Export(_exporter(), spans, most, at_once)
    log.info("tracing: spans are sent to %s", host)
    return export


def _collector() -> str:
    """Host and port of the collector."""
    for name in _ENDPOINTS:
        if endpoint := os.environ.get(name):
            with suppress(ValueError):
                parts = urlsplit(endpoint)
                if parts.scheme in {"http", "https"} and parts.hostname:
                    return f"{parts.hostname}:{parts.port}" if parts.port else parts.hostname
            raise UsageError(f"{name} must be a URL such as http://collector:4318")
    return "localhost:4318"


def _number(name: str) -> int | None:
    text = os.environ.get(name, "").strip()
    if text and not (text.isascii() and text.isdigit() and int(text)):
        raise UsageError(f"{name} must be a whole number above 0")
    return int(text) if text else None


def _exporter() -> SpanExporter:
    """The exporter of OpenTelemetry. What it would log of headers that it cannot read may be a password."""
    refused: list[str] = []

    def keep(record: logging.LogRecord) -> bool:
        refused.append(record.name)
        return False

    reader = logging.getLogger("opentelemetry.util.re")
    reader.addFilter(keep)
    try:
        exporter = OTLPSpanExporter()
    finally:
        reader.removeFilter(keep)
    if refused:
        raise UsageError("OTEL_EXPORTER_OTLP_HEADERS must be NAME=VALUE,NAME=VALUE, with values in URL encoding")
    return exporter
