"""Ctrl-C at any moment: interrupts what is going on, never the putting away."""

import signal
from types import FrameType
from typing import Self


class Interrupts:
    """Turns the first SIGINT or SIGTERM into `KeyboardInterrupt` and ignores what follows: putting away is bounded."""

    def __init__(self) -> None:
        self._armed = True
        self._before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        self._number = signal.SIGINT

    def __enter__(self) -> Self:
        for number in self._before:
            signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @property
    def exit_code(self) -> int:
        """130 after SIGINT, 143 after SIGTERM, as shells count."""
        return 128 + self._number

    def hold(self) -> None:
        """From here on nothing is interrupted."""
        self._armed = False

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        if self._armed:
            self._armed = False
            self._number = signal.Signals(number)
            raise KeyboardInterrupt
