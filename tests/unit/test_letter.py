"""Dead letters as readers find them, and the headers that tools of others read."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.records.fault import Detail, Fault, Reason
from consumer.records.foreign_headers import foreign_headers
from consumer.records.letter import Letter
from consumer.records.messages import Model, dead_letter_headers
from consumer.records.outcomes import Outcomes
from consumer.records.record import Record
from consumer.settings import DeadLetterHeaders, WorkerSettings

SOURCE = Record("reviews", 3, 41, 1_700_000_000_123, b"k", b"{broken", (("trace", b"a"), ("empty", b"")))
FAULT = Fault(Reason.NOT_JSON, Detail.SYNTAX, 1)
MODEL = Model(name="m", version="1", digest="0" * 64, variant="int8")
#: As the sources of the three write them: see docs/dead-letters.md.
EXPECTED = {
    DeadLetterHeaders.OWN: {},
    DeadLetterHeaders.CONNECT: {
        "__connect.errors.topic": b"reviews",
        "__connect.errors.partition": b"3",
        "__connect.errors.offset": b"41",
        "__connect.errors.connector.name": b"group",
        "__connect.errors.task.id": b"3",
        "__connect.errors.stage": b"VALUE_CONVERTER",
        "__connect.errors.class.name": b"consumer.worker.Worker",
        "__connect.errors.exception.class.name": b"consumer.records.fault.Fault",
        "__connect.errors.exception.message": b"not_json: syntax at byte 1",
    },
    DeadLetterHeaders.STREAMS: {
        "__streams.errors.exception": b"consumer.records.fault.Fault: not_json: syntax at byte 1",
        "__streams.errors.message": b"not_json: syntax at byte 1",
        "__streams.errors.topic": b"reviews",
        "__streams.errors.partition": b"3",
        "__streams.errors.offset": b"41",
    },
    DeadLetterHeaders.SPRING: {
        "kafka_dlt-original-topic": b"reviews",
        "kafka_dlt-original-partition": b"\0\0\0\x03",
        "kafka_dlt-original-offset": b"\0\0\0\0\0\0\0\x29",
        "kafka_dlt-original-timestamp": struct.pack(">q", 1_700_000_000_123),
        "kafka_dlt-original-consumer-group": b"group",
        "kafka_dlt-exception-fqcn": b"consumer.records.fault.Fault",
        "kafka_dlt-exception-message": b"not_json: syntax at byte 1",
    },
}


@pytest.mark.parametrize("style", DeadLetterHeaders)
def test_headers_for_other_tools(style: DeadLetterHeaders) -> None:
    """Names and encodings are those of Connect, Streams and Spring; ours are there as well."""
    settings = WorkerSettings(dead_letter_headers=style, group_id="group")
    outgoing = Outcomes(settings, MODEL).dead(SOURCE, FAULT).outgoing
    assert dict(foreign_headers(style, SOURCE, FAULT, "group")) == EXPECTED[style]
    assert outgoing.headers == [*SOURCE.headers, *dead_letter_headers(SOURCE, FAULT), *EXPECTED[style].items()]
    # And a reader finds the input record
    record = Record("dlq", 3, 0, 5, outgoing.key, outgoing.value, (*outgoing.headers, ("source-lineage", b"x")))
    letter = Letter.of(record)
    assert letter.original_headers == SOURCE.headers
    assert (letter.reason, letter.detail, letter.position) == ("not_json", "syntax", 1)
    assert (letter.source, letter.source_timestamp_ms) == (("reviews", 3, 41), SOURCE.timestamp_ms)
    assert (letter.size, letter.cut, letter.attempts) == (7, "", 0)


def test_headers_for_other_tools_count_against_the_size() -> None:
    """A record that is cut because of them still fits, and says that it is cut."""
    settings = WorkerSettings(dead_letter_headers="connect", max_request_bytes=65_536)
    whole = Record("reviews", 0, 1, 5, None, b"x" * 64_000)
    outgoing = Outcomes(settings, MODEL).dead(whole, FAULT).outgoing
    assert outgoing.size <= 65_536
    letter = Letter.of(Record("dlq", 0, 0, 5, None, outgoing.value, tuple(outgoing.headers)))
    assert (letter.cut, letter.size) == ("value", 64_000)
    assert Outcomes(WorkerSettings(max_request_bytes=65_536), MODEL).dead(whole, FAULT).outgoing.value == whole.value


def test_a_model_error_is_no_fault_of_the_converter() -> None:
    """Connect's stage tells a record that cannot be read from one that the model fails on."""
    headers = dict(foreign_headers(DeadLetterHeaders.CONNECT, SOURCE, Fault(Reason.MODEL_ERROR), "group"))
    assert headers["__connect.errors.stage"] == b"TASK_PUT"
    assert headers["__connect.errors.exception.message"] == b"model_error"


@given(st.lists(st.tuples(st.sampled_from(["source-topic", "source-offset", "x", "dead-letter-cut"]), st.binary())))
def test_headers_of_the_input_record_come_back_unchanged(own: list[tuple[str, bytes]]) -> None:
    """Whatever a producer calls its headers, what the worker added is taken away and nothing else."""
    marks = dead_letter_headers(SOURCE, FAULT)
    assert Letter.of(Record("dlq", 0, 0, 5, None, b"", (*own, *marks))).original_headers == tuple(own)


@pytest.mark.parametrize(
    "headers",
    [
        (),
        (("dead-letter-reason", b"not_json"),),
        (("source-topic", b"t"), ("source-partition", b"x"), ("source-offset", b"1"), ("dead-letter-reason", b"y")),
        (("source-topic", b"t"), ("source-partition", b"1"), ("source-offset", b"1"), ("dead-letter-reason", b"\x1b[")),
        (("source-topic", None), ("dead-letter-reason", None)),
    ],
)
def test_what_no_worker_wrote_has_no_reason(headers: tuple[tuple[str, bytes | None], ...]) -> None:
    """A foreign or forged record is no dead letter, and no error."""
    assert Letter.of(Record("dlq", 0, 0, 5, None, b"", headers)).reason == ""
