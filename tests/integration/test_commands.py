"""Every command that the pages and the Makefile mention exists and runs: here in its smallest form, or in another test.

Other tests run the shell blocks of the README and of the quick start. This one covers what else a reader finds to run:
benches, soak, acceptance, mutants, make targets, and the flags of both programs.
"""

import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.tiny_bundle import write_tiny_bundle
from tests.tiny_encoder import write_reviews

ROOT = Path(__file__).parents[2]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "deploy/README.md", "Makefile")),
    *sorted((ROOT / "docs").rglob("*.md")),
]

#: The smallest form of each module that is run with `python -m`, and the last line or a part of what it prints.
SMALLEST = {
    "tests.bench.commit_path": ("--rounds 1 --records 64 --sizes 16", "| 16 | "),
    "tests.bench.publish_share": ("--rounds 1 --records 64 --bundle {bundle}", "| bundle.xlsx | "),
    "tests.bench.bookkeeping": ("", "| 1024 | "),
    "tests.bench.drift": (
        "--rows 4 --complaints 110 --german 110 --window 100 --data {reviews} --bundle bundles/student-imdb",
        "language 100, unknown 100 | label 96",
    ),
    "tests.bench.recovery": (
        "--times 1 --only 'rebalance'",
        "| rebalance: a worker joins, partitions that move | 1 | ",
    ),
    "tests.bench.tools": ("--records 1000", "| `dlq export` | 1,000 | "),
    "tests.bench.gpu": ("--cpu --workers 2", "Kafka, 2 workers"),
    "tests.soak": ("--minutes 0.1 --brokers 1 --rate 40", "soak passed"),
    "consumer.local.java": ("", "java"),
    "tests.acceptance": ("--rows 8 --data {reviews} --bundle {bundle}", "accepted"),
}
#: The others, and the test that runs them.
ELSEWHERE = {
    "tests.bench.engines": "tests/integration/test_bench.py",
    "tests.bench.training": "tests/training/test_bench.py",
    "tests.mutants": "tests/unit/test_mutants.py",
    "tests.fake_worker": "tests/harness.py",
    "tests.dashboard_pictures": "tests/e2e/test_dashboards.py",
    "deploy.grafana.picture": "tests/e2e/test_dashboards.py",
    "training.cli": "tests/training_run.py",
}
#: Make targets beside those that `.ci/run` makes, and what covers them.
TARGETS = {
    "demo": "tests/e2e/test_demo.py",
    "docs": "tests/unit/test_messages.py",
    "bench": "tests.bench.engines",
    "bench-training": "tests.bench.training",
    "soak": "tests.soak",
    "mutants": "tests.mutants",
    "faults": "make faults-smoke is a part of it",
    "env": "demo",
    "env-training": "env-dev is more",
    "env-dev": "test",
    "help": "below",
    "sbom": "tests/integration/test_release.py",
    "clean": "removes what the others made",
}


def text_of_pages() -> str:
    """Every page, and the Makefile."""
    return "\n".join(page.read_text("utf-8") for page in PAGES if page.is_file())


def modules_named() -> set[str]:
    """What the pages run as `python -m MODULE`, modules of this project alone."""
    return set(re.findall(r"-m ((?:tests|consumer|training)(?:\.\w+)+)", text_of_pages()))


def targets_named() -> set[str]:
    """What the pages run as `make TARGET` in code, and what the Makefile has."""
    code = re.findall(r"`(?:\$ )?make ([a-z-]+)|^(?:\$ )?make ([a-z-]+)", text_of_pages(), re.MULTILINE)
    made = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    return {first or second for first, second in code} | set(made)


def commands_named() -> Iterator[tuple[str, str, frozenset[str]]]:
    """Program, subcommand and flags of each call of `review-consumer` or `review-training` in code and in recipes."""
    recipes = [path.read_text("utf-8") for path in sorted((ROOT / "bundles/recipes").glob("*.sh"))]
    joined = "\n".join([text_of_pages(), *recipes]).replace("\\\n", " ")
    for program, command, rest in re.findall(r"review-(consumer|training) ([a-z-]+)([^`\n|#]*)", joined):
        own = re.sub(r"(--tool) .*", r"\1", rest)  # what follows belongs to Kafka's own tool
        action = re.match(r" [a-z]+\b", rest) if command == "dlq" else None
        yield (
            program,
            command + (action[0] if action else ""),
            frozenset(re.findall(r"(?<![\w-])(--[a-z][a-z0-9-]+)", own)),
        )


@cache
def help_of(program: str, *command: str) -> str:
    """What `--help` prints."""
    ended = subprocess.run(
        [sys.executable, "-m", f"{program}.cli", *command, "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={"COLUMNS": "200", "PATH": ""},
    )
    assert ended.returncode == 0, f"{program} {command}: {ended.stderr}"
    return ended.stdout


def test_every_module_that_a_page_runs_is_covered() -> None:
    """A page that tells readers to run something no test runs is noticed; so is a script that no test runs."""
    named = modules_named()
    assert {"tests.bench.commit_path", "tests.bench.recovery", "tests.soak", "tests.mutants"} <= named
    assert named <= SMALLEST.keys() | ELSEWHERE.keys()
    scripts = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in (ROOT / "tests").rglob("*.py")
        if re.search(r'^if __name__ == "__main__":', path.read_text("utf-8"), re.MULTILINE)
    }
    assert scripts <= SMALLEST.keys() | ELSEWHERE.keys()
    for module, where in ELSEWHERE.items():
        # In-process tests import it, others run it by its name.
        assert module in (ROOT / where).read_text("utf-8") or module.replace(".", "/") in where, (module, where)


@pytest.mark.broker
@pytest.mark.training
@pytest.mark.timeout(300)
@pytest.mark.parametrize("module", SMALLEST)
def test_its_smallest_form_runs(module: str, tmp_path: Path) -> None:
    """It ends with exit code 0 and prints its result."""
    arguments, expected = SMALLEST[module]
    places = {name: str(tmp_path / f"{name}.xlsx") for name in ("bundle", "reviews")}
    makers: dict[str, Callable[[Path], object]] = {
        "bundle": write_tiny_bundle,
        "reviews": lambda path: write_reviews(path, 40, seed=1),
    }
    for name, make in makers.items():
        if f"{{{name}}}" in arguments:
            make(Path(places[name]))
    command = [sys.executable, "-m", module, *(word.format(**places) for word in shlex.split(arguments))]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert expected in ended.stdout


def test_every_make_target_exists_and_is_covered() -> None:
    """`make TARGET` of a page is a target, `.ci/run` makes it or a test covers what it does, and make can plan it."""
    in_ci = set(re.findall(r"^make ([a-z-]+)$", (ROOT / ".ci/run").read_text("utf-8"), re.MULTILINE))
    named = targets_named()
    assert in_ci >= {"lint", "test", "faults-smoke"}
    assert named == in_ci | TARGETS.keys()
    for target in sorted(named):
        planned = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True, check=False)
        assert planned.returncode == 0, planned.stderr
    shown = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert set(re.findall(r"^  make ([a-z-]+)", shown, re.MULTILINE)) == named


@pytest.mark.training
def test_every_flag_that_a_page_names_exists() -> None:
    """Calls of both programs name subcommands and flags that they have."""
    checked = 0
    for program, command, flags in commands_named():
        if not re.search(rf"^ +{command.split()[0]}\b", help_of(program), re.MULTILINE):  # a word of a sentence
            continue
        text = help_of(program, *command.split())
        assert not [flag for flag in flags if not re.search(rf"{flag}\b", text)], (program, command, flags)
        checked += 1
    assert checked > 5
