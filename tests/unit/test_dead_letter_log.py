"""Dead letters are logged once a minute, by cause, without content."""

import logging

import pytest

from consumer.records.fault import Detail, Fault, Reason
from consumer.records.messages import Model
from consumer.records.outcomes import Outcome, Outcomes
from consumer.records.record import Record
from consumer.service.dead_letter_log import DeadLetterLog
from consumer.settings import WorkerSettings

MARKER = "zqxmarkerzqx"
MODEL = Model(name="m", version="1", digest="0" * 64, variant="int8")


def dead(offset: int, fault: Fault) -> Outcome:
    """A dead letter of partition 3 whose key, value and header hold a marker."""
    content = MARKER.encode()
    source = Record("reviews", 3, offset, 0, content, content, ((MARKER, content),))
    return Outcomes(WorkerSettings(), MODEL).dead(source, fault)


def test_one_line_a_minute_counts_by_cause(caplog: pytest.LogCaptureFixture) -> None:
    """The first dead letter is logged at once, the next ones together after a minute, and the rest at the end."""
    now = 100.0
    summary = DeadLetterLog(lambda: now)

    def turn(*outcomes: Outcome) -> list[str]:
        caplog.clear()
        summary.note(outcomes)
        summary.write_if_due()
        return caplog.messages

    with caplog.at_level(logging.INFO):
        first = Fault(Reason.NOT_JSON, Detail.TRUNCATED, 7)
        assert turn() == []
        assert turn(dead(1, first)) == ["1 dead letter: 1 not_json (truncated); the last one is partition 3, offset 1"]
        now += 59
        assert turn(*(dead(n, Fault(Reason.NOT_JSON, Detail.TRUNCATED, n)) for n in range(2, 22))) == []
        assert turn(*(dead(n, Fault(Reason.TOMBSTONE)) for n in range(22, 31))) == []
        now += 1
        assert turn() == [
            "29 dead letters: 20 not_json (truncated), 9 tombstone; the last one is partition 3, offset 30"
        ]
        now += 600
        assert turn() == []
        assert turn(dead(31, Fault(Reason.MODEL_ERROR))) != []
        assert turn(dead(32, Fault(Reason.MODEL_ERROR))) == []
        summary.write()
        assert caplog.messages == ["1 dead letter: 1 model_error; the last one is partition 3, offset 32"]
        caplog.clear()
        summary.write()
        assert caplog.messages == []
    assert MARKER not in caplog.text
