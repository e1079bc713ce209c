"""A machine without packages of the engine is refused before anything is installed."""

import re
import runpy
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
SUPPORTED = runpy.run_path(str(ROOT / "deploy" / "supported.py"), run_name="supported")

LINUX: dict[str, Any] = {
    "python": (3, 12),
    "implementation": "cpython",
    "system": "Linux",
    "machine": "x86_64",
    "libc": "glibc 2.36",
    "macos": "",
    "bits": 64,
}
MAC = LINUX | {"system": "Darwin", "machine": "arm64", "libc": "", "macos": "14.5"}

REFUSED: list[tuple[dict[str, Any], str]] = [
    (MAC | {"machine": "x86_64"}, "Intel"),
    (MAC | {"macos": "10.15"}, "macOS 11 or newer"),
    (LINUX | {"libc": ""}, "musl"),
    (LINUX | {"libc": "glibc 2.27"}, "glibc 2.28 or newer is needed on x86_64, and this is glibc 2.27"),
    (LINUX | {"machine": "aarch64", "libc": "glibc 2.31"}, "glibc 2.35 or newer is needed on aarch64"),
    (LINUX | {"machine": "armv7l", "bits": 32}, "64-bit"),
    (LINUX | {"bits": 32}, "64-bit"),
    (LINUX | {"machine": "riscv64"}, "riscv64"),
    (LINUX | {"machine": "ppc64le"}, "ppc64le"),
    (LINUX | {"system": "Windows", "machine": "AMD64"}, "WSL"),
    (LINUX | {"system": "FreeBSD", "machine": "amd64"}, "FreeBSD is not supported"),
    (LINUX | {"python": (3, 10)}, "CPython 3.11 to 3.14 is needed, and this is cpython 3.10"),
    (LINUX | {"python": (3, 15)}, "CPython 3.11 to 3.14"),
    (LINUX | {"implementation": "pypy"}, "this is pypy 3.12"),
]


def problem(**machine: Any) -> str:
    """What the script says of a machine."""
    return str(SUPPORTED["problem"](**machine))


@pytest.mark.parametrize(("machine", "says"), REFUSED, ids=[says for _, says in REFUSED])
def test_a_machine_without_packages_is_named_with_what_to_use_instead(machine: dict[str, Any], says: str) -> None:
    """One line with the cause."""
    line = problem(**machine)
    assert says in line
    assert "\n" not in line


def test_machines_with_packages_are_taken() -> None:
    """The oldest and the newest of each kind, and this one."""
    assert problem() == ""
    for python in ((3, 11), (3, 14)):
        assert problem(**MAC | {"python": python, "macos": "11.7"}) == ""
        assert problem(**LINUX | {"python": python, "libc": "glibc 2.28"}) == ""
        for machine in ("aarch64", "arm64"):
            assert problem(**LINUX | {"python": python, "machine": machine, "libc": "glibc 2.35"}) == ""


def test_the_list_is_that_of_the_locked_engine() -> None:
    """When OpenVINO is updated, so is this."""
    locked = tomllib.loads((ROOT / "uv.lock").read_text("utf-8"))["package"]
    [engine] = (package for package in locked if package["name"] == "openvino")
    wheels = [wheel["url"].rpartition("/")[2] for wheel in engine["wheels"]]
    assert len(wheels) > 10
    glibc = {
        found[3]: (int(found[1]), int(found[2]))
        for wheel in wheels
        if (found := re.search(r"manylinux_(\d+)_(\d+)_(\w+)\.whl", wheel))
    }
    pythons = sorted((3, int(found[1])) for wheel in wheels if (found := re.search(r"-cp3(\d+)-", wheel)))
    assert glibc == SUPPORTED["GLIBC"]
    assert (pythons[0], pythons[-1]) == SUPPORTED["PYTHON"]
    assert not any("musl" in wheel or ("macosx" in wheel and "x86_64" in wheel) for wheel in wheels)
    macos = {int(found) for wheel in wheels for found in re.findall(r"macosx_(\d+)_", wheel)}
    assert macos == {SUPPORTED["MACOS"][0]}


def test_make_asks_before_it_installs_anything(tmp_path: Path) -> None:
    """On such a machine `make env` ends with that line, and leaves nothing behind."""
    # Given a checkout, and a Python that pretends to be that of an Intel Mac
    for name in ("Makefile", "deploy/supported.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    python = tmp_path / "python3"
    pretend = (
        "import platform, runpy, sys; platform.system = lambda: 'Darwin'; platform.machine = lambda: 'x86_64'; "
        "runpy.run_path(sys.argv[1], None, '__main__')"
    )
    python.write_text(f'#!/bin/sh\nexec {sys.executable} -c "{pretend}" "$@"\n')
    python.chmod(0o755)
    # When the environment is asked for
    for target in ("env", "env-training", "env-dev", "demo"):
        made = subprocess.run(
            ["make", target, f"PYTHON={python}"], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        # Then it ends with the cause
        assert made.returncode != 0
        assert "review-consumer: Macs with Intel processors" in made.stderr
        assert "docs/quick-start.md" in made.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["Makefile", "deploy", "python3"]
