"""The CPU engine: one stream per core in a single process; each stream computes one batch at a time on its core."""

from collections import deque
from collections.abc import Sequence
from functools import cache
from itertools import cycle
from typing import Any

import numpy as np

from consumer.errors import BundleError, GaveUp
from consumer.model import no_telemetry  # noqa: F401 - has to come before openvino
from consumer.model.bundle.loading import Bundle
from consumer.model.engines.base import EngineFailure, Logits
from consumer.model.engines.cores import available_cores
from consumer.model.inference.batching import BatchPolicy, TokenBatch

INPUTS = {"input_ids", "attention_mask"}

#: Kernels that OpenVINO caches in each stream, several per shape; a new one is compiled first. In polls of 32 reviews,
#: 256 make DistilBERT 6 % faster than 64, 128 make it 3 % faster, and 1,000 no faster than 256. Each 64 more take about
#: 12 MiB with two streams, for each model of a cascade. With OpenVINO's default of 5,000, memory would grow with every
#: new shape.
KERNEL_CACHE = "192"


class OpenVinoEngine:
    """Runs an OpenVINO IR with inputs `input_ids` and `attention_mask`, both int64 of shape (rows, width).

    Raises:
        BundleError: OpenVINO cannot read the files, or the model is not as the manifest describes it.
    """

    def __init__(self, bundle: Bundle, variant: str, threads: int | None) -> None:
        chosen = bundle.manifest.variants[variant]
        graph = next(name for name in chosen.files if name.endswith(".xml"))
        weights = next(name for name in chosen.files if name.endswith(".bin"))
        path = bundle.path / graph
        streams = threads or available_cores()
        # Without a hint, OpenVINO computes fp32 weights in bf16 if the processor supports it.
        in_bf16 = chosen.compute == "bf16" and "BF16" in the_core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        self._properties = {
            "NUM_STREAMS": streams,
            "INFERENCE_NUM_THREADS": streams,
            "INFERENCE_PRECISION_HINT": "bf16" if in_bf16 else "f32",
            # Two pinned processes would share one core and leave another one idle.
            "ENABLE_CPU_PINNING": "NO",
            "CPU_RUNTIME_CACHE_CAPACITY": KERNEL_CACHE,
        }
        self.variant = variant
        # Larger batches were not faster when measured; smaller ones need less padding and memory.
        self.policy = BatchPolicy(token_budget=512, max_rows=256, round_to=16, parallel=streams)
        try:
            self._model = the_core().read_model(bundle.read(graph), in_memory(bundle.read(weights)))
            self._requests = self._compiled()
        except RuntimeError as error:
            raise BundleError(f"{path} cannot be read by OpenVINO; rebuild the bundle") from error
        if problem := _mismatch(self._model, chosen.compute == "int8", len(bundle.manifest.labels)):
            raise BundleError(f"{path} {problem}; rebuild the bundle")

    def infer(self, batches: Sequence[TokenBatch]) -> list[Logits | EngineFailure]:
        """Logits of each batch, in order.

        Raises:
            GaveUp: the model cannot be compiled again after a failure.
        """
        results = self._computed(batches)
        for place, result in enumerate(results):
            if isinstance(result, EngineFailure):
                # After a failure, a stream also fails on good batches (observed). So a batch counts as failed only if
                # it fails alone, on a newly compiled model.
                self._start_afresh()
                results[place] = self._computed([batches[place]])[0]
                if isinstance(results[place], EngineFailure):
                    self._start_afresh()
        return results

    def _computed(self, batches: Sequence[TokenBatch]) -> list[Logits | EngineFailure]:
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

    def _compiled(self) -> list[Any]:
        """Inference requests on a newly compiled model."""
        compiled = the_core().compile_model(self._model, "CPU", self._properties)
        # Twice as many requests as streams, so that no stream waits for Python. One thread starts and awaits them all:
        # OpenVINO's Python layer deadlocked (observed) when two threads entered it for the first time.
        return [compiled.create_infer_request() for _ in range(2 * self.policy.parallel)]

    def _start_afresh(self) -> None:
        self._requests = []  # frees the old model before the new one needs memory
        try:
            self._requests = self._compiled()
        except RuntimeError as error:
            raise GaveUp("OpenVINO cannot compile the model again after a failure; restart the worker") from error

    def close(self) -> None:
        """Free the model."""
        self._requests = []


@cache
def the_core() -> Any:
    """The one `openvino.Core` of this process.

    Each Core installs a signal stack in its thread and restores the previous one when it ends. If two Cores do not end
    in reverse order, a freed stack stays installed, and the next signal is a segmentation fault.
    """
    import openvino

    return openvino.Core()


def in_memory(weights: bytes) -> Any:
    """Copy `weights` into memory that OpenVINO owns. From a path it would map the file, and follow its changes."""
    import openvino

    tensor = openvino.Tensor(openvino.Type.u8, openvino.Shape([len(weights)]))
    tensor.data[:] = np.frombuffer(weights, dtype=np.uint8)
    return tensor


def _mismatch(model: Any, int8: bool, labels: int) -> str:
    """What is wrong with `model`, as a phrase that follows a file name; empty if nothing is."""
    if {port.get_any_name() for port in model.inputs} != INPUTS:
        return f"has inputs other than {' and '.join(sorted(INPUTS))}"
    width = model.outputs[0].get_partial_shape()[-1]
    if width.is_static and width.get_length() != labels:
        return f"has {width.get_length()} outputs for {labels} labels"
    if int8 != any(node.get_type_name() == "FakeQuantize" for node in model.get_ops()):
        return "is called int8 but is not quantised" if int8 else "is quantised but is not called int8"
    return ""


def _finished(request: Any) -> Logits | EngineFailure:
    if isinstance(request, RuntimeError):
        return EngineFailure(type(request).__name__)
    try:
        request.wait()
    except RuntimeError as error:
        return EngineFailure(type(error).__name__)
    return np.array(request.get_output_tensor().data, dtype=np.float32)
