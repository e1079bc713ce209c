"""The engine for GPUs; it also runs on a CPU, slower than OpenVINO."""

import json
from collections.abc import Sequence
from typing import Any

from consumer.errors import BundleError
from consumer.model.batching import BatchPolicy, TokenBatch
from consumer.model.bundle import Bundle
from consumer.model.engines.base import EngineFailure, Logits


class TorchEngine:
    """Runs `config.json` + `model.safetensors` with Hugging Face transformers.

    Computes in bf16 on CUDA, or in fp16 on cards without bf16; on a CPU in fp32.

    Raises:
        BundleError: torch is not installed, or transformers cannot read the files.
    """

    def __init__(self, bundle: Bundle, variant: str, threads: int | None) -> None:
        try:
            import torch
            from safetensors.torch import load
            from transformers import CONFIG_MAPPING, AutoModelForSequenceClassification
            from transformers.utils import logging

            from consumer.model.engines.first_token import first_token_only
        except ImportError as error:
            raise BundleError(
                f"variant {variant} needs torch: pip install 'review-consumer[gpu]', or serve another variant"
            ) from error
        logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        if threads is not None:
            torch.set_num_threads(threads)
        dtype = torch.float32
        if torch.cuda.is_available():
            dtype = torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
        self._torch, self._first_token_only = torch, first_token_only
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        files = bundle.manifest.variants[variant].files
        content = {name.rpartition(".")[2]: bundle.read(name) for name in files}
        try:
            # From verified bytes alone. A path would be mapped into memory, and transformers would look for adapters
            # and other unverified files in a directory. CONFIG_MAPPING has no classes that a configuration brings.
            facts = json.loads(content["json"])
            config = CONFIG_MAPPING[facts["model_type"]].from_dict(facts)
            with torch.device("meta"):
                empty: Any = AutoModelForSequenceClassification.from_config(config, trust_remote_code=False)  # type: ignore[no-untyped-call]
            model = type(empty).from_pretrained(
                None, config=config, state_dict=load(content["safetensors"]), dtype=dtype
            )
        except Exception as error:  # transformers and safetensors raise many kinds
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
        # All batches are started before the first result is fetched, so that a GPU never waits for Python.
        return [self._fetched(started) for started in [self._started(batch) for batch in batches]]

    def _started(self, batch: TokenBatch) -> Any:
        torch = self._torch
        try:
            with torch.inference_mode(), self._first_token_only(self._model):
                return self._model(
                    input_ids=torch.from_numpy(batch.ids).to(self._device),
                    attention_mask=torch.from_numpy(batch.mask).to(self._device),
                ).logits.float()
        except Exception as error:  # torch raises many kinds
            return self._failure(error)

    def _fetched(self, started: Any) -> Logits | EngineFailure:
        if isinstance(started, EngineFailure):
            return started
        try:
            logits: Logits = started.cpu().numpy()
        except Exception as error:  # torch raises many kinds
            return self._failure(error)
        return logits

    def _failure(self, error: Exception) -> EngineFailure:
        if isinstance(error, self._torch.OutOfMemoryError):
            self._torch.cuda.empty_cache()  # the halves of the batch need contiguous memory
        return EngineFailure(type(error).__name__)

    def close(self) -> None:
        """Free the model."""
        self._model = None
