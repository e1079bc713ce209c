"""`review-training profile`: what is usual for a bundle, put into it without a change to anything else."""

import hashlib
import json
import random
from pathlib import Path

import numpy as np
import pytest

from consumer.model.bundle.loading import Bundle, load_bundle
from consumer.model.bundle.manifest import PROFILE, Source
from consumer.model.bundle.profile import Answered, Feature, Places, divergence
from consumer.model.cascade.bundle import CascadeBundle, load
from tests.tiny_bundle import WORTH, write_tiny_bundle
from tests.tiny_cascade import SCALES, write_tiny_cascade
from tests.training.test_calibrate import calibrated, refusal, write_overconfident
from training.cli import main
from training.measure import profile as measuring
from training.measure.profile import LEAST_LIMIT, LEAST_ROWS, SIZES, as_text, profile_of
from training.packaging import profile as packaging

pytestmark = pytest.mark.training

DATA = Source(file="test.xlsx", sha256="0" * 64, rows=0)


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """600 texts without labels, a line each, with words that the tiny bundles know and one that they do not."""
    draw = random.Random(7)
    lines = [" ".join(draw.choices([*WORTH, "soup"], k=draw.randint(1, 8))) for _ in range(600)]
    path = tmp_path_factory.mktemp("texts") / "texts.txt"
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture(autouse=True)
def few_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limits are rough, and found in a moment."""
    monkeypatch.setattr(measuring, "DRAWN", 500)


def profiled(bundle: Path, data: Path, *options: str) -> int:
    """Exit code of the command."""
    return main(["profile", "--bundle", str(bundle), "--data", str(data), *options])


def sums(bundle: Path) -> dict[str, str]:
    """SHA-256 of every file of the bundle."""
    return {
        path.relative_to(bundle).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in bundle.rglob("*")
        if path.is_file()
    }


def test_a_bundle_gets_a_profile_and_nothing_else_changes(
    tmp_path: Path, texts: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Texts need no labels. Weights, tokenizer and golden answers stay byte for byte, the digest pins the profile."""
    bundle = write_tiny_bundle(tmp_path / "bundle")
    before, files = load_bundle(bundle), sums(bundle)
    assert profiled(bundle, texts) == 0
    after = load_bundle(bundle)
    assert {name for name, each in sums(bundle).items() if files.get(name) != each} == {PROFILE, "manifest.json"}
    assert after.manifest.model_dump(exclude={"files"}) == before.manifest.model_dump(exclude={"files"})
    assert after.digest != before.digest
    found = after.profile
    assert found is not None
    assert (found.rows, found.data.rows, found.data.file) == (600, 600, "texts.txt")
    assert found.data.sha256 == hashlib.sha256(texts.read_bytes()).hexdigest()
    assert found.features[Feature.UNKNOWN].counts[0] < 600
    assert capsys.readouterr().out.startswith("tiny: 600 texts of texts.txt\n  label     neg ")
    assert not any(word in (bundle / PROFILE).read_text() for word in (*WORTH, "soup"))


def test_a_profile_is_replaced(tmp_path: Path, texts: Path) -> None:
    """By one of other texts; --limit draws them."""
    bundle = write_tiny_bundle(tmp_path / "bundle")
    assert profiled(bundle, texts) == profiled(bundle, texts, "--limit", "500") == 0
    found = load_bundle(bundle).profile
    assert found is not None
    assert found.rows == 500


