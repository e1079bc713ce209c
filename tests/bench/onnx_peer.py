"""ONNX Runtime in dynamic int8, tuned on the machine at hand.

Signed int8 weights with a scale for each output; unsigned ones are slower. Graph optimisation is ONNX Runtime's own:
its `transformers.optimizer` fuses no attention of this export, and gained nothing. Texts of similar length share a
batch. How many do, and whether cores share a batch or have one each, is tried out on the machine at hand, for here
larger batches are slower.
"""

import logging
import tempfile
import time
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from consumer.model.engines.cores import available_cores
from training.packaging.export import OnlyLogits

#: Tried: texts in a batch.
SIZES = (1, 4, 16)
#: Texts that each way is tried with.
TRIED = 24
#: Most that a logit may be off on average, as a share of the size of logits. Other weights would be off by all of it.
MOST_OFF = 0.25


@dataclass(frozen=True)
class Way:
    """How texts are computed: so many in a batch, and so many batches at once, which share the cores."""

    size: int
    at_once: int


class OnnxPeer:
    """Labels texts; `remark` says how, and how near it is to fp32.

    Args:
        model: of transformers, fp32.
        tokenizer: of transformers.
        labels: names of the logits.
        max_length: tokens read of a text.
    """

    def __init__(self, model: Any, tokenizer: Any, labels: Sequence[str], max_length: int) -> None:
        self._tokenizer = tokenizer
        self._labels = labels
        self._max_length = max_length
        self._cores = available_cores()
        graph = _quantised(model)
        self._sessions = {threads: _session(graph, threads) for threads in {1, self._cores}}
        self._pool = ThreadPoolExecutor(self._cores)
        self._way = Way(1, self._cores)
        self.remark = ""

    def run(self, texts: Sequence[str]) -> list[str | None]:
        """Labels of `texts`."""
        return [self._labels[place] for place in self.logits(texts).argmax(axis=1)]

    def logits(self, texts: Sequence[str]) -> np.ndarray:
        """Shape (texts, labels); texts of similar length share a batch, the longest come first."""
        rows = self._tokenizer(list(texts), truncation=True, max_length=self._max_length)["input_ids"]
        order = sorted(range(len(rows)), key=lambda place: -len(rows[place]))
        size = self._way.size
        batches = [order[start : start + size] for start in range(0, len(order), size)]
        session = self._sessions[self._cores // self._way.at_once]
        found = np.empty((len(rows), len(self._labels)), dtype=np.float32)

        def compute(batch: Sequence[int]) -> None:
            ids = np.full((len(batch), len(rows[batch[0]])), self._tokenizer.pad_token_id, dtype=np.int64)
            mask = np.zeros_like(ids)
            for line, place in enumerate(batch):
                ids[line, : len(rows[place])] = rows[place]
                mask[line, : len(rows[place])] = 1
            found[batch] = session.run(["logits"], {"input_ids": ids, "attention_mask": mask})[0]

        if self._way.at_once == 1:
            for batch in batches:
                compute(batch)
        else:
            list(self._pool.map(compute, batches))
        return found

    def tune(self, texts: Sequence[str]) -> None:
        """Choose the fastest way to compute `texts`."""
        tried = {}
        for size in SIZES:
            for at_once in sorted({1, self._cores}):
                self._way = way = Way(size, at_once)
                self.logits(texts[:2])
                started = time.perf_counter()
                self.logits(texts[:TRIED])
                tried[way] = time.perf_counter() - started
        self._way = min(tried, key=lambda way: tried[way])
        rates = ", ".join(f"{way.size} x {way.at_once}: {len(texts[:TRIED]) / tried[way]:.1f}" for way in tried)
        self.remark = (
            f"ONNX Runtime computes {self._way.size} review(s) in a batch and {self._way.at_once} batch(es) at once, "
            f"the fastest of those tried (batch x at once: reviews/s): {rates}."
        )

    def check(self, texts: Sequence[str], fp32: np.ndarray) -> None:
        """Compare its logits with `fp32`, those of the model in torch, of shape (texts, labels).

        Raises:
            RuntimeError: they are those of another model.
        """
        logits = self.logits(texts)
        off, size = float(np.abs(logits - fp32).mean()), float(np.sqrt(np.square(fp32).mean()))
        if off > MOST_OFF * size:
            raise RuntimeError(
                f"ONNX Runtime computes another model: its logits are off by {off:.3f} on average, and those of fp32 "
                f"have a size of {size:.3f}"
            )
        same = int((logits.argmax(axis=1) == fp32.argmax(axis=1)).sum())
        self.remark += (
            f" Its logits, {size:.3f} in size, are off by {off:.3f} on average, and {same} of {len(texts)} reviews get "
            "the label of fp32."
        )


def _quantised(model: Any) -> bytes:
    """`model` as an ONNX graph with int8 weights."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    example = torch.ones(2, 16, dtype=torch.int64)
    axes = {name: {0: "texts", 1: "tokens"} for name in ("input_ids", "attention_mask")}
    with tempfile.TemporaryDirectory() as directory, _silence(), torch.no_grad():
        exact, small = Path(directory, "fp32.onnx"), Path(directory, "int8.onnx")
        # The older exporter: it needs no package beside torch. It puts the model back into the mode of its wrapper,
        # which would be training: from then on, `model` itself would drop values.
        torch.onnx.export(
            OnlyLogits(model).eval(),
            (example, example),
            exact,
            input_names=list(axes),
            output_names=["logits"],
            dynamic_axes=axes,
            opset_version=17,
            dynamo=False,
        )
        quantize_dynamic(exact, small, weight_type=QuantType.QInt8, per_channel=True, reduce_range=False)
        return small.read_bytes()


@contextmanager
def _silence() -> Iterator[None]:
    """No remarks of the tracer, and no advice to take a step that is for other kinds of models."""
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)


def _session(graph: bytes, threads: int) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
