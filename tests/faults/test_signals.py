"""What a real worker does on each signal that operators, terminals and supervisors send."""

import json
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fake_bundle import write_bundle
from tests.fake_worker import Script
from tests.harness import COMMAND, Harness
from tests.worker_process import wait_until

pytestmark = [pytest.mark.broker, pytest.mark.timeout(300)]


#: Makes a terminal on its stdin its own, as a shell does, and becomes the worker.
IN_A_TERMINAL = """
import fcntl, os, sys, termios
os.setsid()
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""


@pytest.mark.smoke
def test_row_24_a_hangup_ends_a_worker_in_order_however_often_it_comes(harness: Harness) -> None:
    """SIGHUP finishes the current poll: exit code 0, even if the kernel and the shell both send it."""
    # Given a worker in the middle of a commit
    harness.produce(100)
    worker = harness.worker(Script({"sent:1": "pause"}))
    worker.await_point("sent:1")
    # When its terminal is closed, of which it hears twice
    worker.send(signal.SIGHUP)
    wait_until(lambda: "SIGHUP: finishing the current poll" in worker.log, 20, "the first one is noticed")
    worker.send(signal.SIGHUP)
    worker.release("sent:1")
    # Then it commits what it holds, and every line that it wrote is JSON
    assert worker.wait_exit() == 0, worker.log
    assert worker.messages()[-1].startswith("stopped: ")
    assert worker.log.count("finishing the current poll") == 1
    assert {json.loads(line)["level"] for line in worker.log.splitlines()} <= {"INFO", "WARNING"}
    assert 0 < harness.committed() <= 100
    harness.worker()
    assert harness.finish().checked == 100


def test_row_24_a_supervisor_that_sends_two_kinds_ends_a_worker_in_order(harness: Harness) -> None:
    """Systemd with SendSIGHUP sends SIGTERM and SIGHUP at once: that is one request, and no second one."""
    harness.produce(100)
    worker = harness.worker(Script({"sent:1": "pause"}))
    worker.await_point("sent:1")
    worker.send(signal.SIGTERM)
    wait_until(lambda: "SIGTERM: finishing the current poll" in worker.log, 20, "it has noticed")
    worker.send(signal.SIGHUP)
    worker.release("sent:1")
    assert worker.wait_exit() == 0, worker.log
    assert worker.log.count("finishing the current poll") == 1
    harness.worker()
    assert harness.finish().checked == 100


def test_row_24_a_second_kind_of_signal_still_ends_a_worker_at_once(harness: Harness) -> None:
    """After a hangup, SIGTERM is the first request of an operator, and a second SIGTERM ends the worker with code 5."""
    harness.produce(100)
    worker = harness.worker(Script({"sent:1": "pause"}))
    worker.await_point("sent:1")
    worker.send(signal.SIGHUP)
    wait_until(lambda: "SIGHUP: " in worker.log, 20, "the hangup is noticed")
    worker.send(signal.SIGTERM)
    wait_until(lambda: "SIGTERM: " in worker.log, 20, "the first SIGTERM is noticed")
    assert worker.is_running
    worker.send(signal.SIGTERM)
    assert worker.wait_exit(15) == 5


def test_row_24_a_terminal_that_closes_ends_its_worker_in_order(harness: Harness, tmp_path: Path) -> None:
    """A worker that was started in a terminal commits its poll and ends when the terminal is closed."""
    # Given a worker whose only output is a terminal
    harness.produce(100)
    terminal, end = pty.openpty()
    command = [*COMMAND, "run", "--metrics-port", "0", "--bundle", str(write_bundle(tmp_path)), *harness.topics.flags]
    worker = subprocess.Popen([sys.executable, "-c", IN_A_TERMINAL, *command], stdin=end, stdout=end, stderr=end)
    os.close(end)
    try:
        wait_until(lambda: harness.committed() == 100, 60, "it has labelled the reviews", every_s=0.3)
        # When the terminal is closed
        os.close(terminal)
        # Then it ends in order
        assert worker.wait(30) == 0
    finally:
        worker.kill()
        worker.wait()
    assert harness.verdict().checked == 100


def test_row_24_a_worker_under_nohup_outlives_its_terminal(harness: Harness) -> None:
    """`nohup review-consumer run &` says that hangups are to be ignored."""
    # Given a worker that was started so
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # children inherit it
    try:
        worker = harness.worker()
    finally:
        signal.signal(signal.SIGHUP, before)
    harness.produce(50)
    harness.await_done()
    # When a hangup comes, then it works on
    worker.send(signal.SIGHUP)
    harness.produce(50)
    harness.await_done()
    assert "SIGHUP" not in worker.log
    assert harness.finish().checked == 100


@pytest.mark.smoke
def test_row_24_stacks_are_shown_on_request_and_the_work_goes_on(harness: Harness) -> None:
    """SIGUSR1 writes the stacks of all threads to stderr, as often as asked, without a value of any variable."""
    # Given a worker that seems to hang
    harness.produce(100)
    worker = harness.worker(Script({"inferred:1": "pause"}))
    worker.await_point("inferred:1")
    # When it is asked what it does, then it names the lines, of each thread
    for times in (1, 2):
        worker.send(signal.SIGUSR1)
        at_least = 2 * times
        wait_until(lambda: worker.log.count("most recent call first") >= at_least, 20, "the stacks")  # noqa: B023
    assert "in publish" in worker.log
    assert "Current thread" in worker.log
    assert "review 1" not in worker.log
    # And continues as if nothing had happened
    worker.release("inferred:1")
    assert harness.finish().checked == 100


def test_row_24_a_worker_without_stderr_survives_the_request() -> None:
    """`2>&-`: there is nowhere to write to, and no file that was opened meanwhile is written over."""
    command = 'exec "$@" 2>&-'
    code = "import os, signal, consumer.service.signals as s; s.show_stacks(); os.kill(os.getpid(), signal.SIGUSR1)"
    ended = subprocess.run(["sh", "-c", command, "sh", sys.executable, "-c", code], check=False, timeout=60)
    assert ended.returncode == 0
