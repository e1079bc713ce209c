"""Where a run computes, and in which precision."""

import os
import platform
import time
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from pathlib import Path
from typing import Any

import torch

from training.settings import Precision

#: Tokens of one micro-batch, padding included. On two CPU cores 8 reviews of 160 tokens train fastest; more rows only
#: fall out of the cache. A GPU takes many times that.
CPU_MICRO_BATCH_TOKENS = 1_280
GPU_MICRO_BATCH_TOKENS = 32_768

#: So many times as fast have products in bf16 to be before a CPU trains in it: some of a step stays in fp32.
CLEARLY_FASTER = 1.3


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
    return bf16_is_faster_on_this_cpu()


@cache
def bf16_is_faster_on_this_cpu() -> bool:
    """Whether the products of a training step take clearly less time in bf16 than in fp32: measured, in under a second.

    That a processor has the instructions does not tell: with AVX512-BF16 and without AMX an AMD EPYC 9004 multiplies
    2.2 times as fast in bf16 as in fp32, an Intel Xeon half as fast.
    """
    if not (torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()):
        return False
    fp32, bf16 = [], []
    for _ in range(5):  # in turns, and the best of each: what else the machine does slows both
        fp32.append(_product_seconds(torch.float32))
        bf16.append(_product_seconds(torch.bfloat16))
    return min(fp32) > CLEARLY_FASTER * min(bf16)


def _product_seconds(dtype: torch.dtype) -> float:
    """What a feed-forward layer of a base model takes for the tokens of one micro-batch."""
    left, right = torch.ones(CPU_MICRO_BATCH_TOKENS, 768, dtype=dtype), torch.ones(768, 3072, dtype=dtype)
    started = time.perf_counter()
    torch.mm(left, right)
    return time.perf_counter() - started


def autocast(device: torch.device, precision: Precision) -> AbstractContextManager[Any]:
    """Mixed precision for a forward pass: products in bf16, weights, sums and norms in fp32."""
    return torch.autocast(device.type, torch.bfloat16) if computes_in_bf16(device, precision) else nullcontext()
