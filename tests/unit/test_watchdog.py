"""A worker that hangs ends itself, whether or not its log is read."""

import signal
import subprocess
import sys
import time

import pytest

from consumer.errors import GaveUp

WORKER = """
import logging, sys, threading, time
from consumer.service import logs
from consumer.service.watchdog import Watchdog
def hang_here():
    threading.Event().wait(30)
logs.set_up("auto", "INFO")
watchdog = Watchdog(0.5)
watchdog.rearm()
began = time.monotonic()
print("begun", flush=True)
while time.monotonic() < began + 30:
    if sys.argv[1] == "hangs":
        hang_here()
    if sys.argv[1] == "logs":
        logging.getLogger("consumer").info("x" * 1000)
    if sys.argv[1] == "turns":
        watchdog.rearm()
        time.sleep(0.05)
"""


def start(what: str) -> subprocess.Popen[str]:
    """A process whose loop `hangs`, `turns`, or `logs` without end."""
    command = [sys.executable, "-c", WORKER, what]
    return subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def test_a_hang_ends_the_process_and_says_why() -> None:
    """Exit code 5, a log line, and the place where it hangs, without any help from the thread that hangs."""
    with start("hangs") as process:
        _, written = process.communicate(timeout=60)
    first, *stacks = written.splitlines()
    assert process.returncode == GaveUp.exit_code
    assert '"level": "CRITICAL"' in first
    assert "no progress within 0.5 s" in first
    assert any("Thread" in line for line in stacks)
    assert any("in hang_here" in line for line in stacks)


def test_a_hang_ends_the_process_if_its_log_has_no_reader() -> None:
    """Also if stderr is a broken pipe."""
    with start("hangs") as process:
        process.stderr.close()  # type: ignore[union-attr]
        assert process.wait(60) == GaveUp.exit_code


def test_a_full_log_pipe_ends_the_process() -> None:
    """The loop hangs in a log line because the pipe is full; the watchdog does not wait for the same pipe."""
    with start("logs") as process:
        assert process.wait(60) == GaveUp.exit_code


def test_a_hang_ends_the_process_that_was_started_without_stderr() -> None:
    """`2>&-`: Python has no stderr then."""
    command = ["sh", "-c", 'exec "$0" -c "$1" hangs 2>&-', sys.executable, WORKER]
    assert subprocess.run(command, timeout=60, check=False).returncode == GaveUp.exit_code


def test_a_process_that_was_suspended_resumes() -> None:
    """Suspended for longer than the watchdog waits, its loop makes progress before it counts as hung."""
    with start("turns") as process:
        assert process.stdout
        assert process.stdout.readline() == "begun\n"
        for _ in range(3):
            process.send_signal(signal.SIGSTOP)
            time.sleep(1.5)  # three times what the watchdog waits
            process.send_signal(signal.SIGCONT)
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(0.5)
        process.kill()
