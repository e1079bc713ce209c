"""A bundle becomes a base again, with its weights, its tokenizer and the list of its training files."""

import errno
import json
from pathlib import Path

import numpy as np
import pytest

import training.restore
from consumer.errors import BundleError, GaveUp, UsageError
from consumer.model.bundle.loading import load_bundle
from tests.tiny_trained import write_trained_bundle
from training.cli import main
from training.data.prepare import learnt_from
from training.encoders.base import find_base, load_classifier
from training.encoders.graph import Weights, weights_of

pytestmark = pytest.mark.training

STUDENT = Path("bundles/student-imdb")


@pytest.fixture(scope="module")
def restored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped student, restored."""
    out = tmp_path_factory.mktemp("restored") / "base"
    assert main(["restore", str(STUDENT), "--out", str(out)]) == 0
    return out


def test_the_base_keeps_head_and_tokenizer(restored: Path) -> None:
    """`fit` and `distil` start from the classifier of the bundle, not from a new head, and cut texts as it does."""
    bundle = load_bundle(STUDENT)
    base = find_base(str(restored))
    assert base.tokenizer_json == bundle.tokenizer_json
    first, second = (load_classifier(base, bundle.manifest.labels, seed).classifier.weight for seed in (1, 2))
    assert first.equal(second)
    assert json.loads((restored / "run.json").read_bytes())["golden_difference"] < training.restore.TOLERANCE


def test_the_base_says_what_it_has_learnt_from(restored: Path) -> None:
    """A successor is not measured on rows that the bundle was trained on."""
    told = learnt_from(restored)
    assert told.sources == load_bundle(STUDENT).manifest.learnt_from
    assert len(told.sources) == 2  # train.xlsx and unlabeled.parquet


def test_refusals(restored: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What cannot be restored, or would be overwritten, is said in one line, and nothing is written."""
    out = tmp_path / "restored"
    torch = write_trained_bundle(tmp_path / "torch")
    for bundle, to, error, words in (
        (STUDENT, restored, UsageError, "exists: name a new directory"),
        (torch, out, UsageError, "give the bundle itself as --base"),
        (Path("bundles/cascade-imdb"), out, BundleError, "name one of its members"),
        (tmp_path / "nothing", out, BundleError, "is not a directory"),
    ):
        assert main(["restore", str(bundle), "--out", str(to)]) == error.exit_code
        assert words in capsys.readouterr().err
        assert not out.exists()


def test_a_model_that_answers_differently_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every restored model has to give the answers that were recorded when its bundle was built."""

    def wrong(graph: object) -> Weights:
        weights = weights_of(graph)
        return weights | {"classifier.weight": np.flip(weights["classifier.weight"], axis=0)}

    monkeypatch.setattr(training.restore, "weights_of", wrong)
    assert main(["restore", str(STUDENT), "--out", str(tmp_path / "base")]) == 2
    assert "answers its golden texts differently" in capsys.readouterr().err
    assert not (tmp_path / "base").exists()


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_what_fails_or_is_interrupted_leaves_nothing_behind(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    """The weights were written already when the disk is full or Ctrl-C comes; no file of the directory stays."""
    seen: list[str] = []

    def fail(path: Path, *_: object, **__: object) -> None:
        seen.extend(each.name for each in path.parent.iterdir())
        raise error

    monkeypatch.setattr(Path, "write_text", fail)  # its first call follows the weights
    code = main(["restore", str(STUDENT), "--out", str(tmp_path / "base")])
    assert {"config.json", "model.safetensors"} <= set(seen)
    assert list(tmp_path.iterdir()) == []
    if isinstance(error, OSError):
        assert code == GaveUp.exit_code
        told = capsys.readouterr().err
        assert "tokenizer.json cannot be written (No space left on device): free some space" in told
        assert "run the same command again; if it saves its progress, it resumes" in told  # this one does not
    else:
        assert code == 130
