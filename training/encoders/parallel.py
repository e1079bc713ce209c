"""Several processes as one run: `torchrun --nproc-per-node 2 -m training.cli fit ...`.

Every process holds the whole model and takes the same steps. It computes some of the micro-batches of each step, and
the gradients of all processes are added up before the update, so the result is that of one process except for the order
of the additions. What depends on timing or hardware is decided by the first process and sent to the others. Only the
first process logs, saves and packages.
"""

import fcntl
import hashlib
import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import distributed

from consumer.errors import ReviewsError, UsageError
from training.io.output import writing

#: The file beside the checkpoints that a run locks while it is active.
LOCK = "lock"


@dataclass(frozen=True)
class Ranks:
    """This process, `rank`, among the `size` of the run; alone by default."""

    rank: int = 0
    size: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def first(self) -> bool:
        """Whether this is the process that logs and writes."""
        return self.rank == 0

    def add_up(self, tensors: Sequence[torch.Tensor]) -> None:
        """Replace each of `tensors`, all of one type, by its sum over the processes, in one exchange."""
        if self.size == 1:
            return
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        distributed.all_reduce(flat)
        done = 0
        for tensor in tensors:
            tensor.copy_(flat[done : done + tensor.numel()].view_as(tensor))
            done += tensor.numel()

    def any(self, flag: bool) -> bool:
        """Whether `flag` is set in any process."""
        flags = torch.tensor([float(flag)], device=self.device)
        self.add_up([flags])
        return bool(flags.item())

    def of_first(self, flag: bool) -> bool:
        """The `flag` of the first process, in all of them."""
        flags = torch.tensor([float(flag)], device=self.device)
        self.take_from_first([flags])
        return bool(flags.item())

    def take_from_first(self, tensors: Iterable[torch.Tensor]) -> None:
        """Replace the values of each of `tensors` by those that it has in the first process."""
        if self.size > 1:
            for tensor in tensors:
                distributed.broadcast(tensor, src=0)

    def agree(self, fact: object) -> bool:
        """Whether `fact`, which has to fit into JSON, is the same in all processes."""
        if self.size == 1:
            return True
        digest = hashlib.sha256(json.dumps(fact, sort_keys=True).encode()).digest()
        number = int.from_bytes(digest[:7], "big")  # fits into a 64-bit integer, and so does its negative
        bounds = torch.tensor([number, -number], device=self.device)
        distributed.all_reduce(bounds, distributed.ReduceOp.MAX)
        return bool((bounds[0] == -bounds[1]).item())

    def share(self, costs: Sequence[int]) -> list[int]:
        """The tasks, of all with these costs, that this process does: see `deal`."""
        return deal(costs, self.size)[self.rank]


def deal(costs: Sequence[int], hands: int) -> list[list[int]]:
    """Deal tasks out to `hands` of about equal cost: the costliest first, each to the hand with the least so far.

    Returns:
        Indices into `costs` for each hand, ascending; no hand is empty if there are at least as many tasks as hands.
    """
    dealt: list[list[int]] = [[] for _ in range(hands)]
    loads = [0] * hands
    for index in sorted(range(len(costs)), key=lambda index: costs[index], reverse=True):
        hand = loads.index(min(loads))
        dealt[hand].append(index)
        loads[hand] += costs[index]
    return [sorted(hand) for hand in dealt]


@contextmanager
def joined(device: torch.device) -> Iterator[Ranks]:
    """The processes that torchrun started, connected: by NCCL between GPUs, by Gloo between CPUs."""
    if not started_by_torchrun():
        yield Ranks(device=device)
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield Ranks(distributed.get_rank(), distributed.get_world_size(), device)
    finally:
        distributed.destroy_process_group()


@contextmanager
def the_only_run(option: str, directory: Path) -> Iterator[None]:
    """Lock `directory`, the value of `option`, against other runs, and create it if missing; a kill unlocks it too.

    Two runs would overwrite each other's checkpoints.

    Raises:
        UsageError: another run is active there, or the directory is not writable.
    """
    if not _is_first():
        yield
        return
    with writing(option, directory):
        directory.mkdir(parents=True, exist_ok=True)
        lock = (directory / LOCK).open("ab")
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UsageError(
                f"another run is active in {directory}: wait until it ends, or name another directory with {option}"
            ) from error
        except OSError:
            pass  # the file system has no locks
        yield


@contextmanager
def only_the_first_talks() -> Iterator[None]:
    """Silence every process except the first, so that an error that all of them raise is reported once."""
    if _is_first():
        yield
        return
    with Path(os.devnull).open("w", encoding="utf-8") as nothing:
        try:
            with redirect_stderr(nothing), redirect_stdout(nothing):
                yield
        except ReviewsError as error:
            sys.exit(error.exit_code)
        except KeyboardInterrupt:
            sys.exit(130)


def _is_first() -> bool:
    return not started_by_torchrun() or os.environ["RANK"] == "0"


def started_by_torchrun() -> bool:
    """Whether this is one of several processes that share a run."""
    return "TORCHELASTIC_RUN_ID" in os.environ  # as torch.distributed.is_torchelastic_launched
