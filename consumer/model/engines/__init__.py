"""What computes logits, behind one small interface, so that a test can hand in a fake of ten lines."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from consumer.model.batching import BatchPolicy, TokenBatch
from consumer.model.bundle import Bundle

Logits = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class EngineFailure:
    """A batch that the engine could not compute, and the kind of error; never a message, it may hold content."""

    kind: str


class Engine(Protocol):
    """Computes batches; one that fails does not take the others with it."""

    #: Name of the precision variant.
    variant: str
    #: How this engine likes its batches.
    policy: BatchPolicy

    def infer(self, batches: Sequence[TokenBatch]) -> list[Logits | EngineFailure]:
        """Logits of shape (rows, labels) for each batch, in order."""
        ...

    def close(self) -> None:
        """Free what the engine holds."""
        ...


def open_engine(bundle: Bundle, variant: str | None = None, threads: int | None = None) -> Engine:
    """Open the engine that reads `variant` (default: the served one) with `threads` threads (default: all cores).

    Raises:
        BundleError: there is no such variant, its engine is not installed, or it cannot read the files.
    """
    name, chosen = bundle.variant(variant)
    if chosen.engine == "torch":
        from consumer.model.engines.torch import TorchEngine

        return TorchEngine(bundle, name, threads)
    from consumer.model.engines.openvino import OpenVinoEngine

    return OpenVinoEngine(bundle, name, threads)
