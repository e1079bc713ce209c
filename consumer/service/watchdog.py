"""Ends the process when the loop hangs: three transaction calls of kafka-python wait without a limit."""

import faulthandler
import logging
import os
import sys
import threading

from consumer.errors import GaveUp
from consumer.service import logs

GRACE_SECONDS = 2.0


class Watchdog:
    """Dumps all stacks and exits with `GaveUp.exit_code` unless `rearm` is called within `seconds`.

    A thread rather than `faulthandler.dump_traceback_later(exit=True)`, whose exit code is always 1.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._progress = threading.Event()
        self._closed = False
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)
        self._thread.start()

    def rearm(self) -> None:
        """Note that the loop made progress."""
        self._progress.set()

    def close(self) -> None:
        """Stop watching."""
        self._closed = True
        self._progress.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._closed:
            # The second wait is for a process that was suspended for longer: its loop needs a moment to make progress.
            if not self._progress.wait(self._seconds) and not self._progress.wait(GRACE_SECONDS):
                try:
                    self._report()
                finally:
                    os._exit(GaveUp.exit_code)
            self._progress.clear()

    def _report(self) -> None:
        if sys.stderr is None:
            return
        # The loop may hang in a log line, because the pipe is full: lose lines rather than wait for it as well.
        os.set_blocking(sys.stderr.fileno(), False)
        logs.write_unlocked(
            logging.CRITICAL,
            f"no progress within {self._seconds:g} s (watchdog_seconds); the stacks of all threads follow",
        )
        faulthandler.dump_traceback(all_threads=True)
