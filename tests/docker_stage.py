"""Runs the stage of a Dockerfile that builds on this machine, for tests without Docker.

Copies and commands are those of the Dockerfile; paths of the image become paths below a directory. What the base image
has is replaced: Python by this one, and its file system by a file of its size.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
DOCKERFILE = ROOT / "deploy/docker/Dockerfile"
#: Bytes of python:3.13-slim: the most that `docker image ls` was seen to report, compressed layers included.
BASE = 207_000_000
_VARIABLE = re.compile(r"\$\{(\w+)\}|\$(\w+)")


class Stage:
    """The first stage, built into `directory`."""

    def __init__(self, directory: Path) -> None:
        self._root = directory
        self._where = directory
        self._variables = {"PATH": f"{Path(sys.executable).parent}:{ROOT}/.uv/bin:{os.environ['PATH']}"}
        kept = ("HOME", "UV_CACHE_DIR", "SSL_CERT_FILE", "http_proxy", "https_proxy")
        self._environment = {name: os.environ[name] for name in kept if name in os.environ}
        self.opt = directory / "opt"
        self.build = directory / "build"
        self.printed: list[str] = []
        base = directory / "base"
        base.mkdir(parents=True)
        with (base / "image").open("wb") as file:
            file.truncate(BASE)

    def run_all(self) -> None:
        """Every instruction of the stage, in order."""
        for instruction, rest in instructions():
            getattr(self, f"_{instruction.lower()}")(rest)

    def run(self, command: str) -> subprocess.CompletedProcess[str]:
        """A shell command as the stage runs it, with its variables."""
        return subprocess.run(
            ["sh", "-ec", self._here(command)],
            cwd=self._where,
            env=self._environment | self._variables,
            capture_output=True,
            text=True,
            check=False,
        )

    def _run(self, command: str) -> None:
        done = self.run(command)
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        self.printed.append(done.stdout)

    def _arg(self, rest: str) -> None:
        name, _, value = rest.partition("=")
        self._variables[name] = value

    def _env(self, rest: str) -> None:
        for name, value in re.findall(r"(\w+)=(\S+)", rest):
            found = _VARIABLE.sub(lambda match: self._variables[match[1] or match[2]], value)
            if name != "UV_NO_CACHE":  # a test need not fetch what this machine has
                self._variables[name] = self._here(found)

    def _workdir(self, rest: str) -> None:
        self._where = Path(self._here(rest))
        self._where.mkdir(parents=True, exist_ok=True)

    def _copy(self, rest: str) -> None:
        *sources, target = rest.split()
        to = self._where / self._here(target)
        for source in sources:
            found = ROOT / source
            # As Docker does: of a directory, its content
            into = to if found.is_dir() or not target.endswith(("/", ".")) else to / found.name
            into.parent.mkdir(parents=True, exist_ok=True)
            subprocess.run(["cp", "-rT", found, into], check=True)

    def _here(self, text: str) -> str:
        """Paths of the image as paths below the directory, and uv for pip, because its cache is warm."""
        text = text.replace("/build/tools/bin/pip install --no-cache-dir", "uv pip install --python /build/tools")
        text = text.replace("python -m venv", "uv venv --quiet")
        text = text.replace("/usr/local/bin/python", sys.executable).replace('" / /opt', f'" {self._root}/base /opt')
        return re.sub(r"(?<![\w./-])/(opt|build)\b", rf"{self._root}/\1", text)


def instructions() -> Iterator[tuple[str, str]]:
    """Those of the first stage, without comments, each on one line."""
    text = re.sub(r"^#.*\n", "", DOCKERFILE.read_text("utf-8"), flags=re.MULTILINE).replace("\\\n", " ")
    _, first, *_ = re.split(r"^FROM .*$", text, flags=re.MULTILINE)
    for line in filter(None, map(str.strip, first.splitlines())):
        instruction, _, rest = line.partition(" ")
        yield instruction, rest
