"""The limit that no engine passes: multiplications a second that all cores reach together on large matrices."""

import copy
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.polynomial import Polynomial
from torch.utils.flop_counter import FlopCounterMode

from consumer.model.engines.first_token import first_token_only
from consumer.model.engines.openvino import the_core

#: The feed-forward layer of DistilBERT and BERT, where most of the work is, on the tokens of one batch.
ROWS, DEPTH, WIDTH = 2048, 768, 3072

#: Tokens for which the work of a model is counted: in their number it is quadratic, so that three tell of all others.
SAMPLED = (8, 16, 32)


class Multiplication:
    """One matrix product in `precision` (fp32, bf16 or int8), computed on `cores` streams at once."""

    #: How often each stream multiplies in one measurement, by default.
    REPEATS = 24

    def __init__(self, precision: str, cores: int) -> None:
        hint = "bf16" if precision == "bf16" else "f32"
        properties = {
            "NUM_STREAMS": cores,
            "INFERENCE_NUM_THREADS": cores,
            "INFERENCE_PRECISION_HINT": hint,
            "ENABLE_CPU_PINNING": "NO",
        }
        compiled = the_core().compile_model(_graph(precision == "int8"), "CPU", properties)
        self._requests = [compiled.create_infer_request() for _ in range(2 * cores)]
        rows = np.random.default_rng(0).standard_normal((ROWS, DEPTH), dtype=np.float32)
        for request in self._requests:
            request.get_input_tensor().data[:] = rows

    def flop_per_second(self, repeats: int = REPEATS) -> float:
        """Additions and multiplications a second, while each stream multiplies `repeats` times."""
        started = time.perf_counter()
        for _ in range(repeats // 2):
            for request in self._requests:
                request.start_async()
            for request in self._requests:
                request.wait()
        products = repeats // 2 * len(self._requests)
        return products * 2 * ROWS * DEPTH * WIDTH / (time.perf_counter() - started)


def _graph(quantised: bool) -> Any:
    import openvino
    from openvino import opset15 as ops

    def stepped(node: Any, low: float, levels: int) -> Any:
        if not quantised:
            return node
        bounds = [ops.constant(np.float32(bound)) for bound in (low, -low, low, -low)]
        return ops.fake_quantize(node, *bounds, levels)

    rows = ops.parameter([ROWS, DEPTH], np.float32)
    weights = np.random.default_rng(1).standard_normal((WIDTH, DEPTH), dtype=np.float32)
    product = ops.matmul(stepped(rows, -4.0, 256), stepped(ops.constant(weights), -4.0, 255), False, True)
    # Summing up is cheap, and spares copying a result of 25 MB out of every product.
    return openvino.Model([ops.reduce_max(product, ops.constant(np.array([0, 1])))], [rows])


def flop_per_review(model: Any, lengths: Sequence[int]) -> float:
    """Mean additions and multiplications that texts of `lengths` tokens need of `model`, padding not counted.

    torch counts them while it computes shapes alone. The last layer counts only for the first token if that is all
    that the head reads: the rest is not needed, whether it is computed or not.
    """
    bare = copy.deepcopy(model).to("meta").eval()
    counts = []
    for tokens in SAMPLED:
        with FlopCounterMode(display=False) as counter, torch.no_grad(), first_token_only(bare):
            bare(input_ids=torch.zeros(1, tokens, dtype=torch.long, device="meta"))
        counts.append(counter.get_total_flops())
    return float(Polynomial.fit(SAMPLED, counts, deg=2)(np.asarray(lengths)).mean())
