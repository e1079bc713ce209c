"""`review-consumer run` as a child process that never outlives this one, however this one ends."""

import contextlib
import http.client
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Self

from consumer.errors import BundleError, GaveUp, KafkaUnusable, UsageError
from consumer.local import supervise

#: Usually a few seconds; longer on a loaded machine with a cold disk.
READY_TIMEOUT_SECONDS = 180.0
#: To finish the current poll and leave the group.
STOP_TIMEOUT_SECONDS = 20.0
_POLL_SECONDS = 0.1
_ERRORS = {error.exit_code: error for error in (UsageError, BundleError, KafkaUnusable, GaveUp)}


class WorkerProcess:
    """A running worker. A context manager: started on entry, stopped gracefully on exit.

    Args:
        flags: for `review-consumer run`; `--metrics-port 0` and the log format are added.
        directory: temporary, for its log; removed even if this process is killed.
    """

    def __init__(self, flags: Sequence[str], directory: Path) -> None:
        own = ("--metrics-port", "0", "--log-format", "json")
        # -P: a directory named "consumer" in the working directory is not ours.
        command = [sys.executable, "-P", "-m", "consumer", "run", *flags, *own]
        self._command = [sys.executable, "-I", "-S", supervise.__file__, str(directory), *command]
        self._log_path = directory / "worker.log"
        self._pid = 0
        self.url = ""

    def __enter__(self) -> Self:
        # The user's own REVIEWS_* variables are meant for another Kafka.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("REVIEWS_")}
        with self._log_path.open("wb") as log:
            # Its own session: Ctrl-C reaches only this program, which then stops the worker gracefully.
            self._supervisor = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=environment,
                start_new_session=True,
            )
        if self._supervisor.stdout is not None:
            self._pid = int(self._supervisor.stdout.readline() or 0)
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        for pipe in (self._supervisor.stdin, self._supervisor.stdout):
            if pipe is not None:
                pipe.close()

    def until_ready(self) -> Iterator[str]:
        """Yield repeatedly what the worker is waiting for, until /ready returns 200.

        Raises:
            ReviewsError: it ended (the error has its exit code), or was not ready in time.
        """
        deadline = time.monotonic() + READY_TIMEOUT_SECONDS
        while because := self._not_ready_because():
            self.check()
            if time.monotonic() > deadline:
                raise GaveUp(f"the worker was not ready after {READY_TIMEOUT_SECONDS:.0f} s: {because}")
            yield because
            time.sleep(_POLL_SECONDS)

    def check(self) -> None:
        """Check that it is running.

        Raises:
            ReviewsError: it ended; the class is that of its exit code.
        """
        status = self._supervisor.poll()
        if status is not None:
            last = (self.last_lines(1) or ["its log is empty"])[0]
            raise _ERRORS.get(status, GaveUp)(f"the worker ended with exit code {status}: {last}")

    def stop(self) -> int:
        """Stop it gracefully (SIGTERM), or kill it if that takes too long; returns its exit status."""
        if self._supervisor.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGTERM)
            try:
                self._supervisor.wait(STOP_TIMEOUT_SECONDS)
            except subprocess.TimeoutExpired:
                os.killpg(self._supervisor.pid, signal.SIGKILL)
        return self._supervisor.wait()

    def last_lines(self, count: int) -> list[str]:
        """The last lines of its log, as level and message."""
        lines = self._log_path.read_text("utf-8", errors="replace").splitlines()
        return [_message(line) for line in lines[-count:]]

    def _not_ready_because(self) -> str:
        """The reason that /ready returns; "" if the worker is ready."""
        if not self.url:
            found = re.search(r"http://[\w.:]+", self._log_path.read_text("utf-8", errors="replace"))
            if not found:
                return "starting"
            self.url = found[0]
        connection = http.client.HTTPConnection(self.url.removeprefix("http://"), timeout=5)
        try:
            connection.request("GET", "/ready")
            answer = connection.getresponse()
            body = answer.read().decode(errors="replace").strip()
        except (OSError, http.client.HTTPException):
            return "starting"
        finally:
            connection.close()
        return "" if answer.status == http.client.OK else body


def _message(line: str) -> str:
    try:
        entry = json.loads(line)
        return f"{entry['level']} {entry['message']}"
    except (ValueError, TypeError, KeyError):
        return line
