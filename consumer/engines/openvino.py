"""The CPU engine: as many streams as cores in one process, each computing one batch at a time."""

import os
from collections import deque
from collections.abc import Sequence
from itertools import cycle
from typing import Any

import numpy as np

from consumer import no_telemetry  # noqa: F401 - has to come before openvino
from consumer.batching import BatchPolicy, TokenBatch
from consumer.bundle import Bundle
from consumer.engines import EngineFailure, Logits
from consumer.errors import BundleError

_HINT = {"int8": "f32", "bf16": "bf16", "fp32": "f32"}


class OpenVinoEngine:
    """Runs an OpenVINO IR with inputs `input_ids` and `attention_mask`, both int64 of shape (rows, width).

    Raises:
        BundleError: OpenVINO cannot read the files.
    """

    def __init__(self, bundle: Bundle, variant: str, threads: int | None) -> None:
        import openvino

        chosen = bundle.manifest.variants[variant]
        model = next(bundle.path / name for name in chosen.files if name.endswith(".xml"))
        streams = threads or _cores()
        try:
            compiled = openvino.Core().compile_model(
                model,
                "CPU",
                {
                    "NUM_STREAMS": streams,
                    "INFERENCE_NUM_THREADS": streams,
                    "INFERENCE_PRECISION_HINT": _HINT[chosen.compute],
                    # Two pinned processes would share one core while the next one idles.
                    "ENABLE_CPU_PINNING": "NO",
                },
            )
        except RuntimeError as error:
            raise BundleError(f"{model} cannot be read by OpenVINO; make the bundle anew") from error
        self.variant = variant
        # Sorted in fours of up to 512 tokens and widths rounded up to 16: the best seen, see docs/performance.md.
        self.policy = BatchPolicy(token_budget=2048, max_rows=256, round_to=16, parallel=streams)
        # Twice as many requests as streams, so that a stream never waits for Python.
        self._requests = [compiled.create_infer_request() for _ in range(2 * streams)]

    def infer(self, batches: Sequence[TokenBatch]) -> list[Logits | EngineFailure]:
        """Logits of each batch, in order."""
        running: deque[Any] = deque()
        results: list[Logits | EngineFailure] = []
        for batch, request in zip(batches, cycle(self._requests), strict=False):
            if len(running) == len(self._requests):
                results.append(_finished(running.popleft()))
            try:
                request.start_async({"input_ids": batch.ids, "attention_mask": batch.mask}, share_inputs=True)
                running.append(request)
            except RuntimeError as error:
                running.append(error)
        return results + [_finished(request) for request in running]

    def close(self) -> None:
        """Free the model."""
        self._requests = []


def _cores() -> int:
    """Cores that this process may use; a container is often given fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _finished(request: Any) -> Logits | EngineFailure:
    if isinstance(request, RuntimeError):
        return EngineFailure(type(request).__name__)
    try:
        request.wait()
    except RuntimeError as error:
        return EngineFailure(type(error).__name__)
    return np.array(request.get_output_tensor().data, dtype=np.float32)
