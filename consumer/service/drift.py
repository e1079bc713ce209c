"""Whether the reviews of late are like those that the model was measured on: a window of counts, and no text."""

import logging
import time
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterable

import numpy as np
from prometheus_client import Gauge

from consumer.model.bundle.profile import Answered, Feature, Places, Profile, divergence
from consumer.model.labeller import Scored
from consumer.records.outcomes import Outcome

log = logging.getLogger(__name__)

#: Seconds between two comparisons.
COMPARED_EVERY_SECONDS = 1.0


class Drift:
    """Compares the last labelled reviews with a profile. For use by one thread.

    Args:
        divergences: set for each feature, once the window holds enough reviews to say something.
        limits: set with them: what a window of this size may diverge by. A window that is still filling may do so more.
        reviews: set to the reviews in the window.
        clock: seconds, monotonic.
    """

    def __init__(
        self, divergences: Gauge, limits: Gauge, reviews: Gauge, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._divergences, self._limits, self._reviews = divergences, limits, reviews
        self._clock = clock
        self._profile: Profile | None = None
        self._places: Places
        self._window: deque[tuple[int, ...]] = deque()
        self._size = 0
        self._counts: list[list[int]] = []
        self._compared = clock() - COMPARED_EVERY_SECONDS
        self._is_new = False

    def restart(self, profile: Profile | None, size: int) -> None:
        """Compare the reviews that are labelled from now on; call it between two polls, whenever the model changes.

        Args:
            profile: of the model that is served; None: it has none, and nothing is compared.
            size: reviews of a full window; 0: nothing is compared.
        """
        self._profile = profile if size else None
        self._window.clear()
        self._size = size
        self._divergences.clear()
        self._limits.clear()
        self._reviews.set(0)
        if not size:
            log.info("drift is not watched: drift_window is 0")
        elif profile is None:
            log.info("drift is not watched: the bundle has no profile; review-training profile adds one")
        else:
            self._places = Places.of(profile)
            self._counts = [[0] * len(profile.features[feature].counts) for feature in Feature]
            log.info(
                "drift: the last %s reviews are compared with a profile of %s reviews of %s",
                size,
                profile.rows,
                profile.data.file,
            )

    def note(self, outcomes: Iterable[Outcome]) -> None:
        """These were committed: let the predictions among them take the place of the oldest ones."""
        if self._profile is None:
            return
        for outcome in outcomes:
            if isinstance(result := outcome.result, Scored):
                answered = Answered(result.label, result.score, outcome.characters, outcome.language, result.unknown)
                self._add(self._places.find(answered))
        self._reviews.set(len(self._window))
        self._is_new = True
        self.compare_if_due()

    def compare_if_due(self) -> None:
        """Compare what is new, if the last time is long enough ago; call it now and then while nothing arrives."""
        if self._profile and self._is_new and (now := self._clock()) - self._compared >= COMPARED_EVERY_SECONDS:
            self._compared, self._is_new = now, False
            self._compare(self._profile)

    def _add(self, places: tuple[int, ...]) -> None:
        if len(self._window) == self._size:
            for counts, place in zip(self._counts, self._window.popleft(), strict=True):
                counts[place] -= 1
        self._window.append(places)
        for counts, place in zip(self._counts, places, strict=True):
            counts[place] += 1

    def _compare(self, profile: Profile) -> None:
        """Set the gauges; a window that is too small for the smallest limit says nothing."""
        limit = bisect_right(profile.sizes, len(self._window)) - 1
        if limit < 0:
            return
        for feature, counts in zip(Feature, self._counts, strict=True):
            histogram = profile.features[feature]
            found = divergence(np.array(counts), np.array(histogram.counts))
            self._divergences.labels(feature.value).set(float(found))
            self._limits.labels(feature.value).set(histogram.limits[limit])
