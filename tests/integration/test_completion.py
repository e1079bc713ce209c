"""Completion in real shells: what a Tab offers after a command line."""

import subprocess
import sys
from pathlib import Path

import pytest

from consumer.cli import COMMANDS
from consumer.tools.completion import SHELLS
from tests.external import find

BASH = """
source "$1"
shift
function=$(complete -p review-consumer | sed 's/.*-F \\([^ ]*\\) .*/\\1/')
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); "$function"
printf '%s\\n' "${COMPREPLY[@]}"
"""
FISH = 'source $argv[1]; complete -C "$argv[2..]" | string replace -r "\\t.*" ""'
#: An interactive zsh in a terminal of its own, whose completion prints each candidate.
ZSH = r"""
zmodload zsh/zpty
zpty z zsh -f -i
zpty -w z "fpath=($1 \$fpath); autoload -Uz compinit; compinit -u -d $1/dump"
zpty -w z "offer () { zle complete-word; print -r -- DO''NE }; zle -N offer; bindkey '^I' offer"
zpty -w z "compadd () { typeset -a f; builtin compadd -A f \"\$@\"; for w in \$f; do print -r -- \"=\$w=\"; done }"
zpty -w z "print REA''DY"
zpty -r -m z line '*READY*'
zpty -n -w z "${*[2,-1]}"$'\t'
while zpty -r z line; do print -rn -- "$line"; [[ $line == *DONE* ]] && break; done
"""

CASES = [
    (["pr"], {"produce"}),
    (["run", "--delivery", "e"], {"exactly_once"}),
    (["produce", "--co"], {"--compression", "--config"}),
    (["produce", "--compression", "l"], {"lz4"}),
    (["completion", "z"], {"zsh"}),
]


@pytest.fixture(scope="module")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the script of each shell."""
    directory = tmp_path_factory.mktemp("completion")
    for shell in SHELLS:
        made = subprocess.run(
            [sys.executable, "-m", "consumer", "completion", shell], capture_output=True, text=True, check=True
        )
        (directory / "_review-consumer" if shell == "zsh" else directory / shell).write_text(made.stdout, "utf-8")
    return directory


def offered(shell: str, scripts: Path, words: list[str]) -> set[str]:
    """What `shell` offers at the end of `words`."""
    line = ["review-consumer", *words]
    commands = {
        "bash": ["bash", "--norc", "-c", BASH, "bash", str(scripts / "bash"), *line],
        "fish": ["fish", "--no-config", "-c", FISH, str(scripts / "fish"), " ".join(line)],
        "zsh": ["zsh", "-f", "-c", ZSH, "zsh", str(scripts), " ".join(line)],
    }
    done = subprocess.run(commands[shell], capture_output=True, text=True, check=True, timeout=30, cwd=scripts)
    if shell == "zsh":
        return {
            each for row in done.stdout.splitlines() for each in [row.rpartition("=")[0].rpartition("=")[2]] if each
        }
    return set(done.stdout.split())


@pytest.mark.parametrize("shell", SHELLS)
def test_a_tab_offers_commands_flags_and_values(shell: str, scripts: Path) -> None:
    """In each of the shells."""
    find(shell, install=f"apt-get install {shell}")
    for words, expected in CASES:
        assert offered(shell, scripts, words) == expected, words


def test_files_are_completed(scripts: Path) -> None:
    """The argument of `produce` is one."""
    (scripts / "reviews.csv").touch()
    assert offered("bash", scripts, ["produce", "rev"]) == {"reviews.csv"}


def test_every_command_is_completed(scripts: Path) -> None:
    """A command that is added to the program is in its completion."""
    assert offered("bash", scripts, [""]) >= COMMANDS.keys()


def test_no_tab_runs_the_program(scripts: Path) -> None:
    """Scripts know everything; printing one loads no engine and no reader of files."""
    assert "python" not in "".join(path.read_text("utf-8") for path in scripts.iterdir() if path.name != "dump").lower()
    code = "import sys; from consumer.cli import main; main(['completion', 'bash']); print('|', *sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.rpartition("|")[2].split())
    assert "consumer.run" in loaded
    assert not {"openvino", "torch", "pandas", "openpyxl", "pyarrow"} & loaded
