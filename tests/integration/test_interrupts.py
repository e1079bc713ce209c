"""Ctrl-C at the worst moments: between a thing that is made and the line that remembers it, or within kafka-python."""

import argparse
import logging
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from consumer.demo import command as demo
from consumer.demo.produce import produce
from consumer.demo.worker_process import WorkerProcess
from consumer.local import command as local
from consumer.local.interrupts import Interrupts
from tests.kafka_helpers import Topics

pytestmark = [pytest.mark.broker, pytest.mark.timeout(120)]

LOGGER = logging.getLogger("kafka.net.connection")


class CtrlC(logging.Handler):
    """Somebody who presses Ctrl-C once: when a function has done its work, or kafka-python logs a broker's answer."""

    pressed = False

    def press(self) -> None:
        """The first time only."""
        if not self.pressed:
            self.pressed = True
            signal.raise_signal(signal.SIGINT)

    def emit(self, record: logging.LogRecord) -> None:
        """A task of the client is at work, in our thread."""
        if "Response" in record.msg:
            self.press()

    def after(self, function: Callable[..., Any], words: str) -> Callable[..., Any]:
        """`function`, with Ctrl-C at its end if `words` are in what it is called with."""

        def pressed(*arguments: Any, **named: Any) -> Any:
            made = function(*arguments, **named)
            if words in f"{arguments} {named}":
                self.press()
            return made

        return pressed


@pytest.fixture
def ctrl_c() -> Iterator[CtrlC]:
    """Not pressed yet; afterwards the test run hears signals again, which a process that is interrupted ignores."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield CtrlC(logging.DEBUG)
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def as_it_connects(ctrl_c: CtrlC, caplog: pytest.LogCaptureFixture) -> Iterator[CtrlC]:
    """Listens to what kafka-python's connections log."""
    caplog.set_level(logging.DEBUG, LOGGER.name)
    LOGGER.addHandler(ctrl_c)
    yield ctrl_c
    LOGGER.removeHandler(ctrl_c)


@pytest.fixture(autouse=True)
def nothing_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Neither a process nor a temporary file, after each of these tests."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    before = psutil.Process().children(recursive=True)
    yield
    left = [process for process in psutil.Process().children(recursive=True) if process not in before]
    assert left == []
    assert list(temporary.iterdir()) == []


@pytest.fixture(
    params=[
        (tempfile, "mkdtemp", "review-consumer-kafka-"),
        (subprocess, "Popen", "kafka.Kafka"),
        (tempfile, "mkdtemp", "review-consumer-demo-"),
        (subprocess, "Popen", "'run', '--bootstrap-servers'"),
        (WorkerProcess, "__enter__", ""),
    ],
    ids=["directory-of-kafka", "kafka", "directory", "worker", "start-of-worker"],
)
def pressed_after_it_was_made(request: pytest.FixtureRequest, ctrl_c: CtrlC, monkeypatch: pytest.MonkeyPatch) -> CtrlC:
    """Waits for a call of the function `name` of `owner` with `words` in its arguments."""
    owner, name, words = request.param
    monkeypatch.setattr(owner, name, ctrl_c.after(getattr(owner, name), words))
    return ctrl_c


def test_what_is_made_when_ctrl_c_is_pressed_is_put_away(bundle: Path, pressed_after_it_was_made: CtrlC) -> None:
    """The moment after it was made, and before the demo knows of it."""
    arguments = argparse.Namespace(bundle=bundle, rate=0.0, produce_to=None, keep_running=False, svg=None)
    assert demo.run(arguments) == 130
    assert pressed_after_it_was_made.pressed


def test_ctrl_c_is_not_lost_while_kafka_is_asked_whether_it_is_ready(as_it_connects: CtrlC) -> None:
    """`review-consumer kafka` ends, whatever the task of the administration client makes of an exception."""
    arguments = argparse.Namespace(tool=None, brokers=1, port=0, data_dir=None, topics={"reviews": 1})
    assert local.run(arguments) == 0
    assert as_it_connects.pressed


def test_ctrl_c_is_not_lost_while_a_producer_connects(topics: Topics, as_it_connects: CtrlC) -> None:
    """The same for `--produce-to`."""
    with Interrupts() as interrupts, pytest.raises(KeyboardInterrupt):
        produce(interrupts, topics.bootstrap, 1.0)
    assert as_it_connects.pressed
