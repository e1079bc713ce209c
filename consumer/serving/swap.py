"""Replaces the model of a running worker: prepared beside the old one, in a thread; switched between two polls.

    look      every few seconds, or on a signal: does another bundle stand at the path?
    prepare   checksums ▸ labels ▸ room in memory ▸ golden texts and warm-up ▸ canary texts
    switch    by the loop, between two polls: labeller, results, cache, metrics

Whatever is wrong with a bundle, the old one goes on serving. At most two are in memory: the next one is not opened
before this one is switched to and the old one is freed, or this one is given up because the path holds yet another.
"""

import logging
import math
import threading
import time
from collections.abc import Callable
from queue import Empty, SimpleQueue

from consumer.model.labeller import Labeller
from consumer.records.messages import Model
from consumer.service.metrics import Metrics
from consumer.service.table import SwapEnd
from consumer.serving.canary import differing
from consumer.serving.place import Fingerprint, fingerprint
from consumer.serving.preparation import ClosedError, Preparation, RefusedError
from consumer.serving.served import Opener, Served
from consumer.settings import WorkerSettings
from consumer.settings.worker import Reload

log = logging.getLogger(__name__)

#: Between two looks at the path. A bundle is read when two looks have found the same, so not while it is being copied.
WATCH_SECONDS = 2.0
#: Reasons that may pass without a change of the manifest: a file was still being copied, or memory was short.
MAY_PASS = (SwapEnd.INVALID, SwapEnd.MEMORY)
#: Such a bundle is tried again after this time, then after twice as long each time.
RETRY_SECONDS = 30.0
MOST_RETRY_SECONDS = 600.0


