"""A signal is noted at any moment, and raised at the next that is safe; none is lost."""

import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from consumer.local.interrupts import Interrupts


@pytest.fixture
def interrupts() -> Iterator[Interrupts]:
    """Listening; afterwards the handlers of before are back, or the process is about to end and ignores the rest."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.getsignal(number) for number in numbers]
    with Interrupts() as listening:
        yield listening
    ignored = [signal.SIG_IGN, signal.SIG_IGN]
    after = [signal.signal(number, handler) for number, handler in zip(numbers, before, strict=True)]
    assert after == (ignored if listening.exit_code else before)


@pytest.mark.parametrize(
    ("numbers", "exit_code"),
    [
        ([signal.SIGINT], 130),
        ([signal.SIGTERM], 143),
        ([signal.SIGTERM, signal.SIGINT, signal.SIGINT], 143),
    ],
)
def test_a_signal_waits_for_the_next_check(
    interrupts: Interrupts, numbers: list[signal.Signals], exit_code: int
) -> None:
    """Nothing is raised where it arrives; the first one counts, and is raised once."""
    interrupts.check()
    assert interrupts.exit_code == 0
    for number in numbers:
        signal.raise_signal(number)
    with pytest.raises(KeyboardInterrupt):
        interrupts.check()
    assert interrupts.exit_code == exit_code
    signal.raise_signal(signal.SIGINT)
    interrupts.check()


def test_nothing_changes_without_a_signal(interrupts: Interrupts) -> None:
    """See the end of the fixture."""
    interrupts.check()
    assert interrupts.exit_code == 0


def test_a_block_can_be_left_at_once(interrupts: Interrupts) -> None:
    """Within it the signal is raised where it arrives; behind it, no longer."""
    with pytest.raises(KeyboardInterrupt), interrupts.at_once():
        signal.raise_signal(signal.SIGINT)
    signal.raise_signal(signal.SIGINT)
    interrupts.check()


def test_a_signal_before_such_a_block_keeps_it_from_beginning(interrupts: Interrupts) -> None:
    """A download of minutes does not start after Ctrl-C."""
    signal.raise_signal(signal.SIGTERM)
    done = []
    with pytest.raises(KeyboardInterrupt), interrupts.at_once():
        done.append("begun")
    assert done == []


def test_a_signal_behind_such_a_block_is_noted_again(interrupts: Interrupts) -> None:
    """The block ends with its last line."""
    with interrupts.at_once():
        pass
    signal.raise_signal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        interrupts.check()


def test_a_worker_that_has_not_begun_stops_wherever_the_signal_comes() -> None:
    """Python drops exceptions of its own callbacks, which imports have; then the worker would go on."""
    program = """
import os, signal
from consumer.service.signals import stop_before_it_begins

class Callback:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)
        for _ in range(1000):
            pass

stop_before_it_begins()
Callback()
print("it went on")
"""
    ended = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True, text=True)
    assert (ended.returncode, ended.stdout) == (0, "")
    assert ended.stderr == "review-consumer: stopped before it started\n"
