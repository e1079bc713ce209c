"""The engine for GPUs; it also runs on a CPU, slower than OpenVINO.

A GPU computes in the background: a batch is copied, launched and copied back without waiting, so Python goes on to
tokenise the next texts meanwhile, and waits only for the answers. Batches that wait hold no memory of the GPU but their
tokens and logits, because they are computed one after the other.
"""

import json
import logging
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from consumer.errors import BundleError
from consumer.model.bundle.loading import Bundle
from consumer.model.engines.base import EngineFailure, Logits
from consumer.model.inference.batching import BatchPolicy, TokenBatch

log = logging.getLogger(__name__)

#: Most tokens of a batch on a GPU: enough that Python launches a batch faster than the GPU computes it. The largest
#: layer of DistilBERT then takes 400 MB.
GPU_TOKENS = 32_768


class _Running(NamedTuple):
    """Logits in the memory of this machine, as soon as `done` has happened; None: already."""

    logits: Any
    done: Any


class TorchEngine:
    """Runs `config.json` + `model.safetensors` with Hugging Face transformers.

    Computes in bf16 on CUDA, or in fp16 on cards without bf16; on a CPU in fp32. Padding is not computed if the family
    of the model and the device allow that (see `unpadded`).

    Raises:
        BundleError: torch is not installed, or transformers cannot read the files.
    """

    def __init__(self, bundle: Bundle, variant: str, threads: int | None, device: str = "cpu") -> None:
        try:
            import torch
            from safetensors.torch import load
            from transformers import CONFIG_MAPPING, AutoModelForSequenceClassification
            from transformers.utils import logging as transformers_logging

            from consumer.model.engines import first_token, unpadded
        except ImportError as error:
            raise BundleError(
                f"variant {variant} needs torch: pip install 'review-consumer[gpu]', or serve another variant"
            ) from error
        transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        if threads is not None:
            torch.set_num_threads(threads)
        self._torch, self._first_token, self._unpadded = torch, first_token, unpadded
        self._device, dtype = device, torch.float32
        if device == "cuda":
            dtype = torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
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
        pads = not (unpadded.can_be_computed(self._device, dtype) and self._computes_unpadded())
        self.policy = (
            BatchPolicy(token_budget=GPU_TOKENS, max_rows=1024, round_to=8 if pads else 1, pads=pads)
            if self._device == "cuda"
            else BatchPolicy(token_budget=2048, max_rows=256, round_to=1, pads=pads)
        )

    def infer(self, batches: Sequence[TokenBatch]) -> list[Logits | EngineFailure]:
        """Logits of each batch, in order."""
        return self._start(batches)()

    def close(self) -> None:
        """Free the model."""
        self._model = None

    def _computes_unpadded(self) -> bool:
        """Let the model attend within texts; False, and as it was, if its family or this GPU cannot do that."""
        if not self._first_token.applies_to(self._model):
            return False
        usual = self._model.config._attn_implementation
        has_cudnn = self._torch.backends.cuda.cudnn_sdp_enabled()  # type: ignore[no-untyped-call]
        # torch prefers cuDNN on recent cards, which compiles a plan for each new shape and keeps it for good. Nearly
        # every batch without padding has a new shape. Flash Attention needs no plan. Switched off for the process, not
        # within a block: an engine that another thread opens meanwhile would restore the wrong state.
        self._torch.backends.cuda.enable_cudnn_sdp(False)
        self._model.set_attn_implementation(self._unpadded.ATTENTION)
        ids = np.array([[1, 1, 1], [1, 1, 0]])
        outcome = self._fetched(self._started(TokenBatch(ids, np.minimum(ids, 1)), pads=False))
        if not isinstance(outcome, EngineFailure):
            return True
        log.warning("attention without padding fails here (%s): padding is computed as well", outcome.kind)
        self._model.set_attn_implementation(usual)
        self._torch.backends.cuda.enable_cudnn_sdp(has_cudnn)
        return False

    def _start(self, batches: Sequence[TokenBatch]) -> Callable[[], list[Logits | EngineFailure]]:
        """Start them all before the first result is fetched, so that a GPU never waits for Python."""
        running = [self._started(batch, self.policy.pads) for batch in batches]
        return lambda: [self._fetched(each) for each in running]

    def _started(self, batch: TokenBatch, pads: bool) -> _Running | EngineFailure:
        try:
            with self._torch.inference_mode(), self._first_token.first_token_only(self._model):
                logits = (self._padded(batch) if pads else self._packed(batch)).float()
                if self._device == "cpu":
                    return _Running(logits, None)
                answers = logits.to("cpu", non_blocking=True)
                # Blocking: a thread that waits needs no core.
                done = self._torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
                done.record()
                return _Running(answers, done)
        except Exception as error:  # torch raises many kinds
            return self._failure(error)

    def _padded(self, batch: TokenBatch) -> Any:
        names = {"input_ids": batch.ids, "attention_mask": batch.mask}
        tensors = {name: self._torch.from_numpy(array) for name, array in names.items()}
        if self._device != "cpu":
            tensors = {name: each.pin_memory().to(self._device, non_blocking=True) for name, each in tensors.items()}
        return self._model(**tensors).logits

    def _packed(self, batch: TokenBatch) -> Any:
        texts = self._unpadded.without_padding(batch, self._model.base_model.embeddings)
        return self._unpadded.compute(self._model, texts.to(self._device))

    def _fetched(self, running: _Running | EngineFailure) -> Logits | EngineFailure:
        if isinstance(running, EngineFailure):
            return running
        try:
            if running.done is not None:
                running.done.synchronize()
            logits: Logits = running.logits.numpy()
        except Exception as error:  # torch raises many kinds
            return self._failure(error)
        return logits

    def _failure(self, error: Exception) -> EngineFailure:
        if isinstance(error, self._torch.OutOfMemoryError):
            self._torch.cuda.empty_cache()  # the halves of the batch need contiguous memory
        return EngineFailure(type(error).__name__)


class GpuEngine(TorchEngine):
    """The same on a GPU, which computes while Python does something else."""

    def start(self, batches: Sequence[TokenBatch]) -> Callable[[], list[Logits | EngineFailure]]:
        """Start computing `batches`; call what is returned for their logits, in order."""
        return self._start(batches)


def open_torch(bundle: Bundle, variant: str, threads: int | None) -> TorchEngine:
    """The engine for what this machine has.

    Raises:
        BundleError: see `TorchEngine`.
    """
    try:
        import torch
    except ImportError:
        return TorchEngine(bundle, variant, threads)  # says what is missing
    if torch.cuda.is_available():
        return GpuEngine(bundle, variant, threads, "cuda")
    return TorchEngine(bundle, variant, threads, "cpu")
