"""Answers as data: a kill loses at most one file, no row that measures gets one, and a student needs no teacher."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.tiny_bundle import POISON, positive_probability, write_tiny_bundle
from tests.tiny_encoder import make_base, write_reviews, write_table
from tests.training_run import TrainedError, finish
from training.cli import main

pytestmark = [pytest.mark.training, pytest.mark.timeout(300)]

TRAINED, EXTRA, TESTED, SHARD = 240, 80, 40, 64
#: 108 of the rows: calibration takes at least 100.
SHARE = "0.45"
HELD, LEARNED = 108, 132


def texts_of(path: Path) -> list[str]:
    """The texts of a file of reviews."""
    from training.data.reviews import read_reviews

    return list(read_reviews(path).texts)


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A teacher whose answers are known, a base, labelled files, and texts some of which must not be answered."""
    directory = tmp_path_factory.mktemp("answer")
    write_tiny_bundle(directory / "teacher")
    make_base(directory / "base")
    write_reviews(directory / "train.xlsx", TRAINED, seed=11)
    write_reviews(directory / "test.xlsx", TESTED, seed=12)
    more = texts_of(write_reviews(directory / "more.xlsx", EXTRA, seed=13))
    tested, trained = texts_of(directory / "test.xlsx"), texts_of(directory / "train.xlsx")
    longest = max(tested[1:], key=len)
    lines = [*more, more[0].upper(), trained[0], trained[1], tested[0].upper(), f"{longest} plot", ""]
    (directory / "more.txt").write_text("\n".join(lines) + "\n")
    return directory


def arguments(directory: Path, out: Path, **changed: str) -> list[str]:
    """The command line that asks in `directory`; "" leaves an option out."""
    options = {
        "teacher": str(directory / "teacher"),
        "data": f"{directory / 'train.xlsx'} {directory / 'more.txt'}",
        "test": str(directory / "test.xlsx"),
        "out": str(out),
        "calibration-share": SHARE,
        "shard-rows": str(SHARD),
        "max-overlap": "0.06",
    }
    chosen = (options | changed).items()
    return ["answer", *(part for name, value in chosen if value for part in (f"--{name}", *value.split()))]


@pytest.fixture(scope="module")
def answers(workplace: Path) -> Path:
    """The answers of one whole call."""
    assert main(arguments(workplace, workplace / "answers")) == 0
    return workplace / "answers"


def refusal(capsys: pytest.CaptureFixture[str], command: Sequence[str]) -> str:
    """The one line that `command` ends with; fails unless it is a usage error."""
    assert main(command) == 2
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith("review-training: ")
    return last


def held_out(workplace: Path) -> set[str]:
    """The rows of the training file that a student holds out to calibrate on."""
    from training.data.holdout import held_out_rows
    from training.data.reviews import read_reviews

    train = read_reviews(workplace / "train.xlsx")
    return {train.texts[row] for row in held_out_rows(train.labels, float(SHARE), 42, "calibration")}


def stored(directory: Path) -> dict[int, float]:
    """For each digest, the logit of pos above that of neg."""
    from training.teachers.answer_files import read_columns

    found: dict[int, float] = {}
    for path in sorted(directory.glob("part-*.parquet")):
        digests, logits = read_columns(path, ("neg", "pos"))
        of_file = dict(zip(digests.tolist(), logits[:, 1].tolist(), strict=True))
        assert len(of_file) == len(digests)
        assert not found.keys() & of_file.keys(), "a text is answered twice"
        found |= of_file
    return found


def test_the_answers_are_those_of_the_teacher_to_what_a_student_learns_from(workplace: Path, answers: Path) -> None:
    """Each text once; none that is held out or in the test file, exactly or nearly."""
    from training.data.duplicates import digests

    held = held_out(workplace)
    assert len(held) == HELD
    wanted = [text for text in texts_of(workplace / "train.xlsx") if text not in held] + texts_of(
        workplace / "more.xlsx"
    )
    found = stored(answers)
    assert list(found) == digests(wanted).tolist()
    assert len(found) == LEARNED + EXTRA
    for text, logit in zip(wanted, found.values(), strict=True):
        assert 1 / (1 + np.exp(-logit)) == pytest.approx(positive_probability(text), abs=1e-3)


