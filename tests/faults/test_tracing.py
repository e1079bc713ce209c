"""A traced worker that is killed: results stay exactly once, and so do their spans."""

import os

import pytest

from consumer.tracing.context import HEADER, header_value, sampled_context
from tests.collector import Collector
from tests.fake_worker import Script
from tests.harness import Harness
from tests.kafka_helpers import Record, internal, read_all

pytestmark = pytest.mark.broker

RECORDS = 60


@pytest.mark.parametrize("step", ["sent", "offsets_sent"])
def test_a_traced_worker_killed_before_a_commit_leaves_no_second_span(
    harness: Harness, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """Each record has one result, in its own trace, and at most one span: the one that its result points to."""
    for name in [name for name in os.environ if name.startswith("OTEL_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
    with Collector() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.address)
        harness.produce_records(
            [
                Record(b'{"text": "review %d"}' % n, None, [(HEADER, header_value(n, n, 1))], n % harness.partitions)
                for n in range(1, RECORDS + 1)
            ]
        )
        killed = harness.worker(Script(points={f"{step}:2": "kill"}), tracing=True, max_poll_records=10)
        assert killed.wait_exit() < 0
        harness.worker(tracing=True, max_poll_records=10)
        harness.await_done()
        harness.stop()
        created = [span for span in collector.spans if span.name.startswith("create ")]
    results = read_all(internal(harness.kafka), harness.topics.output)
    offsets = {(each.partition, each.offset): each.headers[0][1] for each in harness.produced}
    assert sorted(each.source[1:] for each in results) == sorted(offsets)
    spans = {int.from_bytes(span.trace_id): int.from_bytes(span.span_id) for span in created}
    assert len(spans) == len(created)  # no trace has two
    for result in results:
        (incoming, outgoing) = (
            sampled_context([(HEADER, value)]) for value in (offsets[result.source[1:]], result.header(HEADER))
        )
        assert incoming is not None
        assert outgoing is not None
        assert outgoing.trace_id == incoming.trace_id
        # The spans of what was committed just before the kill may be lost with the worker
        assert spans.get(outgoing.trace_id, outgoing.span_id) == outgoing.span_id
    assert RECORDS * 0.6 < len(created) <= RECORDS == len(results)
