"""The engine for a GPU, and for any machine where OpenVINO is not wanted."""

from collections.abc import Sequence
from typing import Any

from consumer.batching import BatchPolicy, TokenBatch
from consumer.bundle import Bundle
from consumer.engines import EngineFailure, Logits
from consumer.errors import BundleError


class TorchEngine:
    """Runs `config.json` + `model.safetensors` with Hugging Face transformers: on CUDA if there is one, in bf16 there.

    Raises:
        BundleError: torch is not installed, or transformers cannot read the files.
    """

    def __init__(self, bundle: Bundle, variant: str, threads: int | None) -> None:
        try:
            import torch
            from transformers import AutoModelForSequenceClassification
        except ImportError as error:
            raise BundleError(
                f"variant {variant} needs torch: pip install 'review-consumer[gpu]', or serve another variant"
            ) from error
        if threads is not None:
            torch.set_num_threads(threads)
        self._torch = torch
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        try:
            model: Any = AutoModelForSequenceClassification.from_pretrained(
                bundle.path,
                use_safetensors=True,  # never a pickle
                trust_remote_code=False,
                local_files_only=True,
                dtype=torch.bfloat16 if self._device == "cuda" else torch.float32,
            )
        except (OSError, ValueError, RuntimeError) as error:
            raise BundleError(f"{bundle.path}: transformers cannot read variant {variant}") from error
        self._model = model.to(self._device).eval()
        self.variant = variant
        self.policy = (
            BatchPolicy(token_budget=32_768, max_rows=1024, round_to=8)
            if self._device == "cuda"
            else BatchPolicy(token_budget=2048, max_rows=256, round_to=1)
        )

    def infer(self, batches: Sequence[TokenBatch]) -> list[Logits | EngineFailure]:
        """Logits of each batch, in order."""
        return [self._one(batch) for batch in batches]

    def _one(self, batch: TokenBatch) -> Logits | EngineFailure:
        torch = self._torch
        try:
            with torch.inference_mode():
                logits: Logits = (
                    self._model(
                        input_ids=torch.from_numpy(batch.ids).to(self._device),
                        attention_mask=torch.from_numpy(batch.mask).to(self._device),
                    )
                    .logits.float()
                    .cpu()
                    .numpy()
                )
        except RuntimeError as error:  # out of memory among them; the batch is halved and tried again
            return EngineFailure(type(error).__name__)
        return logits

    def close(self) -> None:
        """Free the model."""
        self._model = None
