"""What a finished run keeps is announced, and removed only if it is asked for, finished, unused and the run's own."""

import fcntl
from pathlib import Path

import pytest

from tests.tiny_bundle import write_tiny_bundle
from tests.tiny_encoder import make_base, write_reviews
from training.cli import main
from training.packaging.record import RECORD

pytestmark = pytest.mark.training

Captured = pytest.CaptureFixture[str]


def make_run(out: Path, *, finished: bool = True) -> Path:
    """The bundle `out`, what its run and its teachers left, and a file of somebody else; the directory of the run."""
    if finished:
        write_tiny_bundle(out)
    run, cache = out.with_name(f"{out.name}.run"), out.with_name(f"{out.name}.teachers")
    for path, size in (
        (run / "lock", 0),
        (run / "checkpoint.safetensors", 2000),
        (run / "best-12.safetensors", 500),
        (run / "best-13.safetensors.partial", 100),
        (run / "answers" / "int8-0123456789abcdef.jsonl", 400),
        (cache / "0123456789abcdef" / "00000000.safetensors", 700),
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * size)
    if finished:
        (run / RECORD).write_text("{}")
    return run


def test_fit_warns_before_it_trains_and_tells_at_the_end_what_it_keeps(tmp_path: Path, capsys: Captured) -> None:
    """Few steps are said before the first one; the command that is named at the end removes what is named there."""
    base, train = make_base(tmp_path / "base"), write_reviews(tmp_path / "train.xlsx", 40, seed=1)
    test, out = write_reviews(tmp_path / "test.xlsx", 16, seed=2), tmp_path / "out"
    files = ["--train", str(train), "--test", str(test), "--base", str(base), "--out", str(out)]
    assert main(["fit", *files, "--max-length", "48", "--train-max-length", "24", "--calibration-share", "0"]) == 0
    lines = capsys.readouterr().err.splitlines()
    early = [line for line in lines if line.startswith(("WARNING: 2 optimiser steps", "training starts"))]
    assert len(early) == 2
    assert early[0].startswith("WARNING")
    assert lines[-2].startswith(f"{out}.run keeps ")
    named = lines[-1].partition("review-training ")[2].split()
    assert main([word for word in named if word != "--yes"]) == 0
    assert "nothing was removed" in capsys.readouterr().out
    kept = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    assert main(named) == 0
    assert "removed" in capsys.readouterr().out
    assert not Path(f"{out}.run").exists()
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == kept


def test_without_yes_it_only_shows_sizes(tmp_path: Path, capsys: Captured) -> None:
    """Run and teachers, each with its size; nothing changes."""
    run = make_run(tmp_path / "mine")
    before = sorted(tmp_path.rglob("*"))
    assert main(["clean", str(tmp_path / "mine") + "/"]) == 0
    shown = capsys.readouterr().out
    assert f"{run}: 3.0 kB, checkpoint" in shown
    assert "mine.teachers: 700 bytes, answers of teachers" in shown
    assert "3.7 kB in all; nothing was removed" in shown
    assert sorted(tmp_path.rglob("*")) == before


def test_only_what_the_run_wrote_is_removed(tmp_path: Path, capsys: Captured) -> None:
    """Notes of the user stay, and so does what a link in the directory points to."""
    run, precious = make_run(tmp_path / "mine"), tmp_path / "precious.safetensors"
    precious.write_text("weights")
    (run / "notes.txt").write_text("mine")
    (run / "best-14.safetensors").symlink_to(precious)
    assert main(["clean", "--yes", str(run)]) == 0
    assert "2 other files stay" in capsys.readouterr().out
    assert sorted(path.name for path in run.iterdir()) == ["best-14.safetensors", "notes.txt"]
    assert precious.read_text() == "weights"
    assert (tmp_path / "mine.teachers").is_dir()  # not named
    assert (tmp_path / "mine" / "manifest.json").is_file()


def test_a_run_that_is_active_or_unfinished_stays(tmp_path: Path, capsys: Captured) -> None:
    """Exit code 2 and nothing removed, neither its checkpoint nor the answers of its teachers; --unfinished insists."""
    run = make_run(tmp_path / "mine")
    with (run / "lock").open("rb+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for path in (tmp_path / "mine", tmp_path / "mine.teachers"):
            before = sorted(tmp_path.rglob("*"))
            assert main(["clean", "--yes", str(path)]) == 2
            assert "a run is active in" in capsys.readouterr().err
            assert sorted(tmp_path.rglob("*")) == before
    other = make_run(tmp_path / "other", finished=False)
    assert main(["clean", "--yes", str(tmp_path / "other")]) == 2
    assert "has not finished, and nothing is removed" in capsys.readouterr().err
    assert (other / "checkpoint.safetensors").is_file()
    assert main(["clean", "--yes", "--unfinished", str(tmp_path / "other")]) == 0
    assert not other.exists()


@pytest.mark.parametrize("name", ["nothing", "photos", "link", "locked"])
def test_what_is_no_run_is_refused(tmp_path: Path, name: str, capsys: Captured) -> None:
    """A missing path, a directory of anything else, and a link to a run: exit code 2, nothing removed."""
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "checkpoint.safetensors").write_text("not ours: no lock")
    (tmp_path / "link").symlink_to(make_run(tmp_path / "mine"))
    (tmp_path / "locked").mkdir()
    (tmp_path / "locked" / "lock").touch()
    before = sorted(tmp_path.rglob("*"))
    assert main(["clean", "--yes", "--unfinished", str(tmp_path / name)]) == 2
    assert "is no bundle, no directory of a run" in capsys.readouterr().err
    assert sorted(tmp_path.rglob("*")) == before
    bundle = write_tiny_bundle(tmp_path / "alone")
    assert main(["clean", "--yes", str(bundle)]) == 0
    assert (bundle / "manifest.json").is_file()
