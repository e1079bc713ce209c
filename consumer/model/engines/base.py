"""The small interface of every engine; a test's fake engine has ten lines."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from consumer.model.inference.batching import BatchPolicy, TokenBatch

Logits = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class EngineFailure:
    """A batch that the engine could not compute. `kind` is the type of the error; its message may hold content."""

    kind: str


class Engine(Protocol):
    """Computes batches. A batch that fails does not take the others with it."""

    #: Name of the precision variant.
    variant: str
    #: Which batches suit this engine.
    policy: BatchPolicy

    def infer(self, batches: Sequence[TokenBatch]) -> list[Logits | EngineFailure]:
        """Logits of shape (rows, labels) for each batch, in order.

        Raises:
            GaveUp: the engine failed and cannot be restarted in this process.
        """
        ...

    def close(self) -> None:
        """Free what the engine holds."""
        ...


@runtime_checkable
class BackgroundEngine(Engine, Protocol):
    """An engine that computes while the caller does something else, such as tokenise the next texts."""

    def start(self, batches: Sequence[TokenBatch]) -> Callable[[], list[Logits | EngineFailure]]:
        """Start computing `batches`; call what is returned, once, for what `infer` would return."""
        ...
