"""`review-consumer demo` as a user runs it: it checks itself, ends by itself, and leaves nothing behind."""

import os
import re
import signal
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from xml.etree import ElementTree

import psutil
import pytest

from consumer.local.broker import LocalBroker
from consumer.local.pinned import KAFKA_VERSION
from tests.kafka_helpers import end_offsets
from tests.worker_process import wait_until

pytestmark = pytest.mark.broker

MARK = "DEMO_TEST_RUN"
SVG_TEXT = "{http://www.w3.org/2000/svg}text"
PATIENCE_SECONDS = 240.0


class Demo:
    """A running demo, its output in a file; its processes bear a mark, and its temporary files are in one directory."""

    def __init__(self, directory: Path, *flags: str) -> None:
        self.output = directory / "output.txt"
        self.temporary = directory / "tmp"
        self.temporary.mkdir()
        self._mark = uuid.uuid4().hex
        with self.output.open("wb") as sink:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "consumer", "demo", *flags],
                stdout=sink,
                stderr=subprocess.STDOUT,
                env={**os.environ, MARK: self._mark, "TMPDIR": str(self.temporary)},
            )

    @property
    def text(self) -> str:
        """What it has shown so far."""
        return self.output.read_text("utf-8")

    def wait_for(self, line: str) -> None:
        """Wait until `line` is shown; fails at once if the demo ended before."""

        def shown() -> bool:
            ended = self.process.poll() is not None
            assert line in self.text or not ended, f"ended without {line!r}:\n{self.text}"
            return line in self.text

        wait_until(shown, PATIENCE_SECONDS, f"the line {line!r}")

    def wait_exit(self) -> int:
        """Exit code, once it has ended."""
        return self.process.wait(PATIENCE_SECONDS)

    def processes(self) -> list[psutil.Process]:
        """Everything of this demo that lives: itself, supervisors, broker, worker."""
        return [process for process in psutil.process_iter() if self._is_mine(process)]

    def worker(self) -> psutil.Process:
        """The worker itself, not the process that supervises it."""
        (worker,) = [process for process in self.processes() if process.cmdline()[2:5] == ["-m", "consumer", "run"]]
        return worker

    def assert_nothing_left(self) -> None:
        """No process, no temporary file, no port."""
        assert self.processes() == []
        assert list(self.temporary.iterdir()) == []
        for port in re.findall(r"127\.0\.0\.1:(\d+)", self.text):
            with socket.socket() as probe:
                assert probe.connect_ex(("127.0.0.1", int(port))) != 0, f"port {port} is still open"

    def _is_mine(self, process: psutil.Process) -> bool:
        try:
            return process.environ().get(MARK) == self._mark and process.status() != psutil.STATUS_ZOMBIE
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            return False


@contextmanager
def running_demo(directory: Path, *flags: str) -> Iterator[Demo]:
    """A demo that is killed, with all that belongs to it, when the block ends."""
    demo = Demo(directory, *flags)
    try:
        yield demo
    finally:
        demo.process.kill()
        demo.process.wait()
        for process in demo.processes():
            process.kill()


@pytest.mark.timeout(300)
def test_the_demo_shows_every_outcome_in_a_file_and_ends_by_itself(bundle: Path, tmp_path: Path) -> None:
    """In a file it is plain text: every outcome, the addresses, a checked summary. Its picture shows the same."""
    # When the demo runs with its output in a file, and a picture of it is asked for
    picture = tmp_path / "demo.svg"
    with running_demo(tmp_path, "--bundle", str(bundle), "--rate", "0", "--svg", str(picture)) as demo:
        assert demo.wait_exit() == 0, demo.text
        # Then each record has its line, the count is checked, and there are no control codes
        lines = demo.text.splitlines()
        assert sum(line.startswith(("pos ", "neg ")) for line in lines) == 243
        assert sum(line.startswith("dead ") for line in lines) == 14
        assert "checked: 257 in = 243 labelled + 14 dead letters" in lines
        assert re.search(r"metrics are on http://127\.0\.0\.1:\d+/metrics", demo.text)
        assert "\x1b" not in demo.text
        assert lines[-1] == "Every record has exactly one outcome: none is lost, none is doubled."
        # And the picture has the first outcomes and the end, and loads nothing from elsewhere
        drawn = ElementTree.parse(picture).iter(SVG_TEXT)  # noqa: S314 - our own file
        shown = ["".join(text.itertext()).replace("\xa0", " ") for text in drawn]
        assert any("and 241 more" in text for text in shown)
        assert "checked: 257 in = 243 labelled + 14 dead letters" in shown
        assert "url(http" not in picture.read_text("utf-8")
        # And nothing is left
        demo.assert_nothing_left()


