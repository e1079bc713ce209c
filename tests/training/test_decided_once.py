"""What depends on timing or hardware is decided by the first process when a run begins, and kept until its end."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from consumer.errors import UsageError
from tests.tiny_encoder import make_base, write_reviews
from tests.tiny_trained import write_trained_bundle
from tests.training_run import CHECKPOINT, end_before_packaging, finish, interrupt_after, record_in, weights_of
from training.cli import main
from training.loop import checkpoint

pytestmark = [pytest.mark.training, pytest.mark.timeout(300)]

SETTINGS = {
    "epochs": "1",
    "batch-size": "16",
    "micro-batch-tokens": "96",
    "learning-rate": "0.003",
    "train-max-length": "24",
    "max-length": "48",
    "checkpoint-minutes": "0",
}


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A directory with a base model, a teacher and two files of reviews; on one thread."""
    import torch

    directory = tmp_path_factory.mktemp("decided")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    make_base(directory / "base")
    write_trained_bundle(directory / "teacher")
    write_reviews(directory / "train.xlsx", 132, seed=1)
    write_reviews(directory / "test.xlsx", 30, seed=2)
    yield directory
    torch.set_num_threads(threads)


def arguments(directory: Path, run: str, **changed: str) -> list[str]:
    """The command line of a fit in `directory` whose state is in `run`."""
    options = {
        "train": str(directory / "train.xlsx"),
        "test": str(directory / "test.xlsx"),
        "base": str(directory / "base"),
        "out": str(directory / "out"),
        "checkpoints": str(directory / run),
    }
    return ["fit", *(part for name, value in (options | SETTINGS | changed).items() for part in (f"--{name}", value))]


def time_bf16_as(faster: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the timing of this process come out so."""
    monkeypatch.setattr("training.encoders.device.bf16_is_faster_on_this_cpu", lambda: faster)


def decided_in(run: Path) -> str:
    """The precision in the checkpoint of `run`."""
    header = checkpoint.read_header(run)
    assert header is not None
    return header[1].settled.precision


#: Run by torchrun: the second process finds bf16 faster, and has other weights to begin with.
DISAGREEING = """
import os, sys
import torch
import training.fine_tuning, training.plan
from training.cli import main
from training.encoders import device

first = os.environ["RANK"] == "0"
device.bf16_is_faster_on_this_cpu = lambda: not first
load = training.fine_tuning.load_classifier

def other(*given):
    model = load(*given)
    if not first:
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.01)
    return model

training.fine_tuning.load_classifier = other
training.plan.package = lambda *_, **__: sys.exit(0)
main(sys.argv[1:])
"""


def test_two_processes_with_disagreeing_timings_and_weights_train_as_one(
    workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second process takes precision and weights of the first, so both end in the weights of one process."""
    # Given a run in this process, which finds fp32 faster
    time_bf16_as(False, monkeypatch)
    with monkeypatch.context() as patched:
        end_before_packaging(patched)
        finish(arguments(workplace, "one"))
    # When two processes share the same run, and the second one finds bf16 faster and has drawn other weights
    (workplace / "disagreeing.py").write_text(DISAGREEING)
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*launcher, str(workplace / "disagreeing.py"), *arguments(workplace, "two")],
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    # Then they train what the one did, up to the order of additions
    from safetensors.torch import load_file

    one, two = (load_file(workplace / run / CHECKPOINT) for run in ("one", "two"))
    weights = [name for name in one if name.startswith("model.")]
    assert len(weights) > 10
    assert max(float((one[name] - two[name]).abs().max()) for name in weights) < 1e-5
    assert decided_in(workplace / "two") == "fp32"
    assert "--precision auto: the run computes in fp32" in done.stderr
    assert record_in(workplace / "two" / "record.json").machine.processes == 2


