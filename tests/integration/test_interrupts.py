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
from consumer.demo import course
from consumer.demo.produce import produce
from consumer.local import command as local
from consumer.local import node
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

    def after(self, function: Callable[..., Any], prefix: str) -> Callable[..., Any]:
        """`function`, with Ctrl-C at its end if `prefix` is in what it is called with."""

        def pressed(*arguments: Any, **named: Any) -> Any:
            made = function(*arguments, **named)
            if prefix in f"{arguments} {named}":
                self.press()
            return made

        return pressed


@pytest.fixture
def ctrl_c() -> CtrlC:
    """Not pressed yet."""
    return CtrlC(logging.DEBUG)


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


def run_demo(bundle: Path) -> int:
    """`review-consumer demo`, in this process."""
    return demo.run(argparse.Namespace(bundle=bundle, rate=0.0, produce_to=None, keep_running=False))


def run_kafka(_: Path) -> int:
    """`review-consumer kafka --port 0`, in this process."""
    return local.run(argparse.Namespace(tool=None, brokers=1, port=0, data_dir=None, topics={"reviews": 1}))


@pytest.mark.parametrize(
    ("module", "name", "prefix"),
    [
        (tempfile, "mkdtemp", "review-consumer-kafka-"),
        (subprocess, "Popen", "kafka.Kafka"),
        (node.Node, "start", ""),
        (tempfile, "mkdtemp", "review-consumer-demo-"),
        (subprocess, "Popen", "'run', '--bootstrap-servers'"),
        (course.WorkerProcess, "__enter__", ""),
        (course.Traffic, "__enter__", ""),
    ],
    ids=["kafka's directory", "kafka", "kafka's start", "directory", "worker", "worker's start", "clients"],
)
def test_what_is_made_when_ctrl_c_is_pressed_is_put_away(
    bundle: Path, ctrl_c: CtrlC, monkeypatch: pytest.MonkeyPatch, module: Any, name: str, prefix: str
) -> None:
    """The moment after it was made, and before the demo knows of it."""
    monkeypatch.setattr(module, name, ctrl_c.after(getattr(module, name), prefix))
    assert run_demo(bundle) == 130
    assert ctrl_c.pressed


@pytest.mark.parametrize(("run", "exit_code"), [(run_demo, 130), (run_kafka, 0)], ids=["demo", "kafka"])
def test_ctrl_c_is_not_lost_while_kafka_is_asked_whether_it_is_ready(
    bundle: Path, as_it_connects: CtrlC, run: Callable[[Path], int], exit_code: int
) -> None:
    """An administration client that connects swallows what its tasks raise, in our thread."""
    assert run(bundle) == exit_code
    assert as_it_connects.pressed


def test_ctrl_c_is_not_lost_while_a_producer_connects(topics: Topics, as_it_connects: CtrlC) -> None:
    """The same for `--produce-to`."""
    with Interrupts() as interrupts, pytest.raises(KeyboardInterrupt):
        produce(interrupts, topics.bootstrap, 1.0)
    assert as_it_connects.pressed
