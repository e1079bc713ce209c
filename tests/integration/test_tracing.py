"""A traced worker on a real Kafka: the trace goes on, and a collector that never answers changes nothing."""

import os
import signal
import time
from pathlib import Path

import pytest

from consumer.local.broker import LocalBroker
from consumer.tracing.context import HEADER, sampled_context
from tests.collector import Collector, silent_collector
from tests.harness import Harness
from tests.kafka_helpers import Record, internal, read_all
from tests.worker_process import wait_until

pytestmark = pytest.mark.broker

#: How long a worker may take to leave its group, and to send spans.
STOP_SECONDS = 1
TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.fixture(autouse=True)
def _only_these_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable of OpenTelemetry comes from outside; spans are sent ten times a second."""
    for name in [name for name in os.environ if name.startswith("OTEL_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")


def test_the_trace_of_a_producer_goes_on_in_the_results(
    kafka: LocalBroker, tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever reads a result or a dead letter finds the producer's trace id, and a span that the collector has."""
    own = [(HEADER, f"00-{TRACE}-{SPAN}-01".encode()), ("tracestate", b"vendor=x")]
    with Collector() as collector, Harness(kafka, tmp_path, seed) as harness:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.address)
        values = (b'{"text": "good"}', b"no JSON", b'{"text": "bad"}')
        harness.produce_records([Record(value, None, own if n < 2 else [], n) for n, value in enumerate(values)])
        worker = harness.worker(tracing=True)
        harness.await_done()
        harness.stop()
        results = read_all(internal(kafka), harness.topics.output)
        letters = read_all(internal(kafka), harness.topics.dead_letter)
        assert (len(results), len(letters)) == (2, 1)
        spans = {span.span_id.hex(): span for span in collector.spans}
        traced = [*letters, *(each for each in results if each.partition == 0)]
        for record in traced:
            found = sampled_context(record.headers)
            assert found is not None
            assert f"{found.trace_id:032x}" == TRACE
            span = spans[f"{found.span_id:016x}"]
            assert span.name in {f"create {harness.topics.output}", f"create {harness.topics.dead_letter}"}
            assert (span.trace_id.hex(), span.parent_span_id.hex()) == (TRACE, SPAN)
            assert dict(record.headers)["tracestate"] == b"vendor=x"
            # And from there to the poll, with its stages
            (link,) = span.links
            poll = spans[link.span_id.hex()]
            assert poll.name == f"process {harness.topics.input}"
            assert TRACE in {each.trace_id.hex() for each in poll.links}
            assert {"infer", "publish"} <= {each.name for each in spans.values() if each.parent_span_id == poll.span_id}
        assert len(traced) == 2
        (untraced,) = (each for each in results if each.partition == 2)
        assert HEADER not in dict(untraced.headers)
        assert "not sent" not in worker.log


def test_a_collector_that_never_answers_delays_neither_polls_nor_the_exit(
    kafka: LocalBroker, tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every record is labelled exactly once, what does not fit into the queue is counted, and SIGTERM ends it soon."""
    with silent_collector() as address, Harness(kafka, tmp_path, seed) as harness:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", address)
        monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "10")
        worker = harness.worker(tracing=True, max_poll_records=5, stop_timeout_seconds=STOP_SECONDS)
        harness.produce(200, bad=0.1)
        harness.await_done()
        wait_until(lambda: worker.metric("reviews_spans_total", result="dropped") > 50, 10, "spans are dropped")
        assert worker.metric("reviews_spans_total", result="exported") == 0
        began = time.monotonic()
        worker.send(signal.SIGTERM)
        assert worker.wait_exit() == 0
        assert time.monotonic() - began < STOP_SECONDS + 5
        assert any("10 spans were not sent" in line for line in worker.messages())
        complaints = [line for line in worker.log.splitlines() if '"logger": "opentelemetry' in line]
        assert len(complaints) <= 3
        assert harness.verdict().checked == 200
