"""The worker as its users run it: a process of its own, told by flags, watched through its port and its log."""

import json
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self

from prometheus_client.parser import text_string_to_metric_families


def wait_until(condition: Callable[[], object], timeout_s: float, what: str, every_s: float = 0.05) -> None:
    """Ask `condition` every so often until it is true; an AssertionError names what did not happen in `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {timeout_s:g} s"
        time.sleep(every_s)


class WorkerProcess:
    """`review-consumer run` with `flags`, its log in `log`. Killed when the `with` block ends.

    `command` is what comes before `run`, so that tests can start a worker with a fake classifier the same way.
    """

    def __init__(
        self,
        flags: Sequence[str],
        log: Path,
        command: Sequence[str] = (sys.executable, "-m", "consumer"),
        environment: dict[str, str] | None = None,
    ) -> None:
        self._log = log
        with log.open("ab") as sink:
            self.process = subprocess.Popen(
                [*command, "run", "--metrics-port", "0", "--log-format", "json", *flags],
                stderr=sink,
                stdout=sink,
                stdin=subprocess.DEVNULL,
                env=environment,
            )

    @property
    def log(self) -> str:
        """Everything that it wrote so far."""
        return self._log.read_text(errors="replace")

    @property
    def last_line(self) -> str:
        """The last line that it wrote."""
        return (self.log.strip().splitlines() or [""])[-1]

    @property
    def url(self) -> str | None:
        """Address of its port, once it listens."""
        found = re.search(r"on (http://[0-9.]+:\d+)", self.log)
        return found[1] if found else None

    def get(self, path: str) -> tuple[int, str]:
        """Status and body of a GET; status 0 while nothing listens."""
        if self.url is None:
            return 0, ""
        try:
            with urllib.request.urlopen(self.url + path, timeout=10) as answer:  # noqa: S310 - our own address
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def metric(self, name: str, **labels: str) -> float:
        """Sum of the samples called `name` that bear `labels`; 0 for none."""
        return sum(
            sample.value
            for family in text_string_to_metric_families(self.get("/metrics")[1])
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    def wait_ready(self, timeout_s: float = 90) -> Self:
        """Wait for /ready; fails at once if the process ended."""

        def ready() -> bool:
            assert self.process.poll() is None, f"the worker ended with {self.process.returncode}:\n{self.log}"
            return self.get("/ready")[0] == 200

        wait_until(ready, timeout_s, "ready")
        return self

    def wait_exit(self, timeout_s: float = 90) -> int:
        """Exit code, once it has ended by itself."""
        try:
            return self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {timeout_s:g} s:\n{self.log}") from None

    def stop(self, number: int = signal.SIGTERM, timeout_s: float = 60) -> int:
        """Send a signal and wait for the end."""
        self.process.send_signal(number)
        return self.wait_exit(timeout_s)

    def messages(self) -> list[str]:
        """The `message` of each JSON line of its log."""
        lines = (line for line in self.log.splitlines() if line.startswith("{"))
        return [json.loads(line)["message"] for line in lines]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
