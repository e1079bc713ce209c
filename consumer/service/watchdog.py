"""Ends the process when the loop hangs: kafka-python waits for ever in three transaction calls."""

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
        self._turned = threading.Event()
        self._closed = False
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)
        self._thread.start()

    def rearm(self) -> None:
        """The loop made a turn."""
        self._turned.set()

    def close(self) -> None:
        """Stop watching."""
        self._closed = True
        self._turned.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._closed:
            # The second wait is for a process that was frozen for longer than that: its loop needs a moment to turn.
            if not self._turned.wait(self._seconds) and not self._turned.wait(GRACE_SECONDS):
                try:
                    self._tell()
                finally:
                    os._exit(GaveUp.exit_code)
            self._turned.clear()

    def _tell(self) -> None:
        if sys.stderr is None:
            return
        # What hangs may be a line of the log, because nobody empties the pipe: rather lose lines than wait as well.
        os.set_blocking(sys.stderr.fileno(), False)
        logs.write_unlocked(
            logging.CRITICAL, f"no turn of the loop within {self._seconds:g} s; the stacks of all threads follow"
        )
        faulthandler.dump_traceback(all_threads=True)