def test_the_files_are_small_and_hold_no_text(workplace: Path, answers: Path) -> None:
    """Ten bytes a text beside the header, which says all that the answers depend on."""
    from training.teachers.answer_files import read_header

    files = sorted(answers.iterdir())
    assert [path.name for path in files] == [f"part-{number:05d}.parquet" for number in range(1, 5)]
    whole = files[0].read_bytes()
    header = read_header(files[0])
    assert header is not None
    assert len(whole) - len(header.model_dump_json()) < 10 * SHARD + 500
    told = json.loads(pq.read_metadata(files[0]).metadata[b"review-answers"])
    assert told["labels"] == ["neg", "pos"]
    assert told["held_out"] == {"seed": 42, "calibration_share": float(SHARE), "validation_share": 0.0}
    assert [(part["file"], part["rows"]) for part in told["data"]] == [("train.xlsx", LEARNED), ("more.txt", EXTRA)]
    assert [part["file"] for part in told["tests"]] == ["test.xlsx"]
    assert {"teacher_sha256", "settings", "temperature", "version", "texts_sha256"} <= told.keys()
    words = ("actor", "music", "awful", "boring")
    assert not [word for path in files for word in words if word.encode() in path.read_bytes()]


KILLED_AFTER_TWO_SHARDS = """
import os, signal, sys
from training.cli import main
from training.teachers.answer_files import AnswerFiles

write, written = AnswerFiles.write, []

def counted(*given):
    write(*given)
    written.append(given)
    if len(written) == 2:
        os.kill(os.getpid(), signal.SIGKILL)

AnswerFiles.write = counted
main(sys.argv[1:])
"""


