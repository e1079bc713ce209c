"""A client in trouble does not flood the log, and a log that nobody reads ends nothing."""

import logging
import subprocess
import sys
from pathlib import Path

import pytest

from consumer.service.logs import REPEAT_SECONDS, NotAgain


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


LOGS = """
import logging, sys, threading
from consumer.service import logs
logs.set_up(sys.argv[1], "INFO")
done = []
def work():
    for _ in range(3):
        logging.getLogger("consumer").info("a line")
    done.append(1)
thread = threading.Thread(target=work)
thread.start()
thread.join()
work()
sys.exit(40 + len(done))
"""


@pytest.mark.parametrize("style", ["json", "text"])
def test_a_log_that_nobody_reads_ends_no_thread(style: str) -> None:
    """Where stderr is a broken pipe, the loop and every other thread go on."""
    with subprocess.Popen([sys.executable, "-c", LOGS, style], stderr=subprocess.PIPE) as process:
        process.stderr.close()  # type: ignore[union-attr]
        assert process.wait(60) == 42


def test_the_exit_code_does_not_depend_on_who_reads_the_log(tmp_path: Path) -> None:
    """A bundle that is not there is exit code 3, also where the line that says so cannot be written."""
    flags = ["--bootstrap-servers", "localhost:1", "--input-topic", "a", "--output-topic", "b"]
    flags += ["--dead-letter-topic", "c", "--group-id", "d", "--bundle", str(tmp_path), "--metrics-port", "0"]
    command = [sys.executable, "-m", "consumer", "run", "--log-format", "text", *flags]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as process:
        process.stderr.close()  # type: ignore[union-attr]
        assert process.wait(60) == 3
