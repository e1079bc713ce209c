"""What the answers of a model were like on texts of its own kind; live traffic is compared with it.

    profile.json    for each feature of a labelled text a histogram, and the divergence that a window must not exceed

No text is in it, and none can be told from it. A bundle may have none: then nothing is compared.
"""

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from enum import StrEnum
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Literal, NamedTuple, Self

import numpy as np
import numpy.typing as npt
from pydantic import AwareDatetime, Field, model_validator

from consumer.errors import BundleError
from consumer.model.bundle.files import parsed, read_file
from consumer.model.bundle.manifest import PROFILE, FileSum, Part, Source

Counts = npt.NDArray[np.int64]


class Feature(StrEnum):
    """What is compared of labelled texts."""

    LABEL = "label"
    SCORE = "score"
    LENGTH = "length"  # in characters: no tokenizer and no cut has a part in it
    LANGUAGE = "language"
    UNKNOWN = "unknown"


class Answered(NamedTuple):
    """What is compared of one text, in the order of `Feature`."""

    label: str
    score: float
    length: int
    language: str
    unknown: float


class Histogram(Part):
    """How often a feature had which values: those of `names` and, last, any other; or ranges that end at `edges`.

    A value belongs to the first range whose end is not below it, the last range has no end. `limits[i]` is the largest
    Jensen-Shannon divergence, in bits, that a window of `Profile.sizes[i]` texts may have from it.
    """

    names: tuple[str, ...] = ()
    edges: tuple[float, ...] = ()
    counts: tuple[Annotated[int, Field(ge=0)], ...]
    limits: tuple[Annotated[float, Field(gt=0, le=1)], ...]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if bool(self.names) == bool(self.edges):
            raise ValueError("a histogram has either names or edges")
        if len(self.counts) != len(self.names) + len(self.edges) + 1:
            raise ValueError("a histogram needs one count for each name or edge, and one for what is left")
        if len(set(self.names)) < len(self.names) or any(low >= high for low, high in pairwise(self.edges)):
            raise ValueError("names repeat, or edges are not in order")
        return self


class Profile(Part):
    """profile.json. Measured on `rows` texts of `data`; `sizes` are those of windows, in order."""

    format: Literal[1] = 1
    created: AwareDatetime
    data: Source
    rows: int = Field(ge=1)
    sizes: tuple[Annotated[int, Field(ge=1)], ...] = Field(min_length=1)
    features: dict[Feature, Histogram]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.features.keys() != set(Feature):
            raise ValueError(f"features are {', '.join(Feature)}")
        if any(low >= high for low, high in pairwise(self.sizes)):
            raise ValueError("sizes are not in order")
        for name, histogram in self.features.items():
            if sum(histogram.counts) != self.rows or len(histogram.limits) != len(self.sizes):
                raise ValueError(f"{name}: counts do not add up to the rows, or there is not a limit for each size")
            if bool(histogram.names) != (name in NAMED):
                raise ValueError(f"{name}: {'names' if name in NAMED else 'edges'} are missing")
        return self


#: Features whose values are names; those of the others are numbers.
NAMED = (Feature.LABEL, Feature.LANGUAGE)


class Places:
    """Finds for each feature of an answer its place in the histogram of a profile."""

    def __init__(self, names: Mapping[Feature, tuple[str, ...]], edges: Mapping[Feature, tuple[float, ...]]) -> None:
        self._labels, self._languages = (
            {name: place for place, name in enumerate(names[feature])} for feature in (Feature.LABEL, Feature.LANGUAGE)
        )
        self._scores, self._lengths, self._unknown = (
            edges[feature] for feature in (Feature.SCORE, Feature.LENGTH, Feature.UNKNOWN)
        )

    @classmethod
    def of(cls, profile: Profile) -> Self:
        """Those of the histograms of `profile`."""
        histograms = profile.features.items()
        return cls({name: each.names for name, each in histograms}, {name: each.edges for name, each in histograms})

    def find(self, answered: Answered) -> tuple[int, ...]:
        """One place for each feature, in the order of `Feature`."""
        label, score, length, language, unknown = answered
        return (
            self._labels.get(label, len(self._labels)),
            bisect_left(self._scores, score),
            bisect_left(self._lengths, length),
            self._languages.get(language, len(self._languages)),
            bisect_left(self._unknown, unknown),
        )


def divergence(observed: Counts, expected: Counts) -> npt.NDArray[np.float64]:
    """Jensen-Shannon divergence of histograms, in bits: 0 if their shares are equal, 1 if they have no bin in common.

    Args:
        observed: counts of at least one text each, shape (..., bins).
        expected: the same; the leading dimensions of the two broadcast.

    Returns:
        Of each pair, shape (...).
    """
    ours = observed / observed.sum(axis=-1, keepdims=True)
    theirs = expected / expected.sum(axis=-1, keepdims=True)
    mean = (ours + theirs) / 2
    bits: npt.NDArray[np.float64] = (_bits(ours, mean) + _bits(theirs, mean)) / 2
    return np.clip(bits, 0.0, 1.0)


def _bits(shares: npt.NDArray[np.float64], mean: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Kullback-Leibler divergence of `shares` from `mean`; an empty bin adds nothing."""
    ratio = np.divide(shares, mean, out=np.ones_like(mean), where=shares > 0)
    bits: npt.NDArray[np.float64] = np.sum(shares * np.log2(ratio), axis=-1)
    return bits


def read_profile(path: Path, files: Mapping[str, FileSum], labels: Iterable[str]) -> Profile | None:
    """The profile of the bundle at `path`, whose model answers with `labels`; None if it has none.

    Raises:
        BundleError: it cannot be read, or is that of another model.
    """
    if PROFILE not in files:
        return None
    profile = parsed(path / PROFILE, Profile, read_file(path, PROFILE, files[PROFILE]))
    if set(profile.features[Feature.LABEL].names) != set(labels):
        raise BundleError(
            f"{path / PROFILE} has other labels than the model; make another one with review-training profile"
        )
    return profile
