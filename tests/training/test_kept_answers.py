"""Answers from before a kill are not computed again, and no other answers are taken for them."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.tiny_bundle import seal, write_tiny_bundle
from tests.tiny_encoder import make_base, write_reviews
from training.cli import main

pytestmark = [pytest.mark.training, pytest.mark.timeout(300)]

TEXTS = tuple(f"the film was {'good ' * (i % 5)}{'bad ' * (i % 3)}{i}" for i in range(700))


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle whose answers are known."""
    return write_tiny_bundle(tmp_path_factory.mktemp("kept") / "tiny")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every text that any classifier is asked for, in order."""
    from consumer.model.classifier import Classifier

    seen: list[str] = []
    classify = Classifier.classify

    def counted(self: Classifier, texts: Sequence[str], *others: Any) -> Any:
        seen.extend(texts)
        return classify(self, texts, *others)

    monkeypatch.setattr(Classifier, "classify", counted)
    return seen


def measure(bundle: Path, kept: Path, texts: Sequence[str] = TEXTS, variant: str = "fp32") -> Any:
    """Its answers to `texts`."""
    from training.measure.evaluate import classify_all, open_classifier

    with open_classifier(bundle, variant) as classifier:
        return classify_all(classifier, texts, "measuring", kept)


KILLED_IN_THE_THIRD_CHUNK = """
import os, signal, sys
from pathlib import Path
from tests.training import test_kept_answers as t
from training.measure.answering.kept_answers import KeptAnswers

append, written = KeptAnswers.append, []

def counted(self, answers):
    written.append(answers)
    if len(written) < 3:
        return append(self, answers)
    append(self, answers[:100])
    with self._path.open("a") as file:
        file.write('{"label": "pos", "sc')
    os.kill(os.getpid(), signal.SIGKILL)

