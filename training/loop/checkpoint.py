"""The state of a run in one safetensors file: weights and optimiser state, and in its header identity and progress.

If the best epoch is to be packaged, a second file holds the weights of the best one so far. It is named after the step
at the end of that epoch: the file of the previous best epoch stays until a checkpoint records its successor.
"""

import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn, optim

from consumer.errors import UsageError
from training.io.output import whole
from training.loop.state import Epoch, RunState

CHECKPOINT = "checkpoint.safetensors"

#: Names of the files with the weights of a best epoch, and of those that a kill left incomplete.
_BEST = re.compile(r"best-\d+\.safetensors(\.partial)?")

#: In the header; the identities of another format cannot be compared with ours.
FORMAT = "2"

_STATE = TypeAdapter(RunState)


def save(
    directory: Path, identity: dict[str, Any], progress: RunState, model: nn.Module, optimizer: optim.Optimizer
) -> None:
    """Write the checkpoint of the run `identity` into `directory`; the previous one stays intact until then."""
    tensors = {f"model.{name}": tensor for name, tensor in _weights(model).items()}
    for index, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{name}": tensor for name, tensor in state.items()}
    _write(directory / CHECKPOINT, tensors, _header(identity, progress))


def save_start(directory: Path, identity: dict[str, Any], progress: RunState) -> None:
    """Write the checkpoint of a run that has trained nothing yet, without tensors, into `directory`."""
    _write(directory / CHECKPOINT, {}, _header(identity, progress))


def state_of(directory: Path, identity: dict[str, Any]) -> RunState:
    """The state of the run `identity` in the checkpoint in `directory`; that of a new run if there is no checkpoint.

    Raises:
        UsageError: the checkpoint belongs to another run or version, which may be hours of work, and is kept.
    """
    header = read_header(directory)
    if header is None:
        return RunState()
    found, state = header
    if found == identity:
        return state
    if not state.step:  # another run, which was stopped before it had trained anything
        return RunState()
    differing = differences(found, identity)
    chosen = f"; it computes in {state.decided.precision}" if "precision" in differing and state.decided else ""
    raise UsageError(
        f"the checkpoint in {directory} is of a run with another {', '.join(differing)}{chosen}: give the same files "
        "and settings again, remove that directory, or name another one with --checkpoints"
    )


def save_best(directory: Path, identity: dict[str, Any], epoch: Epoch, model: nn.Module) -> None:
    """Write the weights of `model` at the end of `epoch`, the best one so far, into `directory`."""
    _write(directory / best_file(epoch), _weights(model), _best_header(identity, epoch))


def best_file(epoch: Epoch) -> str:
    """Name of the file with the weights at the end of `epoch`."""
    return f"best-{epoch.step}.safetensors"


def keep_only(best: Epoch | None, directory: Path) -> None:
    """Remove what `save_best` wrote except for `best`, the best epoch in the checkpoint in `directory`."""
    if not directory.is_dir():
        return
    for path in directory.iterdir():
        if _BEST.fullmatch(path.name) and not (best and path.name == best_file(best)):
            path.unlink(missing_ok=True)


def restore_best(directory: Path, identity: dict[str, Any], epoch: Epoch, model: nn.Module) -> None:
    """Load the weights of `epoch` that `save_best` wrote.

    Raises:
        UsageError: they are missing or damaged.
    """
    path = directory / best_file(epoch)
    try:
        with safe_open(path, "pt") as file:
            if file.metadata() == _best_header(identity, epoch):
                _load(model, {name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118 - not a dict
                return
    except (FileNotFoundError, SafetensorError):
        pass
    raise UsageError(f"{path} does not hold the best epoch of this run: remove {directory} and train again")


def _weights(model: nn.Module) -> dict[str, torch.Tensor]:
    """The weights of `model`; those with several names, as of a head tied to the embeddings, under the first one."""
    tied = _tied(model)
    return {name: tensor for name, tensor in model.state_dict().items() if name not in tied}


def _load(model: nn.Module, weights: dict[str, torch.Tensor]) -> None:
    """Give `model` all the `weights` that `_weights` told of it."""
    also = {name: weights[first] for name, first in _tied(model).items() if first in weights}
    model.load_state_dict(weights | also)


def _tied(model: nn.Module) -> dict[str, str]:
    """For each further name of a parameter, the first one."""
    first: dict[int, str] = {}
    names = {
        name: first.setdefault(id(parameter), name)
        for name, parameter in model.named_parameters(remove_duplicate=False)
    }
    return {name: of for name, of in names.items() if name != of}


def _header(identity: dict[str, Any], progress: RunState) -> dict[str, str]:
    return {"format": FORMAT, "identity": json.dumps(identity), "progress": json.dumps(asdict(progress))}


def _best_header(identity: dict[str, Any], epoch: Epoch) -> dict[str, str]:
    return {"identity": json.dumps(identity), "step": str(epoch.step)}


def _write(path: Path, tensors: dict[str, torch.Tensor], header: dict[str, str]) -> None:
    found = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with whole(path) as partial:  # always the same name, so that repeated kills leave one file, not many
        save_file(found, partial, metadata=header)


def read_header(directory: Path) -> tuple[dict[str, Any], RunState] | None:
    """Identity and progress of the checkpoint in `directory`; None if it is missing or damaged.

    Raises:
        UsageError: it cannot be opened, or was written by another version.
    """
    path = directory / CHECKPOINT
    try:
        path.open("rb").close()  # safe_open reports every file that it cannot open as missing
        # "np" opens the file once; "pt" opens it again by name, when it may already have been replaced.
        with safe_open(path, "np") as file:
            header = file.metadata() or {}
    except (FileNotFoundError, SafetensorError):
        return None
    except OSError as error:
        raise UsageError(
            f"{path} cannot be read ({error.strerror}): fix its directory, or name another one with --checkpoints"
        ) from error
    if header.get("format") != FORMAT:
        raise UsageError(
            f"{path} was written by another version: remove {directory}, or name another directory with --checkpoints"
        )
    return json.loads(header["identity"]), _STATE.validate_json(header["progress"])


def restore(directory: Path, model: nn.Module, optimizer: optim.Optimizer) -> None:
    """Load the weights and the optimiser state that `save` wrote into `model` and `optimizer`."""
    weights: dict[str, torch.Tensor] = {}
    states: dict[int, dict[str, torch.Tensor]] = {}
    with safe_open(directory / CHECKPOINT, "pt") as file:
        for name in file.keys():  # noqa: SIM118 - not a dict
            part, key = name.split(".", 1)
            if part == "model":
                weights[key] = file.get_tensor(name)
            else:
                index, state = key.split(".", 1)
                states.setdefault(int(index), {})[state] = file.get_tensor(name)
    _load(model, weights)
    optimizer.load_state_dict({"state": states, "param_groups": optimizer.state_dict()["param_groups"]})


def differences(found: dict[str, Any], wanted: dict[str, Any]) -> list[str]:
    """Names of the entries, including those of `settings`, in which two identities differ."""
    flat_found, flat_wanted = ({**identity, **identity.get("settings", {})} for identity in (found, wanted))
    names = (flat_found.keys() | flat_wanted.keys()) - {"settings"}
    return sorted(name for name in names if flat_found.get(name) != flat_wanted.get(name))
