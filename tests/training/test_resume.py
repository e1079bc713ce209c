"""A killed run with every option, and a run of two processes, end in the weights of an undisturbed run."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from tests.tiny_encoder import make_base, write_reviews
from tests.training_run import (
    CHECKPOINT,
    end_before_packaging,
    finish,
    kill_after,
    largest_difference,
    record_in,
    step_of,
    weights_of,
    with_two_processes,
)
from training.cli import main

pytestmark = [pytest.mark.training, pytest.mark.timeout(300)]

SETTINGS = {
    "epochs": "4",
    "batch-size": "16",
    "micro-batch-tokens": "96",
    "learning-rate": "0.003",
    "policy": "sgdr",
    "cycle-length": "2",
    "select": "loss",
    "validation-share": "0.2",
    "class-weights": "balanced",
    "freeze": "1",
    "precision": "fp32",
    "train-max-length": "24",
    "max-length": "48",
    "checkpoint-minutes": "0",
}
STEPS_PER_EPOCH, STEPS = 10, 40  # 66 rows of each label, 13 of them held out


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A directory with a base model and two files of reviews; on one thread, as the processes below."""
    import torch

    directory = tmp_path_factory.mktemp("resume")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    make_base(directory / "base")
    write_reviews(directory / "train.xlsx", 198, seed=1, labels=("neg", "pos", "good"))
    write_reviews(directory / "test.xlsx", 30, seed=2, labels=("neg", "pos", "good"))
    yield directory
    torch.set_num_threads(threads)


def arguments(directory: Path, run: str, **changed: str) -> list[str]:
    """The command line of a fit in `directory` whose state is in `run`."""
    files = {name: str(directory / file) for name, file in (("train", "train.xlsx"), ("test", "test.xlsx"))}
    options = files | {
        "base": str(directory / "base"),
        "out": str(directory / "out"),
        "checkpoints": str(directory / run),
    }
    return ["fit", *(part for name, value in (options | SETTINGS | changed).items() for part in (f"--{name}", value))]


@pytest.fixture
def train_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fit in this process ends before packaging."""
    end_before_packaging(monkeypatch)


def test_a_killed_run_with_every_option_resumes_to_the_same_weights(
    workplace: Path, train_only: None, capsys: pytest.CaptureFixture[str]
) -> None:
    """SIGKILL in the third epoch, the same command again: last weights, best weights and curves are the same."""
    # Given a run to its end, and one that is killed between two steps
    finish(arguments(workplace, "whole"))
    killed_at = kill_after(arguments(workplace, "killed"), workplace / "killed", 2 * STEPS_PER_EPOCH)
    assert 2 * STEPS_PER_EPOCH < killed_at < STEPS
    # When the command is given again
    finish(arguments(workplace, "killed"))
    # Then it resumed, and ended where the other run did
    assert "training resumes at step" in capsys.readouterr().err
    (best,) = (path.name for path in (workplace / "whole").glob("best-*"))
    for file in (CHECKPOINT, best):
        assert weights_of(workplace / "killed", file) == weights_of(workplace / "whole", file)
    whole, killed = (record_in(workplace / run / "record.json") for run in ("whole", "killed"))
    assert [epoch.validation for epoch in killed.epochs] == [epoch.validation for epoch in whole.epochs]
    assert [epoch.train_loss for epoch in killed.epochs] == [epoch.train_loss for epoch in whole.epochs]
    assert killed.packaged_epoch == whole.packaged_epoch
    # And what chose the epoch was not trained on
    rows = {name: part.rows for name, part in killed.data.items()}
    assert rows == {"train": 159, "validation": 39, "test": 30}
    assert killed.epochs[-1].step == STEPS


@pytest.mark.parametrize("command", ["fit", "distil"])
def test_a_second_run_in_the_same_directory_is_refused(
    workplace: Path, command: str, train_only: None, capsys: pytest.CaptureFixture[str]
) -> None:
    """The two would overwrite each other's checkpoints; when the first one ends, the second may begin."""
    from training.encoders.parallel import the_only_run

    # Given a directory in which another run is active
    command_line = arguments(workplace, f"shared-{command}", epochs="0.1")
    if command == "distil":
        command_line = ["distil", *command_line[1:], "--teacher", "nbsvm", "--student", "half"]
    with the_only_run("--checkpoints", workplace / f"shared-{command}"):
        # When the same command is given, then it is refused in one line, and nothing is trained
        assert main(command_line) == 2
        error = capsys.readouterr().err
        assert f"another run is active in {workplace / f'shared-{command}'}" in error
        assert "training starts" not in error
        assert step_of(workplace / f"shared-{command}") == 0
    # And once that run has ended it trains
    finish(command_line)
    assert "training starts" in capsys.readouterr().err


def test_two_processes_end_where_one_does(workplace: Path, train_only: None) -> None:
    """Two real processes of torchrun, over Gloo: the losses, metrics and weights of one process, up to rounding."""
    # Given one run in this process
    finish(arguments(workplace, "one", epochs="1"))
    # When two processes share the same run, then only the first logs and packages
    out, err = with_two_processes(
        arguments(workplace, "two", epochs="1", **{"calibration-texts": "12", "keep": "int8"})
    )
    assert err.count("training starts: ") == out.count("accuracy ") == 1
    # And it has trained the same
    one, two = (record_in(workplace / run / "record.json") for run in ("one", "two"))
    assert (one.machine.processes, two.machine.processes) == (1, 2)
    for alone, shared in zip(one.epochs, two.epochs, strict=True):
        assert shared.train_loss == pytest.approx(alone.train_loss, rel=1e-4)
        assert alone.validation is not None
        assert shared.validation is not None
        assert shared.validation.loss == pytest.approx(alone.validation.loss, rel=1e-3)
    assert largest_difference(workplace / "one", workplace / "two") < 1e-4