def test_a_resumed_run_keeps_its_precision(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Resumed where the timing comes out differently, it ends in the weights of an undisturbed run."""
    end_before_packaging(monkeypatch)
    # Given a run that found bf16 faster, and one that was stopped after three steps
    time_bf16_as(True, monkeypatch)
    finish(arguments(workplace, "whole"))
    with monkeypatch.context() as patched:
        interrupt_after(3 * 16, patched)
        assert main(arguments(workplace, "stopped")) == 130
    # When it resumes in a process that finds fp32 faster
    time_bf16_as(False, monkeypatch)
    capsys.readouterr()
    finish(arguments(workplace, "stopped"))
    # Then it stays with bf16, and the record says so
    assert "--precision auto: the run computes in bf16, as before" in capsys.readouterr().err
    assert weights_of(workplace / "stopped") == weights_of(workplace / "whole")
    assert record_in(workplace / "stopped" / "record.json").machine.precision == "bf16"
    # And another precision is refused, as any other setting
    assert main(arguments(workplace, "stopped", precision="fp32")) == 2
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert "of a run with another precision; it computes in bf16: give the same files and settings again" in line


def test_the_record_of_a_finished_run_says_what_it_was_trained_on(
    workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Packaged again elsewhere, in a process of another timing and processor, it is the same record."""
    end_before_packaging(monkeypatch)
    time_bf16_as(True, monkeypatch)
    finish(arguments(workplace, "finished"))
    before = record_in(workplace / "finished" / "record.json").machine
    time_bf16_as(False, monkeypatch)
    monkeypatch.setattr("training.loop.run.device_name", lambda _: "another processor")
    monkeypatch.setattr("training.plan.device_name", lambda _: "another processor")
    finish(arguments(workplace, "finished"))
    assert record_in(workplace / "finished" / "record.json").machine == before
    assert before.precision == "bf16"
    assert before.device != "another processor"


def test_a_checkpoint_without_a_decision_resumes_and_gets_one(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Versions that decided in each process saved none: their runs are not refused."""
    from safetensors import safe_open
    from safetensors.torch import load_file, save_file

    end_before_packaging(monkeypatch)
    time_bf16_as(False, monkeypatch)
    with monkeypatch.context() as patched:
        interrupt_after(3 * 16, patched)
        assert main(arguments(workplace, "older")) == 130
    file = workplace / "older" / CHECKPOINT
    with safe_open(file, "pt") as opened:
        header = dict(opened.metadata())
    progress = json.loads(header["progress"])
    header["progress"] = json.dumps({name: progress[name] for name in progress if name not in ("decided", "machine")})
    save_file(load_file(file), file, header)
    finish(arguments(workplace, "older"))
    assert "training resumes at step 3 of" in capsys.readouterr().err
    assert decided_in(workplace / "older") == "fp32"


def test_a_run_stopped_while_teachers_are_asked_keeps_its_precision_unless_it_is_another_run(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before the first step there is a checkpoint already: answers of a night are found again under the same key."""
    from training.teachers import asking

    precisions: list[str] = []

    def interrupted(teacher: Any, *_: Any) -> None:
        precisions.append(teacher.precision)
        raise KeyboardInterrupt

    def distil(**changed: str) -> int:
        command = ["distil", *arguments(workplace, "asking", **changed)[1:], "--teacher", str(workplace / "teacher")]
        return main([*command, "--student", "half", "--hidden-weight", "1", "--base", str(workplace / "teacher")])

    monkeypatch.setattr(asking, "answers_of", interrupted)
    # Given a run that was stopped while its teacher was asked in bf16
    time_bf16_as(True, monkeypatch)
    assert distil() == 130
    # When the same command is given again in a process that finds fp32 faster, then it asks in bf16 again
    time_bf16_as(False, monkeypatch)
    assert distil() == 130
    # And since nothing is trained yet, other settings begin another run there instead of being refused
    assert distil(seed="7") == 130
    assert precisions == ["bf16", "bf16", "fp32"]
    assert "of a run with another" not in capsys.readouterr().err


def test_processes_with_different_settings_are_refused(tmp_path: Path) -> None:
    """If they split a step differently, rows would be lost or trained on twice."""
    from training.encoders.parallel import Ranks
    from training.loop.run import Saving, begin
    from training.settings import FitSettings

    class Second(Ranks):
        """The second of two processes; `facts[0]` is what the first one knows."""

        def agree(self, fact: object) -> bool:
            facts.append(fact)
            return bool(fact == facts[0])

        def of_first(self, flag: bool) -> bool:
            return flag

    def start(name: str, **changed: Any) -> None:
        settings = FitSettings(precision="fp32", **changed)
        begin(settings, Saving(tmp_path / name, {"settings": settings.identity()}, 1), Second(size=2))

    facts: list[Any] = []
    start("same")
    start("as well")
    for name, changed in (("tokens", {"micro_batch_tokens": 99}), ("seed", {"seed": 7})):
        with pytest.raises(UsageError, match="the processes have different checkpoints, files, settings or devices"):
            start(name, **changed)
    assert len(facts) == 4


def test_more_processes_than_gpus_are_refused_in_every_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """The processes that have a GPU would wait for the others."""
    import torch

    from training.encoders.device import best_device

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert best_device() == torch.device("cuda", 1)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "3")
    for rank in ("0", "1", "2"):
        monkeypatch.setenv("LOCAL_RANK", rank)
        with pytest.raises(UsageError, match="3 processes cannot share 2 GPUs: set --nproc-per-node to at most 2"):
            best_device()
