"""What computes logits: one module for each engine. `base` has the interface, `open_engine` chooses."""

from consumer.model.bundle.loading import Bundle
from consumer.model.engines.base import Engine


def open_engine(bundle: Bundle, variant: str | None = None, threads: int | None = None) -> Engine:
    """Open the engine that reads `variant` (default: the served one) with `threads` threads (default: all cores).

    Raises:
        BundleError: there is no such variant, its engine is not installed, or it cannot read the files.
    """
    name, chosen = bundle.variant(variant)
    if chosen.engine == "torch":
        from consumer.model.engines.torch import open_torch

        return open_torch(bundle, name, threads)
    from consumer.model.engines.openvino import OpenVinoEngine

    return OpenVinoEngine(bundle, name, threads)