@pytest.mark.parametrize(
    ("moment", "number"),
    [
        ("records through a real Kafka", signal.SIGINT),
        (f"Kafka {KAFKA_VERSION} is ready", signal.SIGINT),
        ("the worker is ready", signal.SIGINT),
        ("pos ", signal.SIGINT),
        ("pos ", signal.SIGTERM),
    ],
)
@pytest.mark.timeout(300)
def test_an_interrupt_at_any_moment_leaves_nothing(
    bundle: Path, tmp_path: Path, moment: str, number: signal.Signals
) -> None:
    """Ctrl-C while Kafka starts, while the worker starts, before or amid the reviews; or SIGTERM: nothing stays."""
    with running_demo(tmp_path, "--bundle", str(bundle)) as demo:
        # Given a demo that has come this far
        demo.wait_for(moment)
        # When it is interrupted, twice by an impatient user
        demo.process.send_signal(number)
        demo.process.send_signal(number)
        # Then it says so, ends with the exit code of the signal (130 for Ctrl-C), and nothing is left
        assert demo.wait_exit() == 128 + number
        assert demo.text.endswith("interrupted; nothing is left running\n")
        demo.assert_nothing_left()


@pytest.mark.timeout(300)
def test_a_killed_demo_takes_its_broker_and_worker_with_it(bundle: Path, tmp_path: Path) -> None:
    """After SIGKILL, which no process can handle, no process and no temporary file is left either."""
    with running_demo(tmp_path, "--bundle", str(bundle)) as demo:
        # Given a demo at work
        demo.wait_for("pos ")
        # When it is killed
        demo.process.kill()
        demo.process.wait()
        # Then the rest ends by itself
        wait_until(lambda: not demo.processes(), 30, "all processes ended")
        demo.assert_nothing_left()


@pytest.mark.timeout(300)
def test_a_worker_that_dies_is_reported_with_its_last_log_lines(bundle: Path, tmp_path: Path) -> None:
    """If the worker dies the demo fails with exit code 5, shows what the worker logged last, and leaves nothing."""
    with running_demo(tmp_path, "--bundle", str(bundle)) as demo:
        # Given a demo at work
        demo.wait_for("pos ")
        # When its worker is killed
        demo.worker().kill()
        # Then the demo says so
        assert demo.wait_exit() == 5
        assert "  worker: INFO ready: exactly_once from reviews" in demo.text
        assert demo.text.splitlines()[-1].startswith("review-consumer: the worker ended with exit code")
        demo.assert_nothing_left()


def test_without_a_bundle_it_says_what_to_do(tmp_path: Path) -> None:
    """A missing bundle is one line and exit code 3, before anything is started."""
    with running_demo(tmp_path, "--bundle", str(tmp_path / "absent")) as demo:
        assert demo.wait_exit() == 3
        (line,) = demo.text.splitlines()
        assert line.endswith("to student-imdb, which comes with the program")
        demo.assert_nothing_left()


def test_the_sample_can_be_sent_to_any_kafka_again_and_again(kafka: LocalBroker, tmp_path: Path) -> None:
    """With --produce-to nothing is started; the sample goes round in the Kafka named, until Ctrl-C."""
    # Given a Kafka with the input topic
    kafka.create_topics({"reviews": 4}, exist_ok=True)
    with running_demo(tmp_path, "--produce-to", kafka.bootstrap, "--rate", "0") as demo:
        # When the demo sends there, then it comes past the end of its 257 records
        wait_until(lambda: sum(end_offsets(kafka.bootstrap, "reviews").values()) > 300, PATIENCE_SECONDS, "300 records")
        demo.process.send_signal(signal.SIGINT)
        # And Ctrl-C ends it
        assert demo.wait_exit() == 130
        assert demo.processes() == []
