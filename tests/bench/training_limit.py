"""What a step of training costs, and what the device could do: the utilisation that the bench of training tells."""

import time

import torch

from tests.bench.limit import DEPTH, ROWS, WIDTH

#: Backward multiplies twice as much as forward: gradients of the inputs and of the weights (Kaplan et al. 2020,
#: "Scaling Laws for Neural Language Models", section 2.1). Forward is counted by `flop_per_review`, 2N + 4LHQT a token
#: less what is not read of the last layer. Model FLOPs utilisation is that of Chowdhery et al. 2022, "PaLM",
#: appendix B: padding and what is computed twice do not count.
FORWARD_AND_BACKWARD = 3

#: Dense bf16 FLOP/s in the data sheets, by how CUDA's name of the card begins, longer beginnings first; the sheets
#: print twice that, "with sparsity".
DATA_SHEET = {
    "NVIDIA H200 NVL": 835.5e12,
    "NVIDIA H200": 989.5e12,
    "NVIDIA H100 80GB HBM3": 989.5e12,
    "NVIDIA H100 PCIe": 756e12,
    "NVIDIA A100": 312e12,
}


def data_sheet(name: str) -> float | None:
    """FLOP/s that the maker claims for bf16 on the card `name`; None where this table lacks it."""
    return next((flops for prefix, flops in DATA_SHEET.items() if name.startswith(prefix)), None)


class Products:
    """Large matrices to multiply on `device`: the feed-forward layer of DistilBERT, on a GPU with 16 times the rows."""

    #: How often one measurement multiplies.
    REPEATS = 24

    def __init__(self, device: torch.device, dtype: torch.dtype) -> None:
        rows = ROWS if device.type == "cpu" else 16 * ROWS
        self._left = torch.randn(rows, DEPTH, device=device).to(dtype)
        self._right = torch.randn(DEPTH, WIDTH, device=device).to(dtype)

    def flop_per_second(self) -> float:
        """Additions and multiplications a second."""
        started = time.perf_counter()
        for _ in range(self.REPEATS):
            product = self._left @ self._right
        product[0, 0].item()  # waits for the GPU
        flop = 2 * self._left.shape[0] * DEPTH * WIDTH
        return self.REPEATS * flop / (time.perf_counter() - started)