def test_more_processes_than_reviews_in_a_step_are_refused(tmp_path: Path) -> None:
    """A process without a review could not take part in the step."""
    from consumer.errors import UsageError
    from training.encoders.parallel import Ranks
    from training.loop.run import Saving, begin
    from training.settings import FitSettings

    settings = FitSettings(batch_size=2)
    with pytest.raises(UsageError, match="3 processes cannot share batches of 2"):
        begin(settings, Saving(tmp_path, {}, 1), Ranks(rank=1, size=3))


def test_only_the_first_process_reports_an_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A wrong file is reported once, not once per process; the exit code is the same in each."""
    from training.encoders.parallel import only_the_first_talks

    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "test")
    command = ["fit", "--train", "none.xlsx", "--test", "none.xlsx", "--out", "bundle"]
    monkeypatch.setenv("RANK", "1")
    with pytest.raises(SystemExit) as stopped:
        main(command)
    assert stopped.value.code == 2
    with pytest.raises(SystemExit) as interrupted, only_the_first_talks():
        raise KeyboardInterrupt
    assert interrupted.value.code == 130
    assert capsys.readouterr() == ("", "")
    monkeypatch.setenv("RANK", "0")
    assert main(command) == 2
    assert "none.xlsx does not exist" in capsys.readouterr().err


def test_a_rate_that_is_far_too_high_is_refused_with_the_last_good_checkpoint(
    workplace: Path, train_only: None, capsys: pytest.CaptureFixture[str]
) -> None:
    """The loss becomes NaN: one line says what to do, and no broken weights are written."""
    from safetensors.torch import load_file

    assert main(arguments(workplace, "hot", **{"learning-rate": "1e30"})) == 2
    assert "train again with a lower --learning-rate" in capsys.readouterr().err
    saved = load_file(workplace / "hot" / "checkpoint.safetensors")
    assert step_of(workplace / "hot") > 0
    assert all(tensor.isfinite().all() for tensor in saved.values())


def test_a_run_on_a_full_disk_gives_up_and_resumes_once_there_is_room(
    workplace: Path, train_only: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The third checkpoint does not fit: exit code 5, and the same command resumes from the intact second one."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    def full(*given: Any, **named: Any) -> None:
        if step_of(workplace / "full") == 2:
            raise SafetensorError("I/O error: No space left on device (os error 28)")
        save_file(*given, **named)

    with monkeypatch.context() as patched:
        patched.setattr("training.loop.checkpoint.save_file", full)
        assert main(arguments(workplace, "full", epochs="1")) == 5
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert "checkpoint.safetensors cannot be written (I/O error: No space left on device" in line
    assert line.endswith("; if it saves its progress, it resumes")
    assert step_of(workplace / "full") == 2
    finish(arguments(workplace, "full", epochs="1"))
    assert "training resumes at step 2 of" in capsys.readouterr().err


def test_a_checkpoint_that_cannot_be_opened_does_not_count_as_missing(tmp_path: Path) -> None:
    """Below a file none can be written either: the error comes at the start, not after the first epoch."""
    from consumer.errors import UsageError
    from training.loop.checkpoint import read_header

    (tmp_path / "file").write_text("")
    assert read_header(tmp_path / "none") is None
    with pytest.raises(UsageError, match=r"cannot be read \(Not a directory\): .* with --checkpoints"):
        read_header(tmp_path / "file" / "run")


def test_a_checkpoint_of_an_older_version_is_refused(
    workplace: Path, train_only: None, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its identity cannot be compared: one line says so, and the file is left alone."""
    from safetensors.torch import load_file, save_file

    from training.loop import checkpoint

    # Given a checkpoint as an older version wrote it, without a format
    finish(arguments(workplace, "old", epochs="0.2"))
    file, header = workplace / "old" / CHECKPOINT, checkpoint.read_header(workplace / "old")
    assert header is not None
    save_file(load_file(file), file, {"identity": json.dumps(header[0]), "progress": json.dumps(asdict(header[1]))})
    before = file.read_bytes()
    capsys.readouterr()
    # When the same command is given again, then it is refused
    assert main(arguments(workplace, "old", epochs="0.2")) == 2
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert f"{file} was written by another version: remove {workplace / 'old'}, or name another directory with" in line
    assert file.read_bytes() == before


def test_a_run_out_of_memory_says_what_to_lower_and_resumes_with_it(
    workplace: Path, train_only: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A long review late in the epoch is too much for the GPU: one line, and no training so far is lost."""
    import torch
    from transformers import DistilBertForSequenceClassification

    forward = DistilBertForSequenceClassification.forward

    def too_much(self: Any, *given: Any, **named: Any) -> Any:
        if step_of(workplace / "large") == 3:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")
        return forward(self, *given, **named)

    with monkeypatch.context() as patched:
        patched.setattr(DistilBertForSequenceClassification, "forward", too_much)
        assert main(arguments(workplace, "large", epochs="1")) == 2
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert "lower --micro-batch-tokens, which is 96; the command then resumes from the last checkpoint" in line
    finish(arguments(workplace, "large", epochs="1", **{"micro-batch-tokens": "48"}))
    assert "training resumes at step 3 of 10" in capsys.readouterr().err
