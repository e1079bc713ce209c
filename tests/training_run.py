"""Runs of `review-training` that are killed, stopped or ended early, and what is in their checkpoints."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from training.cli import main
from training.io.progress import ProgressBar
from training.loop import checkpoint
from training.packaging.record import RunRecord

CHECKPOINT = "checkpoint.safetensors"


class TrainedError(Exception):
    """The training is over; what follows is tested elsewhere."""


def end_before_packaging(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a run in this process end where packaging would begin."""

    def stop(*_: object, **__: object) -> None:
        raise TrainedError

    monkeypatch.setattr("training.plan.package", stop)


def finish(command: Sequence[str]) -> None:
    """Train in this process, to where packaging would begin."""
    with pytest.raises(TrainedError):
        main(command)


def kill_after(command: Sequence[str], run: Path, step: int = 0) -> int:
    """SIGKILL `command`, in a process of its own, once its checkpoint in `run` is behind `step`; where that is."""
    process = subprocess.Popen(
        [sys.executable, "-m", "training.cli", *command],
        stderr=subprocess.DEVNULL,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    try:
        while step_of(run) <= step:
            assert process.poll() is None
            time.sleep(0.005)
    finally:
        process.kill()
        process.wait()
    return step_of(run)


def with_two_processes(command: Sequence[str]) -> tuple[str, str]:
    """Run `command` to its end in two processes of torchrun, over Gloo; what both wrote to stdout and stderr."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*launcher, "-m", "training.cli", *command],
        capture_output=True,
        text=True,
        timeout=240,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


def largest_difference(one: Path, other: Path) -> float:
    """Between the same weights in the checkpoints of two runs."""
    from safetensors.torch import load_file

    ours, theirs = (load_file(run / CHECKPOINT) for run in (one, other))
    names = [name for name in ours if name.startswith("model.")]
    assert names
    return max(float((ours[name] - theirs[name]).abs().max()) for name in names)


def interrupt_after(reviews: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a run in this process get a SIGINT when it has trained on so many reviews."""

    class Interrupting(ProgressBar):
        def update(self, done: int, note: str = "") -> None:
            super().update(done, note)
            if done == reviews:
                os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr("training.loop.run.ProgressBar", Interrupting)


def step_of(run: Path) -> int:
    """Step of the checkpoint in `run`; 0 where there is none."""
    header = checkpoint.read_header(run)
    return header[1].step if header else 0


def record_in(path: Path) -> RunRecord:
    """The run record in the file `path`."""
    return RunRecord.model_validate_json(path.read_bytes())


def weights_of(run: Path, file: str = CHECKPOINT) -> dict[str, bytes]:
    """The trained weights in a file of `run`."""
    from safetensors.torch import load_file

    tensors = load_file(run / file)
    return {name: tensor.numpy().tobytes() for name, tensor in tensors.items() if "optimizer." not in name}
