"""How far histograms are from each other, and bundles with a profile, without one, or with a bad one."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon  # type: ignore[import-untyped]

from consumer.errors import BundleError
from consumer.model.bundle.loading import load_bundle
from consumer.model.bundle.manifest import PROFILE, Source
from consumer.model.bundle.profile import Answered, Feature, Histogram, Places, Profile, divergence
from tests.tiny_bundle import LABELS, seal, write_tiny_bundle

HISTOGRAM = st.lists(st.integers(0, 10_000), min_size=3, max_size=3).filter(any)


def profile(labels: tuple[str, ...] = LABELS, **changes: Any) -> Profile:
    """Ten reviews, half of them `neg`, all in English, all but one known in full."""
    limits = (0.05, 0.02)
    facts: dict[str, Any] = {
        "created": datetime(2026, 1, 1, tzinfo=UTC),
        "data": Source(file="test.xlsx", sha256="0" * 64, rows=10),
        "rows": 10,
        "sizes": (100, 1000),
        "features": {
            Feature.LABEL: Histogram(names=labels, counts=(5, 5, *[0] * (len(labels) - 1)), limits=limits),
            Feature.SCORE: Histogram(edges=(0.6, 0.9), counts=(2, 3, 5), limits=limits),
            Feature.LENGTH: Histogram(edges=(100, 500), counts=(4, 3, 3), limits=limits),
            Feature.LANGUAGE: Histogram(names=("en",), counts=(10, 0), limits=limits),
            Feature.UNKNOWN: Histogram(edges=(0, 0.5), counts=(9, 1, 0), limits=limits),
        },
    }
    return Profile.model_validate(facts | changes)


@given(HISTOGRAM, HISTOGRAM)
def test_the_divergence_is_that_of_jensen_and_shannon(ours: list[int], theirs: list[int]) -> None:
    """As SciPy computes it, the same in both directions, and between 0 and 1 bit."""
    found = float(divergence(np.array(ours), np.array(theirs)))
    assert 0 <= found <= 1
    assert found == pytest.approx(float(divergence(np.array(theirs), np.array(ours))))
    assert found == pytest.approx(jensenshannon(ours, theirs, 2) ** 2, abs=1e-9)


def test_the_divergence_of_many_windows_is_that_of_each() -> None:
    """Shares count, not counts; 1 if no bin is shared."""
    windows = np.array([[5, 5, 0], [50, 50, 0], [0, 0, 1]])
    assert divergence(windows, np.array([1, 1, 0])).tolist() == [0, 0, 1]


def test_each_value_has_its_place() -> None:
    """A value that is an edge belongs below it; a name that the profile does not know is the last one."""
    places = Places.of(profile())
    assert places.find(Answered("neg", 0.6, 100, "en", 0.0)) == (0, 0, 0, 0, 0)
    assert places.find(Answered("pos", 0.61, 101, "de", 0.5)) == (1, 1, 1, 1, 1)
    assert places.find(Answered("new", 1.0, 10**9, "new", 1.0)) == (2, 2, 2, 1, 2)


@pytest.mark.parametrize(
    ("feature", "histogram", "problem"),
    [
        (Feature.LABEL, {"names": ["neg", "pos"], "counts": [5, 5], "limits": [0.1, 0.1]}, "one count for each"),
        (Feature.LABEL, {"names": ["neg", "neg"], "counts": [5, 5, 0], "limits": [0.1, 0.1]}, "repeat"),
        (Feature.LABEL, {"edges": [1], "counts": [5, 5], "limits": [0.1, 0.1]}, "names are missing"),
        (Feature.SCORE, {"names": ["x"], "counts": [5, 5], "limits": [0.1, 0.1]}, "edges are missing"),
        (Feature.SCORE, {"edges": [0.9, 0.6], "counts": [5, 5, 0], "limits": [0.1, 0.1]}, "not in order"),
        (Feature.SCORE, {"edges": [0.9], "names": ["x"], "counts": [5, 5, 0], "limits": [0.1, 0.1]}, "either"),
        (Feature.SCORE, {"edges": [0.9], "counts": [5, 4], "limits": [0.1, 0.1]}, "do not add up"),
        (Feature.SCORE, {"edges": [0.9], "counts": [5, 5], "limits": [0.1]}, "a limit for each size"),
        (Feature.SCORE, {"edges": [0.9], "counts": [5, 5], "limits": [0.1, 0.0]}, "greater than 0"),
    ],
)
def test_a_profile_that_contradicts_itself_is_refused(
    feature: Feature, histogram: dict[str, Any], problem: str
) -> None:
    """Before a worker compares anything with it."""
    features = profile().model_dump(mode="json")["features"]
    with pytest.raises(ValueError, match=problem):
        profile(features=features | {feature.value: histogram})


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A bundle without a profile."""
    return write_tiny_bundle(tmp_path / "bundle")


def test_a_bundle_without_a_profile_loads(bundle: Path) -> None:
    """As all did before there were profiles."""
    assert load_bundle(bundle).profile is None


def test_a_profile_that_is_not_listed_is_not_read(bundle: Path) -> None:
    """Nothing vouches for it."""
    (bundle / PROFILE).write_text("no profile")
    assert load_bundle(bundle).profile is None


def test_a_listed_profile_is_loaded(bundle: Path) -> None:
    """Whatever the order of its labels."""
    written = profile(labels=LABELS[::-1])
    (bundle / PROFILE).write_text(written.model_dump_json())
    assert load_bundle(seal(bundle)).profile == written


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (lambda _: "{}", "is not valid"),
        (lambda _: profile(labels=("bad", "good")).model_dump_json(), "other labels than the model"),
        (lambda text: text.replace('"format":1', '"format":2'), "a format that this version does not know; upgrade"),
    ],
)
def test_a_bad_profile_is_refused_with_the_bundle(bundle: Path, damage: Callable[[str], str], problem: str) -> None:
    """A worker that compared with another model's profile would be wrong all the time."""
    text = profile().model_dump_json()
    (bundle / PROFILE).write_text(damage(text))
    assert damage(text) != text
    with pytest.raises(BundleError, match=problem):
        load_bundle(seal(bundle))


def test_a_changed_profile_is_refused(bundle: Path) -> None:
    """It is verified like every other file."""
    (bundle / PROFILE).write_text(profile().model_dump_json())
    seal(bundle)
    content = json.loads((bundle / PROFILE).read_text())
    content["features"]["label"]["limits"] = [0.5, 0.5]
    (bundle / PROFILE).write_text(json.dumps(content))
    with pytest.raises(BundleError, match=r"profile\.json"):
        load_bundle(bundle)
