"""The bundles in the repository answer as they did when they were made, and are what the README says they are."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from consumer.errors import BundleError
from consumer.model.bundle.embedded import DEFAULT
from consumer.model.bundle.loading import load_bundle
from consumer.model.cascade.bundle import CascadeBundle, load, models
from consumer.model.classifier import Classifier
from consumer.model.engines import open_engine
from consumer.model.opening import open_labeller
from consumer.settings import WorkerSettings

BUNDLES = Path(__file__).parents[2] / "bundles"
#: Least accuracy on the test file; most parameters, and bytes of all files.
PROMISED = {"distilbert-imdb": (0.928, 66_000_000, 70_000_000), "student-imdb": (0.922, 10_000_000, 12_000_000)}


#: Most points that a cascade loses against its last member on the rows that chose nothing.
MOST_LOST = {"cascade-imdb": 0.2}


def test_every_bundle_is_known() -> None:
    """A new one gets its promise above."""
    found = {path.name for path in BUNDLES.iterdir() if (path / "manifest.json").is_file()}
    assert found == PROMISED.keys() | MOST_LOST.keys()


@pytest.mark.parametrize("name", MOST_LOST)
def test_a_shipped_cascade_is_what_is_promised(name: str) -> None:
    """It refers to shipped bundles, adds kilobytes, gives its golden answers, and loses as little as said."""
    bundle = load(BUNDLES / name)
    assert isinstance(bundle, CascadeBundle)
    labeller = open_labeller(bundle)
    labeller.self_check()
    labeller.close()
    manifest = bundle.manifest
    assert [member.path for member in manifest.members] == ["../student-imdb", "../distilbert-imdb"]
    assert {model.path.name for model in models(bundle)} == PROMISED.keys()
    assert manifest.measured is not None
    assert manifest.measured.rows > 9_900
    assert manifest.measured.lost <= MOST_LOST[name]
    record = json.loads((bundle.path / "run.json").read_text())
    assert record["lost"]["on_all_rows"]["rows"] == 20_000
    assert record["lost"]["on_all_rows"]["points"] <= MOST_LOST[name]
    assert sum(file.stat().st_size for file in bundle.path.rglob("*")) <= 150_000
    assert {"MODEL_CARD.md", "cascade.png", "run.json"} <= manifest.files.keys()


def test_what_is_shipped_is_what_is_served_by_default() -> None:
    """By the worker, by the demo and in the image."""
    default = WorkerSettings.model_fields["bundle"].default
    assert default == DEFAULT == Path("bundles/cascade-imdb")
    assert f"ARG BUNDLE={default}\n" in (BUNDLES.parent / "deploy/docker/Dockerfile").read_text()


@pytest.mark.parametrize("name", PROMISED)
def test_a_shipped_bundle_is_what_is_promised(name: str) -> None:
    """Whole, with its golden answers, as accurate on all test rows and as small as said."""
    bundle = load_bundle(BUNDLES / name)
    manifest = bundle.manifest
    classifier = Classifier(bundle, open_engine(bundle))
    classifier.self_check()
    classifier.close()
    accuracy, parameters, size = PROMISED[name]
    measured = manifest.variants[manifest.served].accuracy
    assert measured is not None
    assert (manifest.name, measured.rows) == (name, 20_000)
    assert measured.accuracy >= accuracy
    assert manifest.parameters <= parameters
    assert sum(file.stat().st_size for file in bundle.path.rglob("*") if file.is_file()) <= size
    assert {"MODEL_CARD.md", "run.json"} <= manifest.files.keys()


def test_the_golden_texts_tell_by_which_rules_they_are_cleaned() -> None:
    """A shipped bundle that is served by the rules of another format fails its self-check."""
    bundle = load_bundle(BUNDLES / "student-imdb")
    assert bundle.manifest.format == 2
    older = replace(bundle, manifest=bundle.manifest.model_copy(update={"format": 1}))
    classifier = Classifier(older, open_engine(older))
    with pytest.raises(BundleError, match="golden text"):
        classifier.self_check()
    classifier.close()


@pytest.mark.parametrize("name", [*PROMISED, *MOST_LOST])
def test_a_shipped_bundle_has_a_profile(name: str) -> None:
    """Of half of the rows that measured it, none of which trained it."""
    bundle = load(BUNDLES / name)
    assert bundle.profile is not None
    assert bundle.profile.rows == 10_000
    assert bundle.profile.data.sha256 == bundle.manifest.training_data[-1].sha256


def test_the_pages_of_a_shipped_cascade_name_its_members() -> None:
    """By the digests that they have now."""
    for name in MOST_LOST:
        members = [model.digest for model in models(load(BUNDLES / name))]
        assert len(set(members)) == 2
        for page in ("MODEL_CARD.md", "run.json"):
            assert all(digest in (BUNDLES / name / page).read_text() for digest in members)
