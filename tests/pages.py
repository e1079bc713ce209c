"""The shell blocks of the pages, and a shell that runs them as a reader would."""

import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent

#: Indentation, language and content of each fenced block.
FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```", re.MULTILINE | re.DOTALL)
SHELL = {"console", "sh", "bash", "shell"}


class Block(NamedTuple):
    """Commands of one shell block."""

    page: str
    commands: tuple[str, ...]


def commands_of(kind: str, code: str) -> tuple[str, ...]:
    """The commands of a block: what follows a prompt, or each line where there is none; without comments."""
    lines = code.replace("\\\n", " ").splitlines()
    prompted = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")] if kind == "console" else lines
    return tuple(" ".join(re.sub(r"\s# .*", "", line).split()) for line in prompted if line.strip())


@cache
def shell_blocks(*pages: str) -> tuple[Block, ...]:
    """Every shell block of these pages, in order."""
    return tuple(
        Block(page, commands_of(kind, code))
        for page in pages
        for _, kind, code in FENCE.findall((ROOT / page).read_text("utf-8"))
        if kind in SHELL or not kind
    )


def steps(page: str) -> list[str]:
    """What a reader of `page` runs, in order: each command of a session, and each other shell block as one script."""
    return [
        step
        for _, kind, code in FENCE.findall((ROOT / page).read_text("utf-8"))
        if kind in SHELL or not kind
        for step in (commands_of(kind, code) if kind == "console" else [code])
    ]


class Shell:
    """Runs commands as a reader would, in `directory`, with some words replaced by what a test has in their place."""

    def __init__(self, directory: Path, replaced: dict[str, str], **environment: str) -> None:
        self._directory = directory
        self._replaced = {
            ".venv/bin/": f"{BIN}/",
            "bundles/distilbert-imdb": f"{ROOT}/bundles/distilbert-imdb",
        } | replaced
        self._environment = os.environ | environment

    def start(self, command: str) -> subprocess.Popen[str]:
        """Start `command`, with its output in a pipe."""
        for old, new in self._replaced.items():
            command = command.replace(old, new)
        return subprocess.Popen(
            ["bash", "-euo", "pipefail", "-c", command],
            cwd=self._directory,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, command: str) -> str:
        """What `command` prints; it has to end with exit code 0."""
        process = self.start(command)
        try:
            output, _ = process.communicate(timeout=240)
        finally:
            process.kill()
        assert process.returncode == 0, f"{command} ended with {process.returncode}:\n{output}"
        return output
