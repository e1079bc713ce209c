"""Ctrl-C at any moment: interrupts what is going on, never the putting away."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Self

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupts:
    """Turns the first SIGINT or SIGTERM into `KeyboardInterrupt` and ignores what follows: putting away is bounded."""

    def __init__(self) -> None:
        self._armed = True
        self._before = {number: signal.getsignal(number) for number in _SIGNALS}
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


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Hold back SIGINT and SIGTERM until the block has ended; it has to be bounded, and in the main thread.

    For `KafkaProducer(...)`: while it connects, its event loop runs in our thread, takes an exception from our handler
    for one of its own tasks', and goes on, or waits for that task for ever.
    """
    arrived: list[int] = []
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    try:
        for number in _SIGNALS:
            signal.signal(number, lambda number, _frame: arrived.append(number))
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if arrived:
            signal.raise_signal(arrived[0])
