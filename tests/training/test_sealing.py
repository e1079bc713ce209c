"""Replacing a bundle: there is a whole one at `--out` at any moment, or the next command restores it."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from consumer.errors import BundleError, GaveUp
from consumer.model.bundle.loading import load_bundle
from tests.tiny_bundle import seal, write_tiny_bundle
from training.packaging import sealing

pytestmark = pytest.mark.training

#: Replaces the bundle at `out` again and again, each time killed with SIGKILL one file operation later, until it is not
#: killed. Prints for each time: the operation, the version at `out`, and the version there after the next command's
#: check; null: no bundle.
KILLED = """
import json, os, shutil, signal, sys
from pathlib import Path
from training.packaging import sealing

out, new, exchange = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3] == "exchange"
pristine = out.with_name("pristine")
shutil.copytree(out, pristine)
if not exchange:
    sealing.exchanged = lambda *_: False  # as on a file system without it
OPERATIONS = {"os.rename", "shutil.rmtree", "os.remove", "os.rmdir", "ctypes.dlsym", "os.mkdir"}

def version():
    manifest = out / "manifest.json"
    return json.loads(manifest.read_text())["version"] if manifest.is_file() else None

results = []
for last in range(1, 100):
    for path in out.parent.iterdir():
        if path not in (pristine, new):
            shutil.rmtree(path)
    shutil.copytree(pristine, out)
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        seen = 0
        def kill(event, arguments):
            global seen
            if event in OPERATIONS:
                seen += 1
                if seen == last:
                    os.write(writer, event.encode())
                    os.kill(os.getpid(), signal.SIGKILL)
        with sealing.replacing(out) as partial:
            shutil.copytree(new, partial, dirs_exist_ok=True)
            sys.addaudithook(kill)
        os._exit(0)
    os.close(writer)
    killed = os.waitpid(child, 0)[1] != 0
    operation = os.read(reader, 100).decode()
    found = version()
    sealing.check_replaceable(out)
    results.append((operation, found, version()))
    if not killed:
        break
print(json.dumps(results))
"""


def killed_at_each_operation(tmp_path: Path, how: str) -> list[Any]:
    """What `KILLED` prints for a bundle of version 1 that is replaced by one of version 2."""
    out, new = write_tiny_bundle(tmp_path / "work" / "out"), write_tiny_bundle(tmp_path / "work" / "new")
    seal(new, version="2")
    command = [sys.executable, "-c", KILLED, str(out), str(new), how]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    results: list[Any] = json.loads(done.stdout)
    return results


@pytest.mark.skipif(sys.platform != "linux", reason="renameat2 is of Linux")
def test_a_kill_at_any_moment_leaves_a_whole_bundle(tmp_path: Path) -> None:
    """Old and new bundle are exchanged in one step: whenever the process is killed, one of them is at `out`."""
    results = killed_at_each_operation(tmp_path, "exchange")
    assert len(results) > 3
    assert {found for _, found, _ in results} == {"1", "2"}
    assert all(found == after for _, found, after in results)
    assert results[-1] == ["", "2", "2"]


def test_a_bundle_that_was_moved_aside_is_put_back(tmp_path: Path) -> None:
    """Without the exchange, a kill between the two renames leaves none; the next command restores it."""
    results = killed_at_each_operation(tmp_path, "two renames")
    assert len(results) > 3
    between = [operation for operation, found, _ in results if found is None]
    assert between == ["os.rename"]  # killed before the second one
    assert all(after in {"1", "2"} for _, _, after in results)
    assert results[-1] == ["", "2", "2"]


def test_a_bundle_that_was_moved_aside_is_named_to_whoever_reads_it(tmp_path: Path) -> None:
    """The worker and `evaluate` change nothing, but say where it is."""
    write_tiny_bundle(tmp_path / "out").rename(tmp_path / ".out.old")
    with pytest.raises(BundleError, match=r"out was moved to .*/\.out\.old by a command .* killed .*move it back"):
        load_bundle(tmp_path / "out")


def test_a_bundle_takes_the_place_of_an_older_one(tmp_path: Path) -> None:
    """The older one is whole until the new one is, and files of others beside it are left alone."""
    out = write_tiny_bundle(tmp_path / "out")
    others = [tmp_path / f"out.{what}" / "thesis.txt" for what in ("old", "partial")]
    for file in others:
        file.parent.mkdir()
        file.write_text("years of work")
    with sealing.replacing(out) as new:
        (new / "manifest.json").write_text("new")
        assert (out / "golden.json").is_file()
    assert (out / "manifest.json").read_text() == "new"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "out.old", "out.partial"]
    assert all(file.exists() for file in others)
    assert not (out / "golden.json").exists()


def test_a_bundle_that_cannot_be_replaced_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error of the system is one line, and the older bundle is still there."""
    out = write_tiny_bundle(tmp_path / "out")

    def refuse(_from: Path, _to: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(sealing, "exchanged", lambda *_: False)
    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(GaveUp, match=r"out cannot be written \(Permission denied\)"), sealing.replacing(out):
        pass
    assert load_bundle(out).manifest.version == "1"
