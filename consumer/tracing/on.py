"""Tracing that is on."""

import logging
import re
import threading
import time
from typing import Self

from opentelemetry.sdk.trace import TracerProvider

from consumer.errors import UsageError
from consumer.flags import version
from consumer.records.poll import Channel
from consumer.service.metrics import Metrics
from consumer.settings import WorkerSettings
from consumer.tracing.channel import TracedChannel
from consumer.tracing.conventions import SCHEMA_URL
from consumer.tracing.exporting import Export, open_export, resource_of
from consumer.tracing.off import Off
from consumer.tracing.timeline import Timeline

log = logging.getLogger(__name__)

#: How long the exit may wait for a collector at most, in seconds.
FLUSH_SECONDS = 3.0


class Tracing(Off):
    """Makes spans and sends them. The thread of the loop never waits for a collector.

    Args:
        settings: topics, group, how long an exit may take.
        export: where spans go; closed with this.
    """

    stopwatch: Timeline

    def __init__(self, settings: WorkerSettings, export: Export) -> None:
        super().__init__()
        self.stopwatch = Timeline()
        self._settings, self._export = settings, export
        # No shutdown at exit of the interpreter: it would wait for as long as a collector does not answer.
        self._provider = TracerProvider(resource=resource_of(settings.instance_id), shutdown_on_exit=False)
        self._provider.add_span_processor(export)
        self._channel: TracedChannel | None = None
        self._flushing: threading.Thread | None = None
        self._deadline = 0.0

    @classmethod
    def of_environment(cls, settings: WorkerSettings, metrics: Metrics) -> Self:
        """With the endpoint, headers, sampler and limits of the `OTEL_*` variables.

        Raises:
            UsageError: a variable asks for what it cannot do.
        """
        try:
            return cls(settings, open_export(metrics.spans))
        except (ValueError, RuntimeError) as error:  # of OpenTelemetry, with the value of the variable
            named = re.search(r"OTEL_[A-Z_]+", str(error))
            what = named[0] if named else "an OTEL_* variable"
            raise UsageError(f"OpenTelemetry does not accept {what}; see docs/tracing.md") from None

    def channel(self, channel: Channel) -> Channel:
        """See `Off`."""
        tracer = self._provider.get_tracer("review-consumer", version(), schema_url=SCHEMA_URL)
        self._channel = TracedChannel(self._settings, channel, tracer, self.stopwatch)
        return self._channel

    def flush(self) -> None:
        """See `Off`. While the spans are sent, the worker leaves its group."""
        if self._flushing is None:
            self._flushing = self._flush()

    def _flush(self) -> threading.Thread:
        if self._channel is not None:
            self._channel.abandon()
        self._deadline = time.monotonic() + min(FLUSH_SECONDS, self._settings.stop_timeout_seconds)
        # A daemon: the process may end although a collector keeps this thread waiting.
        thread = threading.Thread(target=self._provider.shutdown, name="tracing-flush", daemon=True)
        thread.start()
        return thread

    def close(self) -> None:
        """See `Off`."""
        flushing = self._flushing or self._flush()
        flushing.join(max(0.0, self._deadline - time.monotonic()))
        self._export.abort()
        if left := self._export.pending:
            log.warning("%s spans were not sent to the collector before the exit", left)
