"""Where a run computes, and in which precision."""

import os
import platform
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch

from training.settings import Precision


def best_device() -> torch.device:
    """A CUDA GPU where there is one, else the CPU; each process that torchrun started on a machine has its own GPU."""
    if torch.cuda.is_available():
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    return torch.device("cpu")


def device_name(device: torch.device) -> str:
    """The processor, for people and run records."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    information = Path("/proc/cpuinfo")  # Linux; elsewhere only the architecture is known
    lines = information.read_text(encoding="utf-8").splitlines() if information.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.machine()}, {torch.get_num_threads()} threads"


def computes_in_bf16(device: torch.device, precision: Precision) -> bool:
    """Whether training multiplies in bf16. `auto`: where that is faster; elsewhere it is slower and less exact."""
    if precision != "auto":
        return precision == "bf16"
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    # Not with AVX512-BF16 alone: DistilBERT at 256 tokens, two cores, 2.3 reviews/s in bf16 and 3.8 in fp32.
    return torch.cpu._is_amx_tile_supported()


def autocast(device: torch.device, precision: Precision) -> AbstractContextManager[Any]:
    """Mixed precision for a forward pass: products in bf16, weights, sums and norms in fp32."""
    return torch.autocast(device.type, torch.bfloat16) if computes_in_bf16(device, precision) else nullcontext()
