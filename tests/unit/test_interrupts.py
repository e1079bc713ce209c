"""Signals wait behind a block, and none is lost."""

import signal
from collections.abc import Iterator

import pytest

from consumer.demo.interrupts import uninterrupted


class EndedError(Exception):
    """What SIGTERM raises in these tests."""


@pytest.fixture(autouse=True)
def sigterm_raises() -> Iterator[None]:
    """SIGTERM ends the test's code, not the test run."""

    def end(*_: object) -> None:
        raise EndedError

    before = signal.signal(signal.SIGTERM, end)
    yield
    signal.signal(signal.SIGTERM, before)


def signalled_within(numbers: list[signal.Signals], done: list[str]) -> None:
    """A block in which `numbers` arrive."""
    with uninterrupted():
        for number in numbers:
            signal.raise_signal(number)
        done.append("to its end")


@pytest.mark.parametrize(
    ("numbers", "error"),
    [
        ([signal.SIGINT], KeyboardInterrupt),
        ([signal.SIGTERM], EndedError),
        ([signal.SIGTERM, signal.SIGINT, signal.SIGINT], EndedError),
    ],
)
def test_a_signal_waits_until_the_block_has_ended(numbers: list[signal.Signals], error: type[BaseException]) -> None:
    """The block runs to its end; then the first signal does what it always does, as do those that come later."""
    done: list[str] = []
    with pytest.raises(error):
        signalled_within(numbers, done)
    assert done == ["to its end"]
    with pytest.raises(error):
        signal.raise_signal(numbers[0])


def failing() -> None:
    """A block that a signal reaches, and that fails."""
    with uninterrupted():
        signal.raise_signal(signal.SIGINT)
        raise ValueError


def test_a_signal_is_not_hidden_by_an_error_of_the_block() -> None:
    """Who asked for the end gets it, with the error as its context."""
    with pytest.raises(KeyboardInterrupt) as interrupted:
        failing()
    assert isinstance(interrupted.value.__context__, ValueError)
