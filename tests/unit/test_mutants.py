"""The check of the tests can fail as well: only a test that passes, and then fails for the right reason, counts."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests import mutants
from tests.mutants import Change, Mutation, Outcome, copied, misfits, verdict

TEST = "tests/faults/test_x.py::test_y"
ROOT = Path(__file__).parents[2]


def outcome(exit_code: int, output: str = "E  AssertionError: 1 records lost", *, failed: bool = True) -> Outcome:
    """What pytest said of `TEST`."""
    return Outcome(frozenset(), frozenset({TEST} if failed else ()), exit_code, output)


def test_every_mutation_and_its_test_exist() -> None:
    """A change of the code that a mutation no longer fits is noticed by the change, not weeks later."""
    command = [sys.executable, "-m", "tests.mutants", "--fits"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stdout == f"{len(mutants.MUTATIONS)} mutations fit\n"


def test_a_mutation_that_no_longer_fits_is_named() -> None:
    """Its text is gone, occurs twice, or stood in a file that was moved."""
    changes = (Change("consumer/worker.py", "no such line", ""), Change("consumer/worker.py", "import ", ""))
    found = misfits([Mutation("switched off", (*changes, Change("consumer/gone.py", "x", "")), "test_x.py::test_y")])
    assert len(found) == 3
    assert "occurs 0 times in consumer/worker.py" in found[0]
    assert "occurs 0 times in consumer/gone.py" in found[2]
    assert not misfits(mutants.MUTATIONS)


@pytest.mark.parametrize(
    ("ended", "why"),
    [
        (outcome(1), ""),
        (outcome(0, failed=False), "passes"),
        (outcome(1, failed=False), "did not run to its end"),
        (outcome(2, failed=False), "exit code 2"),
        (outcome(4, failed=False), "exit code 4"),
        (outcome(5, failed=False), "exit code 5"),
        (outcome(1, "E  AssertionError: ended with 1: NameError: name 'poll' is not defined"), "broken (NameError)"),
    ],
)
def test_only_a_test_that_fails_for_the_right_reason_counts(ended: Outcome, why: str) -> None:
    """Errors of collection, usage and fixtures, hangs, and code that does not even run catch nothing."""
    assert verdict(TEST, ended) == "" if not why else why in verdict(TEST, ended)


def test_a_test_of_several_variants_is_green_if_all_are_and_red_if_one_is() -> None:
    """A mutation may name a test without its parameters; pytest reports each variant."""
    ended = Outcome(frozenset({f"{TEST}[a]", f"{TEST}[b]"}), frozenset(), 0, "")
    assert ended.passes(TEST)
    assert not ended.passes(TEST.removesuffix("y"))
    one_red = Outcome(frozenset({f"{TEST}[a]"}), frozenset({f"{TEST}[b]"}), 1, "")
    assert not one_red.passes(TEST)
    assert verdict(TEST, one_red) == ""


def test_a_copy_holds_what_tests_need_and_leaves_the_checkout_alone() -> None:
    """Bundles, docs, deploy and training are there, and only the copy is changed."""
    before = (ROOT / "consumer/worker.py").read_text()
    with copied([Change("consumer/worker.py", "ATTEMPTS = 6", "ATTEMPTS = 0")]) as copy:
        assert "ATTEMPTS = 0" in (copy / "consumer/worker.py").read_text()
        for needed in ("bundles/distilbert-imdb/manifest.json", "docs/runbook.md", "deploy", "training/cli.py"):
            assert (copy / needed).exists(), needed
    assert (ROOT / "consumer/worker.py").read_text() == before
