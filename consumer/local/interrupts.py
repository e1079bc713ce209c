"""Ctrl-C at any moment leaves nothing behind.

An exception raised by a signal handler may arrive after a process was started and before it was recorded. It may also
arrive inside kafka-python, which runs its event loop in our thread while it connects, takes the exception for a failure
of one of its own tasks, and continues. So the handler only records the signal, and `check` raises it at a safe point.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Self

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupts:
    """Records SIGINT and SIGTERM. A context manager, for the main thread.

    `check`, or a block of `at_once`, raises the first signal as `KeyboardInterrupt`. Later ones are ignored until the
    process ends: cleaning up takes a bounded time.
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
            # After the first signal the process is about to end; a second one would change its exit code.
            signal.signal(number, signal.SIG_IGN if self._number else handler)

    @property
    def exit_code(self) -> int:
        """130 after SIGINT, 143 after SIGTERM, as in shells; 0 without a signal."""
        return 128 + self._number if self._number else 0

    def check(self) -> None:
        """Raise the recorded signal; call this often, wherever the program may end.

        Raises:
            KeyboardInterrupt: a signal has arrived; once.
        """
        if self._number and not self._raised:
            self._raised = True
            raise KeyboardInterrupt

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """A block that may take long and can be interrupted at any line.

        Raises:
            KeyboardInterrupt: as soon as a signal arrives, or at once if one has arrived before; once.
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
