"""Labelled reviews on their way through the worker's own comparison with a profile, and what it says of them."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from typing import NamedTuple

from prometheus_client import Gauge

from consumer.model.bundle.profile import Answered, Feature, Profile
from consumer.model.labeller import Labeller, Scored
from consumer.model.texts.language import language_of
from consumer.records.outcomes import Outcome
from consumer.records.outgoing import Outgoing
from consumer.records.record import Record
from consumer.service.drift import Drift
from consumer.service.table import MetricTable

_NO_RECORD = Record("reviews", 0, 0, 0, None, b"")
_NOTHING = Outgoing("labels", 0, None, b"", [])

#: Reviews between two looks at the gauges.
STEP = 10

#: Reviews labelled at once.
_POLL = 256


class Look(NamedTuple):
    """The gauges after so many reviews; features that have no series yet are missing."""

    reviews: int
    drift: Mapping[Feature, float]
    limits: Mapping[Feature, float]

    @property
    def loud(self) -> set[Feature]:
        """Features that the alert would name."""
        return {feature for feature, found in self.drift.items() if found > self.limits[feature]}


def outcome(answered: Answered) -> Outcome:
    """The outcome of a review that got this answer."""
    label, score, length, language, unknown = answered
    return Outcome(_NO_RECORD, _NOTHING, Scored(label, score, {}, 1, False, None, unknown), length, language)


def looks(profile: Profile, window: int, reviews: Sequence[Answered]) -> Iterator[Look]:
    """What the gauges of a worker show while it labels `reviews`, every `STEP` of them, a second apart."""
    table = MetricTable()
    drift = Drift(table.drift, table.drift_limit, table.drift_window, clock=count().__next__)
    drift.restart(profile, window)
    for start in range(0, len(reviews), STEP):
        some = reviews[start : start + STEP]
        drift.note(map(outcome, some))
        yield Look(start + len(some), by_feature(table.drift), by_feature(table.drift_limit))


def by_feature(gauge: Gauge) -> dict[Feature, float]:
    """The series of a gauge of features."""
    return {
        Feature(sample.labels["feature"]): sample.value for (family,) in [gauge.collect()] for sample in family.samples
    }


def loud_after(profile: Profile, window: int, usual: Sequence[Answered], new: Sequence[Answered]) -> dict[Feature, int]:
    """For each feature that becomes loud, after how many of the `new` reviews that follow `usual` ones it does."""
    found: dict[Feature, int] = {}
    for look in looks(profile, window, [*usual, *new]):
        if look.reviews > len(usual):
            new_ones = (feature for feature in Feature if feature in look.loud and feature not in found)
            found |= dict.fromkeys(new_ones, look.reviews - len(usual))
    return found


def answers(labeller: Labeller, texts: Sequence[str]) -> list[Answered]:
    """What the model says of `texts`, as it is compared."""
    found = []
    for start in range(0, len(texts), _POLL):
        some = texts[start : start + _POLL]
        for text, result in zip(some, labeller.classify(some).results, strict=True):
            assert isinstance(result, Scored)
            found.append(Answered(result.label, result.score, len(text), language_of(text), result.unknown))
    return found
