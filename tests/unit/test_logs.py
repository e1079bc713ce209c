"""A client in trouble does not flood the log."""

import logging

from consumer.logs import REPEAT_SECONDS, NotAgain


def line(name: str, template: str, at: float, *args: object) -> logging.LogRecord:
    """A log line of that time."""
    record = logging.LogRecord(name, logging.WARNING, "", 0, template, args, None)
    record.created = at
    return record


def test_what_the_client_repeats_is_told_once_in_a_while() -> None:
    """The first line is shown, the next ones are counted; other lines, and those of the worker, are always shown."""
    # Given a hundred warnings of one kind within a second, and others among them
    shown = NotAgain()
    lines = [line("kafka.producer.sender", "retrying %s", 1000 + n / 100, n) for n in range(100)]
    told = [each for each in lines if shown.filter(each)]
    # Then one is shown, with its own numbers
    assert [each.getMessage() for each in told] == ["retrying 0"]
    assert shown.filter(line("kafka.producer.sender", "closing", 1000.5))
    assert all(shown.filter(line("consumer.worker", "not published", 1000.5)) for _ in range(3))
    # And when the time is over, the next one tells how many there were
    later = line("kafka.producer.sender", "retrying %s", 1000 + REPEAT_SECONDS, 7)
    assert shown.filter(later)
    assert later.getMessage() == "retrying 7 (99 more like it before)"
    # And a clock that is set back hides nothing
    assert shown.filter(line("kafka.producer.sender", "retrying %s", 10, 8))
