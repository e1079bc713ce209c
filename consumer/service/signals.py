"""The response to each signal. Imported before everything else, so that none arrives without a handler.

SIGTERM, SIGINT   finish the current poll and exit with code 0; the second one exits at once with code 5
SIGHUP            finish the current poll and exit with code 0, however often it comes; ignored under `nohup`
SIGUSR1           write the stacks of all threads to stderr, and continue
SIGUSR2           look at once whether there is another bundle to serve, and continue
"""

import faulthandler
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from types import FrameType

from consumer.errors import GaveUp


def stopping() -> tuple[signal.Signals, ...]:
    """The signals that end this process in order. `nohup` starts processes that ignore SIGHUP, and so it stays."""
    hangup = () if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN else (signal.SIGHUP,)
    return (signal.SIGINT, signal.SIGTERM, *hangup)


def stop_before_it_begins() -> None:
    """Handle signals until the worker has a loop to stop: process 1 of a container ignores those without a handler."""

    def stop(*_: object) -> None:
        # The reader may be gone, or the signal may have come in the middle of another line.
        with suppress(OSError, RuntimeError):
            print("review-consumer: stopped before it started", file=sys.stderr, flush=True)  # noqa: T201
        # Not `sys.exit`: Python drops an exception that is raised in a callback of its own, as imports have them, and
        # the worker would go on. There is nothing to clean up yet.
        os._exit(0)

    for number in stopping():
        signal.signal(number, stop)
    on_reload(lambda: None)  # there is nothing to replace yet; without a handler it would end the process
    show_stacks()


def on_reload(ask: Callable[[], None]) -> None:
    """Respond to SIGUSR2 with `ask`, which may be interrupted by itself."""
    signal.signal(signal.SIGUSR2, lambda *_: ask())


def show_stacks() -> None:
    """Respond to SIGUSR1 with the stacks of all threads: for a worker that seems to hang. They hold no values.

    `faulthandler.register` would write them at once, without the interpreter's lock. Other threads go on meanwhile, and
    a worker was seen to crash in the middle of it. So Python's own handler writes them, as soon as the main thread is
    between two instructions or waits; it comes late only if that thread is inside the engine.
    """

    def show(*_: object) -> None:
        with suppress(OSError):
            faulthandler.dump_traceback(file=2, all_threads=True)

    is_closed = sys.stderr is None  # since before the process began
    signal.signal(signal.SIGUSR1, signal.SIG_IGN if is_closed else show)


class Stop:
    """A request to stop, made by a signal.

    A terminal that closes may send SIGHUP twice, by the kernel and by the shell, so only SIGTERM and SIGINT count for
    "at once".

    Args:
        note: called in the signal handler with one line; an OSError from it is ignored.
    """

    def __init__(self, note: Callable[[str], None]) -> None:
        self._note = note
        self._requested = False
        self._ends_at_once = False

    def is_requested(self) -> bool:
        """Whether to finish the current poll and return."""
        return self._requested

    def on_signals(self) -> None:
        """Handle the signals from now on."""
        for number in stopping():
            signal.signal(number, self._handle)

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        is_hangup = number == signal.SIGHUP
        if self._ends_at_once and not is_hangup:  # what is not committed is done again by the next worker
            os._exit(GaveUp.exit_code)
        self._ends_at_once |= not is_hangup
        if is_hangup and self._requested:
            return
        self._requested = True
        advice = "" if is_hangup else "; signal again to exit at once"
        with suppress(OSError):
            self._note(f"{signal.Signals(number).name}: finishing the current poll{advice}")