def test_too_few_texts_are_refused(tmp_path: Path, texts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And the bundle stays as it is."""
    bundle = write_tiny_bundle(tmp_path / "bundle")
    files = sums(bundle)
    line = refusal(capsys, profiled(bundle, texts, "--limit", "499"))
    assert line.endswith("texts.txt has 499 usable texts; a profile needs at least 500")
    assert sums(bundle) == files


def test_a_single_model_has_no_members(tmp_path: Path, texts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is said, and nothing is done."""
    bundle = write_tiny_bundle(tmp_path / "bundle")
    assert "is no cascade" in refusal(capsys, profiled(bundle, texts, "--members"))


def test_a_member_is_not_profiled_alone(tmp_path: Path, texts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its cascade would refuse it with another digest; the message says how to profile both."""
    cascade = write_tiny_cascade(tmp_path / "cascade")
    files = sums(tmp_path)
    line = refusal(capsys, profiled(tmp_path / "quick", texts))
    assert f"is a member of the cascade {cascade}, which would refuse it" in line
    assert f"--bundle {cascade} --members" in line
    assert sums(tmp_path) == files


@pytest.mark.parametrize("members", [False, True])
def test_a_cascade_gets_a_profile(tmp_path: Path, texts: Path, members: bool) -> None:
    """With --members each of them gets its own, and the cascade knows them by their new digests, as do its pages."""
    cascade = write_tiny_cascade(tmp_path / "cascade")
    old = [each.digest for each in _members(cascade)]
    (cascade / "MODEL_CARD.md").write_text(f"digests {' '.join(old)}")
    (cascade / "run.json").write_text(json.dumps(old))
    manifest = json.loads((cascade / "manifest.json").read_text())
    for name in ("MODEL_CARD.md", "run.json"):
        content = (cascade / name).read_bytes()
        manifest["files"][name] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    (cascade / "manifest.json").write_text(json.dumps(manifest))
    assert profiled(cascade, texts, *(["--members"] if members else [])) == 0
    loaded = load(cascade)
    assert isinstance(loaded, CascadeBundle)
    assert loaded.profile is not None
    assert [each.profile is not None for each in loaded.members] == [members] * len(SCALES)
    new = [each.digest for each in loaded.members]
    assert (set(new) & set(old) == set()) == members
    assert (cascade / "MODEL_CARD.md").read_text() == f"digests {' '.join(new)}"
    assert json.loads((cascade / "run.json").read_text()) == new
    assert [each.digest for each in loaded.manifest.members] == new


def _members(cascade: Path) -> tuple[Bundle, ...]:
    loaded = load(cascade)
    assert isinstance(loaded, CascadeBundle)
    return loaded.members


def test_a_killed_command_leaves_the_bundle(tmp_path: Path, texts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Until all drafts are whole, none takes the place of anything."""
    cascade = write_tiny_cascade(tmp_path / "cascade")
    files = sums(tmp_path)
    sealed = packaging._seal

    def killed(draft: Path, *arguments: object) -> str:
        if "cascade" in draft.name:
            raise KeyboardInterrupt
        return sealed(draft, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(packaging, "_seal", killed)
    assert profiled(cascade, texts, "--members") == 130
    assert sums(tmp_path) == files


def test_the_profile_of_a_calibrated_copy_has_the_new_probabilities(tmp_path: Path, texts: Path) -> None:
    """The scores of the old one would be far from those that the worker sees."""
    bundle = write_tiny_bundle(tmp_path / "bundle")
    assert profiled(bundle, texts) == 0
    data = write_overconfident(tmp_path / "new.xlsx", rows=LEAST_ROWS)
    assert calibrated(bundle, data, tmp_path / "copy") == 0
    before, after = load_bundle(bundle).profile, load_bundle(tmp_path / "copy").profile
    assert before is not None
    assert after is not None
    assert after.data.file == "new.xlsx"
    sure = [sum(each.features[Feature.SCORE].counts[-4:]) / each.rows for each in (before, after)]
    assert sure[1] < 0.8 * sure[0]
    few = write_overconfident(tmp_path / "few.xlsx", rows=300)
    assert calibrated(bundle, few, tmp_path / "other") == 0
    assert load_bundle(tmp_path / "other").profile is None


def test_limits_are_what_chance_does_not_exceed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows of the same texts stay below, in each feature, however small the profile is. Large ones get less room."""
    monkeypatch.setattr(measuring, "DRAWN", 5_000)
    draw = np.random.default_rng(1)
    kind = [
        Answered(draw.choice(["neg", "pos"], p=[0.7, 0.3]), draw.beta(8, 2), int(draw.gamma(2, 500)), language, 0.0)
        for language in draw.choice(["en", "es", "fr"], 20_000, p=[0.9, 0.07, 0.03])
    ]
    found = profile_of(kind[:LEAST_ROWS], ("neg", "pos"), DATA)
    finder = Places.of(found)
    places = np.array([finder.find(each) for each in kind])
    for column, feature in enumerate(Feature):
        histogram = found.features[feature]
        assert list(histogram.limits) == sorted(histogram.limits, reverse=True)
        assert min(histogram.limits) >= LEAST_LIMIT
        for size, limit in zip(SIZES[:4], histogram.limits, strict=False):
            windows = places[draw.permutation(len(places))[: 19_000 // size * size], column].reshape(-1, size)
            counts = np.array([np.bincount(each, minlength=len(histogram.counts)) for each in windows])
            assert len(counts) >= 19
            assert divergence(counts, np.array(histogram.counts)).max() < limit
    assert found.features[Feature.LENGTH].limits[0] > 2 * LEAST_LIMIT
    assert "label     neg 7" in as_text("m", found)


def test_a_profile_is_the_same_each_time() -> None:
    """The same answers, the same limits; only the time differs."""
    kind = [Answered("neg", 0.7, length, "en", 0.0) for length in range(LEAST_ROWS)]
    first, second = (profile_of(kind, ("neg", "pos"), DATA).model_dump(exclude={"created"}) for _ in range(2))
    assert first == second


def test_texts_of_one_length_have_a_profile() -> None:
    """Deciles that are all the same are one edge."""
    found = profile_of([Answered("neg", 0.7, 20, "en", 0.0)] * LEAST_ROWS, ("neg", "pos"), DATA)
    assert found.features[Feature.LENGTH].edges == (20,)
    assert found.features[Feature.LENGTH].counts == (LEAST_ROWS, 0)


def test_what_came_with_the_program_is_not_changed(
    tmp_path: Path, texts: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A name that leads to the bundle in the wheel: copy it first."""
    bundle = write_tiny_bundle(tmp_path / "bundle")
    monkeypatch.setattr("consumer.model.bundle.files.located", lambda path: bundle if path == Path("student") else path)
    monkeypatch.chdir(texts.parent)
    assert "copy" in refusal(capsys, profiled(Path("student"), texts))
    assert not (bundle / PROFILE).exists()
