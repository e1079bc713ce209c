"""A client in trouble does not flood the log, no value forges a line, and a log without a reader ends nothing."""

import json
import logging
import subprocess
import sys
from pathlib import Path

import pytest

from consumer.service.logs import REPEAT_SECONDS, JsonFormatter, RepeatFilter, TextFormatter, visible


def line(name: str, template: str, at: float, *args: object) -> logging.LogRecord:
    """A log line of that time."""
    record = logging.LogRecord(name, logging.WARNING, "", 0, template, args, None)
    record.created = at
    return record


def test_repeated_lines_of_the_client_are_thinned_out() -> None:
    """The first line is shown and the next ones are counted; other lines, and those of the worker, always show."""
    # Given a hundred warnings of one kind within a second, and others among them
    shown = RepeatFilter()
    lines = [line("kafka.producer.sender", "retrying %s", 1000 + n / 100, n) for n in range(100)]
    passed = [each for each in lines if shown.filter(each)]
    # Then one is shown, with its own numbers
    assert [each.getMessage() for each in passed] == ["retrying 0"]
    assert shown.filter(line("kafka.producer.sender", "closing", 1000.5))
    assert all(shown.filter(line("consumer.worker", "not published", 1000.5)) for _ in range(3))
    # And when the time is over, the next one says how many there were
    later = line("kafka.producer.sender", "retrying %s", 1000 + REPEAT_SECONDS, 7)
    assert shown.filter(later)
    assert later.getMessage() == "retrying 7 (99 more like it before)"
    # And a clock that is set back hides nothing
    assert shown.filter(line("kafka.producer.sender", "retrying %s", 10, 8))


def test_lines_that_differ_in_an_address_or_a_number_are_repeats() -> None:
    """The client formats some lines itself, and puts addresses of objects into them."""
    shown = RepeatFilter()
    lines = [line("kafka.client", f"timeout of <Future {0x7F00 + n:#x}> after {n} ms", 1000.0) for n in range(50)]
    assert sum(map(shown.filter, lines)) == 1
    assert shown.filter(line("kafka.client", "timeout of <Request 0x7f00> after 1 ms", 1000.0))


#: Characters that steer a terminal, turn the reading direction, end a line, or do not show.
HOSTILE = "\x00\x07\x1b\r\n\x7f\x85\x9b\u200b\u200e\u202e\u2028\u2029\u2066\ufeff\ud800"


def test_no_character_of_a_message_reorders_or_ends_a_line() -> None:
    """Each is escaped, in JSON and in text; letters of all scripts stay readable as text."""
    record = line("consumer", "group %s, Grüße 審査", 1000.0, f"a{HOSTILE}b")
    as_json, as_text = JsonFormatter().format(record), TextFormatter().format(record)
    assert json.loads(as_json)["message"] == record.getMessage()
    for written in (as_json, as_text):
        assert not set(written) & set(HOSTILE)
        assert "\\u202e" in written
    assert as_text.endswith("b, Grüße 審査")
    assert as_text == visible(record.getMessage())
    assert len(HOSTILE) == 16


def test_a_traceback_is_not_logged() -> None:
    """The message of an exception may hold a piece of a review, and a log line is one line."""
    try:
        raise ValueError("a review")
    except ValueError:
        record = logging.LogRecord("kafka", logging.ERROR, "", 0, "failed", (), sys.exc_info())
    assert TextFormatter().format(record) == "failed"
    assert "a review" not in JsonFormatter().format(record)


@pytest.mark.parametrize("style", ["json", "text"])
def test_last_words_are_escaped_as_well(style: str) -> None:
    """Whichever way a line gets to stderr: by a handler, past the locks, or as the last one of the program."""
    program = (
        "import logging, sys; from consumer import cli; from consumer.service import logs; "
        "logs.set_up(sys.argv[1], 'INFO'); logging.getLogger('consumer').info(sys.argv[2]); "
        "logs.write_unlocked(logging.INFO, sys.argv[2]); cli.report(sys.argv[2])"
    )
    command = [sys.executable, "-c", program, style, "a\u202e\u2028\x9b\nb"]
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    assert ended.stderr.count("\\u202e") == 3
    assert len(ended.stderr.splitlines()) == 3
    assert not set(ended.stderr) & set(HOSTILE) - {"\n"}


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
def test_a_log_without_a_reader_ends_no_thread(style: str) -> None:
    """If stderr is a broken pipe, the loop and every other thread continue."""
    with subprocess.Popen([sys.executable, "-c", LOGS, style], stderr=subprocess.PIPE) as process:
        process.stderr.close()  # type: ignore[union-attr]
        assert process.wait(60) == 42


def test_the_exit_code_does_not_depend_on_who_reads_the_log(tmp_path: Path) -> None:
    """A missing bundle is exit code 3, even if the line that says so cannot be written."""
    flags = ["--bootstrap-servers", "localhost:1", "--input-topic", "a", "--output-topic", "b"]
    flags += ["--dead-letter-topic", "c", "--group-id", "d", "--bundle", str(tmp_path), "--metrics-port", "0"]
    command = [sys.executable, "-m", "consumer", "run", "--log-format", "text", *flags]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as process:
        process.stderr.close()  # type: ignore[union-attr]
        assert process.wait(60) == 3