KeptAnswers.append = counted
t.measure(Path(sys.argv[1]), Path(sys.argv[2]))
"""


def stopped(*_: Any) -> None:
    """Ctrl-C."""
    raise KeyboardInterrupt


def test_measuring_resumes_after_a_kill_and_asks_for_no_whole_chunk_twice(
    bundle: Path, tmp_path: Path, asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGKILL within the third chunk's lines: only that chunk is asked for again, and the answers are the same."""
    # Given a process that is killed while it writes the third of three chunks
    done = subprocess.run(
        [sys.executable, "-c", KILLED_IN_THE_THIRD_CHUNK, str(bundle), str(tmp_path / "kept")],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        stderr=subprocess.DEVNULL,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL
    (path,) = (tmp_path / "kept").iterdir()
    assert path.read_text("utf-8").count("\n") == 612
    # When the next one is stopped while it removes that chunk, then nothing is lost
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", stopped)
        with pytest.raises(KeyboardInterrupt):
            measure(bundle, tmp_path / "kept")
    assert path.read_text("utf-8").count("\n") == 612
    # When another one resumes
    found = measure(bundle, tmp_path / "kept")
    # Then it asks for the third chunk
    assert asked == list(TEXTS[512:])
    assert found == measure(bundle, tmp_path / "in one go")
    # And a third one asks for nothing
    asked.clear()
    assert measure(bundle, tmp_path / "kept") == found
    assert asked == []


def test_two_processes_that_measure_the_same_at_once_leave_nothing_wrong(
    bundle: Path, tmp_path: Path, asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both write the first chunk, one after the other: the third process uses it once, and asks for the rest."""
    from training.measure.answering.kept_answers import KeptAnswers

    append = KeptAnswers.append

    def overtaken(self: KeptAnswers, answers: Sequence[Any]) -> None:
        monkeypatch.setattr(KeptAnswers, "append", stopped_behind_it)
        with pytest.raises(KeyboardInterrupt):
            measure(bundle, tmp_path / "kept")
        monkeypatch.setattr(KeptAnswers, "append", append)
        append(self, answers)

    def stopped_behind_it(self: KeptAnswers, answers: Sequence[Any]) -> None:
        append(self, answers)
        raise KeyboardInterrupt

    # Given one that has asked for its first chunk when another keeps the same chunk and is stopped
    in_one_go = measure(bundle, tmp_path / "in one go")
    monkeypatch.setattr(KeptAnswers, "append", overtaken)
    assert measure(bundle, tmp_path / "kept") == in_one_go
    (path,) = (tmp_path / "kept").iterdir()
    assert path.read_text("utf-8").count("\n") == 956
    # When a third one measures, then it answers as one that was alone
    asked.clear()
    assert measure(bundle, tmp_path / "kept") == in_one_go
    assert asked == list(TEXTS[256:])
    # And what it leaves is whole
    asked.clear()
    assert measure(bundle, tmp_path / "kept") == in_one_go
    assert asked == []


@pytest.mark.parametrize("line", ['{"label": "pos", "score": 0.9}', "null", "[]", '{"row": 0}'])
def test_lines_without_a_row_number_are_not_used(bundle: Path, tmp_path: Path, asked: list[str], line: str) -> None:
    """An older version wrote such lines: all texts are asked for again, and the file is rewritten."""
    # Given a file of such lines
    found = measure(bundle, tmp_path / "kept")
    (path,) = (tmp_path / "kept").iterdir()
    path.write_text(f"{line}\n" * len(TEXTS))
    # When the same is measured, then its answers are not those lines
    for expected in (list(TEXTS), []):
        asked.clear()
        assert measure(bundle, tmp_path / "kept") == found
        assert asked == expected
    assert path.read_text("utf-8").count("\n") == len(TEXTS)


def test_answers_of_another_model_setting_or_text_are_not_taken(bundle: Path, tmp_path: Path, asked: list[str]) -> None:
    """Each change asks again; a new name or date of the same model does not."""
    measure(bundle, tmp_path / "kept")
    longer = write_tiny_bundle(tmp_path / "longer")
    seal(longer, max_length=20)
    other = write_tiny_bundle(tmp_path / "other")
    weights = next(other.rglob("fp32.bin"))
    weights.write_bytes(weights.read_bytes() + bytes(8))
    seal(other)
    renamed = write_tiny_bundle(tmp_path / "renamed")
    seal(renamed, name="renamed", version="2")
    for changed, texts, variant, again in (
        (longer, TEXTS, "fp32", True),
        (other, TEXTS, "fp32", True),
        (bundle, (*TEXTS[:-1], "the film was great"), "fp32", True),
        (bundle, TEXTS, "int8", True),
        (renamed, TEXTS, "fp32", False),
    ):
        asked.clear()
        measure(changed, tmp_path / "kept", texts, variant)
        assert len(asked) == (700 if again else 0)


def test_evaluate_asks_for_no_text_twice_where_answers_are_kept(
    bundle: Path, tmp_path: Path, asked: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """The second time it asks for golden texts only, and reports the same."""
    data = write_reviews(tmp_path / "test.xlsx", 40, seed=2)
    command = ["evaluate", "--bundle", str(bundle), "--data", str(data), "--keep-answers"]
    told, counts = [], []
    for _ in range(2):
        asked.clear()
        assert main([*command, str(tmp_path / "kept")]) == 0
        told.append(capsys.readouterr().out)
        counts.append(len(asked))
    assert counts[0] - counts[1] == 40
    assert told[0] == told[1]
    assert main([*command, str(data)]) == 2
    assert "test.xlsx cannot be written (Not a directory)" in capsys.readouterr().err


def test_a_run_that_is_stopped_while_it_measures_resumes_there(
    tmp_path: Path, asked: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ctrl-C after 256 of 300 test rows: one line; then the same command trains and measures nothing twice."""
    from training.measure.answering.kept_answers import KeptAnswers

    make_base(tmp_path / "base")
    train = write_reviews(tmp_path / "train.xlsx", 96, seed=1)
    test = write_reviews(tmp_path / "test.xlsx", 300, seed=2)
    files = [
        "--train",
        str(train),
        "--test",
        str(test),
        "--base",
        str(tmp_path / "base"),
        "--out",
        str(tmp_path / "out"),
    ]
    sizes = [
        "--epochs",
        "1",
        "--max-length",
        "48",
        "--train-max-length",
        "24",
        "--gate-rows",
        "40",
        "--max-overlap",
        "1",
    ]
    command = ["fit", *files, *sizes, "--calibration-texts", "12", "--keep", "int8"]
    append = KeptAnswers.append

    def interrupted(self: KeptAnswers, answers: Sequence[Any]) -> None:
        append(self, answers)
        if len(answers) == 256:
            raise KeyboardInterrupt

    # Given a run that is stopped while int8 is measured
    with monkeypatch.context() as patch:
        patch.setattr(KeptAnswers, "append", interrupted)
        assert main(command) == 130
    assert capsys.readouterr().err.endswith("stopped while the bundle is made; the same command resumes there\n")
    assert not (tmp_path / "out").exists()
    before = len(asked)
    assert before >= 40 + 256
    # When the command is given again
    assert main(command) == 0
    # Then it asks for the test rows that are left, and the golden texts
    told = capsys.readouterr()
    assert "training resumes at step" in told.err
    left = [text for text in asked[before:] if text in asked[40:before]]
    assert left == []
    assert (tmp_path / "out" / "manifest.json").is_file()


def test_answers_of_one_text_format_are_not_taken_for_those_of_another(
    bundle: Path, tmp_path: Path, asked: list[str]
) -> None:
    """The same weights read other texts: all of them are asked again."""
    measure(bundle, tmp_path / "kept")
    newer = seal(Path(shutil.copytree(bundle, tmp_path / "newer")), format=2)
    measure(newer, tmp_path / "kept")
    assert len(asked) == 2 * len(TEXTS)
