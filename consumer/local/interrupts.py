"""Ctrl-C at any moment, and nothing is left behind.

An exception out of a signal handler may come between a process that was started and the line that remembers it, or
inside kafka-python, whose clients run their event loop in our thread while they connect: it takes the exception for one
of its own tasks', and goes on. So a signal is noted here, and raised where nothing is half done.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Self

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupts:
    """Notes SIGINT and SIGTERM. A context manager, in the main thread.

    The first one is raised as `KeyboardInterrupt` by `check`, or within `at_once`. What follows is ignored, to the end
    of the process: putting away is bounded.
    """

    def __init__(self) -> None:
        self._before = {number: signal.getsignal(number) for number in _SIGNALS}
        self._number: signal.Signals | None = None
        self._raised = False
        self._at_once = False

    def __enter__(self) -> Self:
        for number in self._before:
            signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            # After one has arrived the process is about to end: another would end it with another exit code.
            signal.signal(number, signal.SIG_IGN if self._number else handler)

    @property
    def exit_code(self) -> int:
        """130 after SIGINT, 143 after SIGTERM, as shells count; 0 if there was none."""
        return 128 + self._number if self._number else 0

    def check(self) -> None:
        """To be called often, wherever it may end.

        Raises:
            KeyboardInterrupt: a signal has arrived; once.
        """
        if self._number and not self._raised:
            self._raised = True
            raise KeyboardInterrupt

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """A block that may take long and can be left at any line.

        Raises:
            KeyboardInterrupt: as soon as a signal arrives, or one had arrived before; once.
        """
        self._at_once = True
        try:
            self.check()
            yield
        finally:
            self._at_once = False

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self._number = self._number or signal.Signals(number)
        if self._at_once:
            self.check()