def test_a_killed_call_ends_in_the_same_bytes(
    workplace: Path, answers: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGKILL after the second file, the same command: it asks for the others, and all are those of one whole call."""
    from training.teachers import teacher

    # Given a call that is killed after two of four files
    command = arguments(workplace, tmp_path / "answers")
    done = subprocess.run(
        [sys.executable, "-c", KILLED_AFTER_TWO_SHARDS, *command],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        stderr=subprocess.DEVNULL,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL
    assert len(list((tmp_path / "answers").glob("part-*.parquet"))) == 2
    # When the command is given again
    asked: list[str] = []
    build = teacher._classifier

    def counting(*given: Any) -> Any:
        ask = build(*given)

        def counted(texts: Sequence[str]) -> Any:
            asked.extend(texts)
            return ask(texts)

        return counted

    with monkeypatch.context() as patched:
        patched.setattr(teacher, "_classifier", counting)
        assert main(command) == 0
    # Then it asks for what is missing, and ends in the same files, and nothing else
    assert len(asked) == LEARNED + EXTRA - 2 * SHARD
    found = {path.name: path.read_bytes() for path in (tmp_path / "answers").iterdir()}
    assert found == {path.name: path.read_bytes() for path in answers.iterdir()}
    said = capsys.readouterr()
    assert "2 files of answers are there: the teacher is asked for the other texts" in said.err
    assert f"{LEARNED + EXTRA} answers, in 4 files" in said.out
    # A file that is cut off is asked for again
    third = tmp_path / "answers" / "part-00003.parquet"
    third.write_bytes(third.read_bytes()[:-9])
    assert main(command) == 0
    assert third.read_bytes() == found[third.name]


def test_another_teacher_setting_or_text_does_not_resume(
    workplace: Path, answers: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The message names what differs, and the answers stay as they are."""
    write_tiny_bundle(tmp_path / "other", scale=2.0)
    before = {path: path.read_bytes() for path in answers.iterdir()}
    for changed, words in (
        ({"teacher": str(tmp_path / "other")}, "with another teacher_sha256: give"),
        ({"teacher-max-length": "20"}, "with another max_length: give"),
        ({"numbers": "float32"}, "with another numbers: give"),
        ({"seed": "7"}, "held_out, texts_sha256: give"),
        ({"data": str(workplace / "train.xlsx")}, "with another data, texts, texts_sha256: give"),
    ):
        line = refusal(capsys, arguments(workplace, answers, **changed))
        assert words in line
        assert line.endswith("to resume it, or name another --out")
    assert {path: path.read_bytes() for path in answers.iterdir()} == before


def test_texts_that_measure_are_refused(workplace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The test file under whatever name, too many of its texts, and a teacher that was trained on it."""
    out = tmp_path / "out"
    (tmp_path / "other.xlsx").write_bytes((workplace / "test.xlsx").read_bytes())
    for changed, words in (
        ({"data": str(tmp_path / "other.xlsx")}, "is the test file"),
        ({"data": "", "unlabeled": str(tmp_path / "other.xlsx")}, "is the test file"),
        ({"max-overlap": ""}, "5.0% of the test texts occur in more.txt, more than 2.0%"),
        ({"data": ""}, "there are no texts to ask the teacher for"),
        ({"teacher": str(workplace / "base")}, "is not a sequence classifier"),
        ({"teacher": str(tmp_path / "none")}, "does not exist: give --teacher"),
        ({"window-overlap": "0.2"}, "window_overlap and max_windows need windows"),
    ):
        assert words in refusal(capsys, arguments(workplace, out, **changed))
    labels = [("Reviews", "Sentiment"), *((f"a film number {row}", ("yes", "no")[row % 2]) for row in range(20))]
    write_table(tmp_path / "labels.xlsx", labels)
    line = refusal(capsys, arguments(workplace, out, data=str(tmp_path / "labels.xlsx")))
    assert "answers neg, pos, but the training file has no, yes" in line
    assert not out.exists()
    with pytest.raises(SystemExit):
        main(arguments(workplace, out, test=""))
    assert "one of the arguments --test --no-test is required" in capsys.readouterr().err


def distil(workplace: Path, **changed: str) -> list[str]:
    """The command line of a student of the same files, of which the texts that measure it are left out."""
    options = {
        "train": "train.xlsx",
        "test": "test.xlsx",
        "unlabeled": "more.txt",
        "base": "base",
        "out": "student",
        "teacher-cache": "cache",
    }
    options = {name: str(workplace / path) for name, path in options.items()} | {
        "layers": "1",
        "width": "16",
        "heads": "2",
        "feed-forward": "32",
        "vocabulary": "24",
        "train-max-length": "24",
        "max-length": "48",
        "max-overlap": "0.06",
        "calibration-share": SHARE,
    }
    chosen = (options | changed).items()
    return ["distil", *(part for name, value in chosen if value for part in (f"--{name}", *value.split()))]


def lesson_of(command: Sequence[str], monkeypatch: pytest.MonkeyPatch) -> tuple[Any, Any, Any]:
    """What `command` would train on: its rows, the logits, and the identity of the run."""
    from training import distil

    def stop(_model: Any, lesson: Any, _settings: Any, saving: Any, **_: Any) -> None:
        lessons.append((lesson.rows, lesson.objective._taught.logits.numpy(), saving.identity))
        raise TrainedError

    lessons: list[tuple[Any, Any, Any]] = []
    with monkeypatch.context() as patched:
        patched.setattr(distil, "train", stop)
        finish(command)
    return lessons[0]


def test_a_student_learns_the_same_without_its_teacher(
    workplace: Path, answers: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows, labels and logits are those of a run that asks the teacher, to the digits that are stored."""
    rows, logits, there = lesson_of(distil(workplace, teacher=str(workplace / "teacher")), monkeypatch)
    own_rows, own_logits, away = lesson_of(distil(workplace, answers=str(answers)), monkeypatch)
    assert len(rows.reviews) == LEARNED + EXTRA
    assert own_rows.labels == rows.labels
    for one, other in zip(own_rows.reviews, rows.reviews, strict=True):
        assert np.array_equal(one.windows[0], other.windows[0])
    assert own_logits == pytest.approx(logits, abs=5e-3)
    assert away["teachers"] == there["teachers"]
    # However the answers are cut into files, it is the same run; of other answers it is not
    parts = " ".join(map(str, sorted(answers.iterdir(), reverse=True)))
    assert lesson_of(distil(workplace, answers=parts), monkeypatch)[2] == away
    # And beside a teacher that is here, the mean of both is learned
    both = distil(workplace, teacher=str(workplace / "teacher"), answers=str(answers))
    _, mean, identity = lesson_of(both, monkeypatch)
    assert mean == pytest.approx(logits, abs=5e-3)
    assert len(identity["teachers"]) == 2


def test_several_teachers_are_averaged_and_each_is_named(
    workplace: Path, answers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files of one teacher belong together; a second one answers with its own labels in its own order."""
    from training.data.duplicates import digests
    from training.teachers.answer_files import read_header
    from training.teachers.answered import AbsentTeacher

    write_tiny_bundle(tmp_path / "other", scale=3.0)
    assert main(arguments(workplace, tmp_path / "answers", teacher=str(tmp_path / "other"))) == 0
    _, one, _ = lesson_of(distil(workplace, answers=str(answers)), monkeypatch)
    _, other, _ = lesson_of(distil(workplace, answers=str(tmp_path / "answers")), monkeypatch)
    _, both, identity = lesson_of(distil(workplace, answers=f"{answers} {tmp_path / 'answers'}"), monkeypatch)
    assert both == pytest.approx((one + other) / 2, abs=1e-4)
    assert np.abs(one - other).max() > 1
    assert len(identity["teachers"]) == 2
    # Labels in another order are put into that of the student
    header = read_header(answers / "part-00001.parquet")
    assert header is not None
    known = digests(["a film", "a plot"])
    order = np.argsort(known)
    logits = np.array([[0, 3], [0, -1]], dtype=np.float32)[order]
    teacher = AbsentTeacher(header.model_copy(update={"labels": ("pos", "neg")}), known[order], logits)
    found = teacher.answers(digests(["A  plot", "nothing", "a film"]), ("neg", "pos"))
    assert found[[0, 2]].tolist() == [[-1, 0], [3, 0]]
    assert np.isnan(found[1]).all()


def test_rows_without_an_answer_are_counted_and_refused_or_learned_by_their_label(
    workplace: Path, answers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file that is missing, or texts that were never asked for."""
    # Given all files but the first and the last, with 64 labelled rows and 20 without a label
    kept = sorted(answers.iterdir())[1:3]
    command = distil(workplace, answers=" ".join(map(str, kept)))
    line = refusal(capsys, command)
    assert "84 of 212 texts to train on (39.6%) have no answer, more than 2.0%" in line
    # When more is allowed, then these rows are left out
    rows, logits, identity = lesson_of([*command, "--max-unanswered", "0.4"], monkeypatch)
    assert len(rows.reviews) == len(logits) == 128
    assert np.isfinite(logits).all()
    assert "0 of them teach their label alone, 84 are left out" in capsys.readouterr().err
    # And on request the labelled ones teach their label
    rows, logits, other = lesson_of([*command, "--label-unanswered"], monkeypatch)
    assert len(rows.reviews) == 192
    assert np.isnan(logits).all(axis=1).tolist() == [True] * 64 + [False] * 128
    assert set(rows.labels[:64]) == {0, 1}
    assert "64 of them teach their label alone, 20 are left out" in capsys.readouterr().err
    assert identity["answers_sha256"] != other["answers_sha256"]
    # Without a weight of labels they would teach nothing
    line = refusal(capsys, [*command, "--label-unanswered", "--label-weight", "0"])
    assert "--label-unanswered learns labels, whose --label-weight is 0" in line


def test_a_row_without_an_answer_adds_only_its_label_to_the_loss() -> None:
    """The loss of a step stays the mean over all rows."""
    import torch

    from training.encoders.objective import UNLABELED, Outputs
    from training.settings import DistilSettings
    from training.teachers.distillation import Distillation, Taught, soft_loss

    ours = torch.tensor([[1.0, 2.0], [0.5, -1.0], [0.0, 3.0]])
    theirs = torch.tensor([[2.0, 0.0], [float("nan")] * 2, [0.0, 1.0]])
    settings = DistilSettings(label_weight=0.5)
    loss = Distillation(Taught(theirs), settings).total(Outputs(ours, torch.tensor([1, 0, UNLABELED])), [0, 1, 2])
    labels = torch.nn.functional.cross_entropy(ours[:2], torch.tensor([1, 0]), reduction="sum")
    expected = soft_loss(ours[[0, 2]], theirs[[0, 2]], 2.0) + 0.5 * labels
    assert loss.item() == pytest.approx(expected.item())


def test_answers_to_rows_that_measure_the_student_are_refused(
    workplace: Path, answers: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With other rows held out, or another test file, than those that were left out when the teacher was asked."""
    line = refusal(capsys, distil(workplace, answers=str(answers), seed="7"))
    assert "rows that are held out here; it was asked with --seed 42 --calibration-share 0.45" in line
    rows = enumerate(texts_of(workplace / "more.xlsx")[:40])
    more = [("Reviews", "Sentiment"), *((text, ("neg", "pos")[row % 2]) for row, text in rows)]
    write_table(tmp_path / "test.xlsx", more)
    line = refusal(capsys, distil(workplace, answers=str(answers), test=str(tmp_path / "test.xlsx"), unlabeled=""))
    assert "include 40 of the 40 texts of test.xlsx, which measures the student: ask again with --test" in line


def test_what_files_of_answers_cannot_give_is_refused(
    workplace: Path, answers: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Layers, hidden states, other labels; damaged or foreign files; a student without any teacher."""
    damaged = tmp_path / "part-00001.parquet"
    damaged.write_bytes((answers / "part-00001.parquet").read_bytes()[:-9])
    (tmp_path / "empty").mkdir()
    given = str(answers)
    foreign = tmp_path / "foreign.parquet"
    pq.write_table(pq.read_table(answers / "part-00001.parquet").replace_schema_metadata({}), foreign)
    for changed, words in (
        ({}, "a student needs a teacher: give --teacher a model, or --answers"),
        ({"answers": given, "base": ""}, "a file of answers has no layers that a student could start from"),
        ({"answers": given, "hidden-weight": "1"}, "a file of answers has no hidden states: add another --teacher"),
        ({"answers": str(tmp_path / "none")}, "does not exist: name files or directories that review-training answer"),
        ({"answers": str(tmp_path / "empty")}, "has no files named part-*.parquet"),
        ({"answers": str(damaged)}, "is damaged: remove it and repeat the command that wrote it"),
        ({"answers": str(foreign)}, "has no answers of review-training answer"),
        (
            {"answers": given, "labels": "neg=bad,pos=good"},
            "has answers for neg, pos, but the training file has bad, good",
        ),
    ):
        assert words in refusal(capsys, distil(workplace, **changed))


def test_a_text_that_the_teacher_fails_on_is_stored_as_such(
    tmp_path: Path, workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is counted, not asked for again, and of a folder each file is one text."""
    (tmp_path / "unsup").mkdir()
    for number in range(12):
        (tmp_path / "unsup" / f"{number}.txt").write_text(f"the film was {'good ' * number}\n{number}")
    (tmp_path / "unsup" / "13.txt").write_text(f"the film was {POISON}")
    command = ["answer", "--teacher", str(workplace / "teacher"), "--data", str(tmp_path / "unsup"), "--no-test"]
    command += ["--out", str(tmp_path / "out"), "--numbers", "float32"]
    for _ in range(2):
        assert main(command) == 0
        assert "out: 13 answers, 1 of which it failed on, in 1 files" in capsys.readouterr().out
    logits = list(stored(tmp_path / "out").values())
    assert sum(map(np.isnan, logits)) == 1
    assert max(logits[:12]) == pytest.approx(22.5, abs=0.01)


def test_the_longest_texts_of_a_file_are_asked_first_and_the_answers_keep_their_order(tmp_path: Path) -> None:
    """Sorted by length, texts need little padding; who asks sees nothing of it."""
    from training.teachers.shards import ASKED_AT_ONCE, _ask_sorted
    from training.teachers.teacher import Answers

    seen: list[int] = []
    shown: list[int] = []

    def ask(texts: Sequence[str]) -> Answers:
        seen.append(len(texts))
        lengths.extend(map(len, texts))
        return Answers(np.array([[0, len(text)] for text in texts], dtype=np.float32))

    lengths: list[int] = []
    texts = ["x" * (7 * row % 601) for row in range(600)]
    found = _ask_sorted(ask, texts, shown.append)
    assert found.logits[:, 1].tolist() == list(map(len, texts))
    assert lengths == sorted(lengths, reverse=True)
    assert seen == [ASKED_AT_ONCE, ASKED_AT_ONCE, 600 - 2 * ASKED_AT_ONCE]
    assert shown == [256, 512, 600]