class Swap:
    """Holds the model that is served. Opens the first one at once.

    Args:
        settings: the path, and what may take its place.
        opener: opens bundles.
        threads: of inference.
        metrics: report the model, and what became of others.

    Raises:
        BundleError: the first bundle must not serve.
    """

    def __init__(self, settings: WorkerSettings, opener: Opener, threads: int, metrics: Metrics) -> None:
        self._settings = settings
        self._metrics = metrics
        self._judged: Fingerprint | None = fingerprint(settings.bundle)  # before it is read: no change is missed
        self._found: Fingerprint | None = self._judged
        self._retry_at, self._retry_seconds = math.inf, RETRY_SECONDS
        self._last_warning = ""
        #: Wakes the thread; whether it was asked to look. It can be written in a signal handler.
        self._asked: SimpleQueue[bool] = SimpleQueue()
        self._is_closed = threading.Event()
        self._lock = threading.Lock()
        self._next: Served | None = None
        self._before: Served | None = None
        self._preparation = Preparation(settings, opener, threads, self._is_closed.is_set)
        self._served = self._preparation.first()
        self._report()
        log.info("model %s is ready, digest %s", self._served.title, self._served.model.digest[:12])
        self._thread = threading.Thread(target=self._watch, name="bundle", daemon=True)

    @property
    def served(self) -> Served:
        """What is served now."""
        return self._served

    def start(self) -> None:
        """Look for another bundle from now on, as the settings say."""
        self._thread.start()

    def ask(self) -> None:
        """Look at once. For signal handlers."""
        self._asked.put(True)

    def between_polls(self, serve: Callable[[Labeller, Model], None]) -> None:
        """Switch to another model if one is ready. Called by the loop's thread, the only one that uses the served one.

        Args:
            serve: makes the loop label with it.
        """
        if self._next is None:  # at nearly every turn
            return
        with self._lock:
            if (served := self._next) is None:  # given up at this moment
                return
            before, self._served = self._served, served
            serve(served.labeller, served.model)
            self._report()
            self._metrics.note_swap(SwapEnd.SWITCHED)
            self._next, self._before = None, before
            self._asked.put(False)
        log.info("%s", _moment(before, served))

    def close(self) -> None:
        """Free the models. A step of the preparation that has begun is waited for, for the engine must not be cut."""
        self._is_closed.set()
        self.ask()
        if self._thread.is_alive():
            self._thread.join(self._settings.stop_timeout_seconds)
        self._withdraw()
        self._free_the_one_before()
        self._served.labeller.close()

    def look(self, asked: bool = False) -> None:
        """Look at the path, and prepare what is there if it is new, or if it was refused some time ago.

        Args:
            asked: whether to take it even if it was refused, or may still be changing.
        """
        self._free_the_one_before()
        found = fingerprint(self._settings.bundle)
        is_settled, self._found = asked or found == self._found, found
        is_known = found == self._judged
        if self._next is not None:
            if is_known:
                return
            if self._withdraw():
                self._metrics.note_swap(SwapEnd.REPLACED)
                self._judged = None
                is_known = False
        is_due = asked or not is_known or time.monotonic() >= self._retry_at
        if is_due and is_settled:
            self._judge(found, is_known)

    def _watch(self) -> None:
        while True:
            is_at_it = self._next is not None or self._judged is None
            looks = is_at_it or self._settings.reload_bundle is Reload.WATCH
            try:
                asked, looks = self._asked.get(timeout=WATCH_SECONDS if looks else None), False
            except Empty:
                asked = False
            if self._is_closed.is_set():
                return
            if not asked and not looks:
                self._free_the_one_before()
            elif self._settings.reload_bundle is Reload.OFF:
                log.warning("SIGUSR2 is ignored, because reload_bundle is off; restart the worker for another bundle")
            else:
                self.look(asked)

    def _judge(self, found: Fingerprint, is_known: bool) -> None:
        self._judged, self._retry_at = found, math.inf
        if not is_known:
            self._retry_seconds = RETRY_SECONDS
        try:
            served = self._preparation.next(self._served)
        except ClosedError:
            return
        except RefusedError as refusal:
            if fingerprint(self._settings.bundle) == found:
                self._refuse(refusal.end, str(refusal))
            else:  # it was replaced while it was read: the next look takes what is there now
                self._judged = None
            return
        if served is None:
            self._accept()
        elif fingerprint(self._settings.bundle) == found:
            self._accept()
            self._next = served
        else:
            served.labeller.close()
            self._metrics.note_swap(SwapEnd.REPLACED)
            self._judged = None

    def _refuse(self, end: SwapEnd, why: str) -> None:
        if end in MAY_PASS:
            self._retry_at = time.monotonic() + self._retry_seconds
            self._retry_seconds = min(2 * self._retry_seconds, MOST_RETRY_SECONDS)
        self._metrics.note_swap(end)
        self._metrics.bundle_refused.set(1)
        warning = f"the bundle at {self._settings.bundle} is refused, and {self._served.title} stays: {why}"
        if warning != self._last_warning:
            log.warning(warning)
        self._last_warning = warning

    def _accept(self) -> None:
        self._metrics.bundle_refused.set(0)
        self._last_warning = ""

    def _free_the_one_before(self) -> None:
        """Here, because it takes a few tenths of a second with a large model; the loop uses it no longer."""
        with self._lock:
            before, self._before = self._before, None
        if before is not None:
            before.labeller.close()

    def _withdraw(self) -> bool:
        """Give up what is ready, unless the loop has taken it; whether that was so."""
        with self._lock:
            served, self._next = self._next, None
        if served is None:
            return False
        served.labeller.close()
        return True

    def _report(self) -> None:
        served = self._served
        self._metrics.note_model(served.model, served.labeller.labels, served.cascade)
        self._metrics.note_profile(served.profile, self._settings.drift_window)


def _moment(before: Served, served: Served) -> str:
    """The log line of a switch."""
    line = (
        f"model {served.title}, digest {served.model.digest[:12]}, takes the place of {before.title}, digest "
        f"{before.model.digest[:12]}"
    )
    if not served.answers:
        return line
    differ = differing(before.answers, served.answers)
    return f"{line}; it labels {differ} of {len(served.answers)} canary texts differently"
