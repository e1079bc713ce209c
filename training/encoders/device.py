"""Where a run computes, and in which precision."""

import os
import platform
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from pathlib import Path
from typing import Any

import torch

from consumer.errors import UsageError
from training.encoders.parallel import Ranks
from training.settings import Arithmetic, Precision

#: Tokens of one micro-batch, padding included. On two CPU cores 8 reviews of 160 tokens train fastest; more rows only
#: fall out of the cache. A GPU takes many times that.
CPU_MICRO_BATCH_TOKENS = 1_280
GPU_MICRO_BATCH_TOKENS = 32_768

#: A CPU trains in bf16 only if it multiplies this many times as fast in it: parts of a step stay in fp32.
CLEARLY_FASTER = 1.3


def best_device() -> torch.device:
    """The CUDA GPU of this process if the machine has GPUs, else the CPU; with torchrun each process has its own GPU.

    Raises:
        UsageError: torchrun started more processes on this machine than it has GPUs.
    """
    if not torch.cuda.is_available():
        return torch.device("cpu")
    # Compared in every process, although only the last ones lack a GPU: the others would wait for them.
    processes, gpus = int(os.environ.get("LOCAL_WORLD_SIZE", "1")), torch.cuda.device_count()
    if processes > gpus:
        raise UsageError(f"{processes} processes cannot share {gpus} GPUs: set --nproc-per-node to at most {gpus}")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))


def device_name(device: torch.device) -> str:
    """The processor, for people and run records."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{processor_name()}, {torch.get_num_threads()} threads"


def processor_name() -> str:
    """The model of the CPU on Linux; on other systems only the architecture is known."""
    information = Path("/proc/cpuinfo")
    lines = information.read_text(encoding="utf-8").splitlines() if information.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def decide_precision(wanted: Precision, device: torch.device, ranks: Ranks) -> Arithmetic:
    """What all processes multiply in: `wanted`, or for `auto` what the first process finds faster.

    The other processes take its result, because near the limit two processes may measure differently.
    """
    if wanted != "auto":
        return wanted
    return "bf16" if ranks.of_first(ranks.first and computes_in_bf16(device, wanted)) else "fp32"


def computes_in_bf16(device: torch.device, precision: Precision) -> bool:
    """Whether bf16 is set, or for `auto` whether it is faster on `device`; otherwise it is slower and less exact."""
    if precision != "auto":
        return precision == "bf16"
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bf16_is_faster_on_this_cpu()


@cache
def bf16_is_faster_on_this_cpu() -> bool:
    """Whether the products of a training step are clearly faster in bf16 than in fp32, measured in under a second.

    The instruction set is not enough to tell: with AVX512-BF16 but without AMX, an AMD EPYC 9004 multiplies 2.2 times
    as fast in bf16 as in fp32, an Intel Xeon half as fast.
    """
    if not (torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()):
        return False
    fp32, bf16 = [], []
    for _ in range(5):  # in turns, and the best of each: other load on the machine slows both
        fp32.append(_product_seconds(torch.float32))
        bf16.append(_product_seconds(torch.bfloat16))
    return min(fp32) > CLEARLY_FASTER * min(bf16)


def _product_seconds(dtype: torch.dtype) -> float:
    """Seconds that a feed-forward layer of a base model takes for the tokens of one micro-batch."""
    left, right = torch.ones(CPU_MICRO_BATCH_TOKENS, 768, dtype=dtype), torch.ones(768, 3072, dtype=dtype)
    started = time.perf_counter()
    torch.mm(left, right)
    return time.perf_counter() - started


def autocast(device: torch.device, precision: Arithmetic) -> AbstractContextManager[Any]:
    """Mixed precision for a forward pass: with bf16, products in bf16, but weights, sums and norms in fp32."""
    return torch.autocast(device.type, torch.bfloat16) if precision == "bf16" else nullcontext()


@contextmanager
def without_denormal_numbers() -> Iterator[None]:
    """Let numbers that are too small for all their bits count as 0.

    The gradients of a GRU shrink to such over hundreds of words, and its backward pass takes 16 x as long with them.
    """
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)
