"""The commands of docs/release.md work: those that need no registry, no signing identity and no Docker run here."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/release.md"
#: What a person runs beside, by the words that its command starts with.
ELSEWHERE = ("docker ", "cosign ", "grype ", "export DIGEST=", "git push ", ".uv/bin/uv publish ", "pip download ")
#: Options that need what a test has not: a key, and a place for the environment beside this one.
REPLACED = {"--sign ": "--annotate ", "make sbom": "make -o env-dev sbom", "make env-dev": "true"}


def commands() -> list[str]:
    """Every command in the blocks of the page, in order."""
    blocks = re.findall(r"^ *```sh\n(.*?)^ *```", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    return [line.strip() for block in blocks for line in block.replace("\\\n", " ").splitlines() if line.strip()]


@pytest.mark.timeout(300)
def test_the_commands_of_a_release_run(tmp_path: Path) -> None:
    """From the version to the checksums, in a repository of its own; each file says the new version."""
    every = commands()
    local = [command for command in every if not command.startswith(ELSEWHERE)]
    assert {word for word in ELSEWHERE if not any(command.startswith(word) for command in every)} == set()
    assert len(local) >= 12
    checkout = tmp_path / "checkout"
    _copy_to(checkout)
    settings = tmp_path / "gitconfig"
    settings.write_text("[user]\nname = Release\nemail = release@example.com\n[core]\ncompression = 0\n")
    link = f"ln -s {ROOT}/.uv {ROOT}/.venv ."
    script = ["git init --quiet . && git add --all && git commit --quiet --message first", link]
    for command in local:
        for old, new in REPLACED.items():
            command = command.replace(old, new)  # noqa: PLW2901
        script.append(f"cd dist; {command}" if command.startswith("sha256sum --check") else command)
        if command.startswith("cd "):
            script.append(link)
    done = subprocess.run(
        ["bash", "-euxo", "pipefail", "-c", "\n".join(script)],
        cwd=checkout,
        env=os.environ | {"GIT_CONFIG_GLOBAL": str(settings)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    dist = tmp_path / "review-consumer-release/dist"
    (version,) = re.findall(r"VERSION=(\S+)", every[0])
    files = {path.name for path in dist.iterdir()} - {".gitignore"}
    archive, wheel = f"review-consumer-kubernetes-{version}.tar.gz", f"review_consumer-{version}-py3-none-any.whl"
    bills = {"review-consumer.cdx.json", "review-consumer-all-extras.cdx.json"}
    assert files == {"SHA256SUMS", archive, wheel, f"review_consumer-{version}.tar.gz"} | bills
    for bill in bills:
        assert json.loads((dist / bill).read_text("utf-8"))["metadata"]["component"]["version"] == version
    with zipfile.ZipFile(dist / wheel) as packed:
        assert f"review_consumer-{version}.dist-info/sboms/review-consumer.cdx.json" in packed.namelist()
    with tarfile.open(dist / archive) as packed_files:
        names = packed_files.getnames()
    assert f"review-consumer-{version}/deploy/kubernetes/base/kustomization.yaml" in names
    sums = dict(line.split()[::-1] for line in (dist / "SHA256SUMS").read_text("utf-8").splitlines())
    assert sums.keys() == files - {"SHA256SUMS"}
    assert sums[wheel] == hashlib.sha256((dist / wheel).read_bytes()).hexdigest()


def _copy_to(directory: Path) -> None:
    """What git knows of this working tree, and what it does not ignore."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    directory.mkdir()
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (directory / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, directory / name)
