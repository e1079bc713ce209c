"""Where a run stands, in one safetensors file: weights, optimiser state and, in its header, what the run is."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn, optim

CHECKPOINT = "checkpoint.safetensors"


@dataclass(frozen=True)
class RunState:
    """Where a run stands: optimiser steps done, seconds spent on them, and the running mean of the loss."""

    step: int = 0
    seconds: float = 0.0
    loss: float = 0.0


def save(
    directory: Path, identity: dict[str, Any], progress: RunState, model: nn.Module, optimizer: optim.Optimizer
) -> None:
    """Write the checkpoint of the run `identity` into `directory`; the one before stays whole until it is replaced."""
    tensors = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    for index, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{name}": tensor for name, tensor in state.items()}
    header = {"identity": json.dumps(identity), "progress": json.dumps(vars(progress))}
    directory.mkdir(parents=True, exist_ok=True)
    partial = directory / f"{CHECKPOINT}.partial"
    save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, partial, metadata=header)
    partial.replace(directory / CHECKPOINT)


def read_header(directory: Path) -> tuple[dict[str, Any], RunState] | None:
    """Identity and progress of the checkpoint in `directory`; None where there is none that can be read."""
    try:
        with safe_open(directory / CHECKPOINT, "pt") as file:
            header = file.metadata()
    except (FileNotFoundError, SafetensorError):
        return None
    return json.loads(header["identity"]), RunState(**json.loads(header["progress"]))


def restore(directory: Path, model: nn.Module, optimizer: optim.Optimizer) -> None:
    """Load the weights and the optimiser state that `save` wrote."""
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
    model.load_state_dict(weights)
    optimizer.load_state_dict({"state": states, "param_groups": optimizer.state_dict()["param_groups"]})


def differences(found: dict[str, Any], wanted: dict[str, Any]) -> list[str]:
    """Names of the entries, `settings` included, in which two identities differ."""
    flat_found, flat_wanted = ({**identity, **identity.get("settings", {})} for identity in (found, wanted))
    names = (flat_found.keys() | flat_wanted.keys()) - {"settings"}
    return sorted(name for name in names if flat_found.get(name) != flat_wanted.get(name))
