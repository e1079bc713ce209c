"""The commands of the pages about adapting and distilling run as written, on small files and random weights.

`tests/integration/test_docs.py` runs the pages that a newcomer follows, `test_commands.py` checks the flags of all.
"""

import shlex
from pathlib import Path

import pandas as pd
import pytest

from tests.pages import shell_blocks
from tests.tiny_bundle import write_tiny_bundle
from tests.tiny_encoder import make_base, write_reviews
from tests.tiny_masked import make_masked_base, write_texts
from tests.tiny_trained import write_trained_bundle
from tests.training_run import end_before_packaging, finish, step_of
from training.cli import main

pytestmark = [pytest.mark.training, pytest.mark.timeout(300)]

#: What makes each command small. Packaging takes the most time, and needs few texts here.
PACKAGED = "--train-max-length 24 --max-length 48 --calibration-share 0 --calibration-texts 8 --gate-rows 20"
SMALL = {
    "adapt": "--learning-rate 0.01 --max-length 24 --held-out-share 0.1",
    "fit": f"{PACKAGED} --epochs 1",
    "answer": "--calibration-share 0 --teacher-max-length 24",
    "distil": f"{PACKAGED} --epochs 1 --layers 1 --width 16 --heads 2 --feed-forward 32",
}


@pytest.fixture
def followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with the files that the pages name: labelled, unlabeled, and a directory for bundles."""
    monkeypatch.chdir(tmp_path)
    write_reviews(Path("train.xlsx"), 64, seed=1)
    write_reviews(Path("test.xlsx"), 24, seed=2)
    texts = write_texts(Path("texts.txt"), 120).read_text().splitlines()
    pd.DataFrame({"text": texts}).to_parquet("unlabeled.parquet")
    return tmp_path


def follow(page: str, block: int, programs: list[str]) -> None:
    """Run the commands of this shell block of `page`, which are `programs`, each with what makes it small."""
    commands = shell_blocks(page)[block].commands
    assert [command.split()[:2] for command in commands] == [["review-training", program] for program in programs]
    for command in commands:
        _, program, *given = shlex.split(command)
        assert main([program, *given, *SMALL[program].split()]) == 0, command


def test_an_encoder_is_adapted_and_fine_tuned_as_its_page_says(followed: Path) -> None:
    """The adapted encoder is the base of a bundle, whose record names what it was adapted to."""
    make_masked_base(followed / "BASE")
    follow("docs/adapt.md", 0, ["adapt", "fit"])
    assert (followed / "bases/adapted/model.safetensors").is_file()
    assert "unlabeled.parquet" in (followed / "bundles/mine/run.json").read_text()


def test_a_student_learns_from_answers_as_its_page_says(followed: Path) -> None:
    """Without the teacher, which is gone by then; the record of the student names it."""
    make_base(followed / "BASE")
    write_tiny_bundle(followed / "bundles/teacher")
    follow("docs/distil.md", 1, ["answer", "distil"])
    assert list((followed / "answers/teacher").glob("part-*.parquet"))
    assert (followed / "bundles/student/manifest.json").is_file()


def test_a_student_learns_from_a_teacher_as_its_page_says(followed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bundle with torch weights teaches, and lends its layers where no base is named; packaging is tested above."""
    write_trained_bundle(followed / "bundles/teacher")
    made, command = shell_blocks("docs/distil.md")[0].commands
    assert "--keep int8,torch --out bundles/teacher" in made
    end_before_packaging(monkeypatch)
    finish([*shlex.split(command)[1:], *SMALL["distil"].split()])
    assert step_of(followed / "bundles/student.run") > 0
