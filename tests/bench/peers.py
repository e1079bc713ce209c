"""What others do with the same model: Hugging Face's pipeline, a fixed padding as ktrain has it, ONNX Runtime in int8.

All compute the weights that the worker serves, and get texts that were cleaned for them. They read 512 tokens of each,
400 where padded.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError

from consumer.errors import UsageError
from consumer.model.bundle.loading import Bundle
from consumer.model.bundle.manifest import TOKENIZER
from tests.bench.contestants import Contestant, Run
from tests.bench.onnx_peer import OnnxPeer
from training.restore import restored

#: ktrain pads every text to its `maxlen`, 400 in its examples.
KTRAIN_MAXLEN = 400
MAX_LENGTH = 512
YARDSTICK = "transformers pipeline, batch_size=32"

#: Texts in a batch of `Fp32`, which are of similar length: the fastest for torch on a CPU.
BATCH = 8


@dataclass(frozen=True)
class Peers:
    """Those that take part, the ways in which they compute labels, the model that all compute, and what to tell."""

    contestants: list[Contestant]
    answering: Mapping[str, Run]
    model: Any
    remark: str


class Fp32:
    """The labels of a torch model, computed as fast as torch can; equal tokens are computed once."""

    def __init__(self, model: Any, tokenizer: Any, labels: Sequence[str]) -> None:
        self._model = model
        self._tokenizer = tokenizer
        self._labels = labels
        self._known: dict[tuple[int, ...], np.ndarray] = {}

    def logits(self, texts: Sequence[str], max_length: int) -> np.ndarray:
        """Shape (texts, labels), of the first `max_length` tokens of each text."""
        import torch

        rows = [tuple(ids) for ids in self._tokenizer(list(texts), truncation=True, max_length=max_length)["input_ids"]]
        new = sorted({row for row in rows if row not in self._known}, key=len)
        for start in range(0, len(new), BATCH):
            batch = new[start : start + BATCH]
            padded = self._tokenizer.pad({"input_ids": list(map(list, batch))}, return_tensors="pt")
            with torch.inference_mode():
                logits = self._model(input_ids=padded["input_ids"], attention_mask=padded["attention_mask"]).logits
            self._known.update(zip(batch, logits.numpy(), strict=True))
        return np.array([self._known[row] for row in rows])

    def labels(self, max_length: int) -> Run:
        """Labels by the first `max_length` tokens."""
        return lambda texts: [self._labels[place] for place in self.logits(texts, max_length).argmax(axis=1)]


def _checkpoint(directory: Path, labels: int) -> Any:
    """The classifier of transformers in `directory`, fp32, if it has so many `labels`; see `load_peers`."""
    import torch
    from transformers import AutoModelForSequenceClassification

    if not directory.is_dir():  # transformers would look for it on the hub
        raise UsageError(f"--checkpoint {directory} is not a directory")
    try:
        model: Any = AutoModelForSequenceClassification.from_pretrained(directory, dtype=torch.float32)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise UsageError(f"--checkpoint {directory} cannot be loaded: {' '.join(str(error).split())}") from error
    if model.config.num_labels != labels:
        raise UsageError(f"--checkpoint {directory} has {model.config.num_labels} labels, the bundle {labels}")
    return model


def load_peers(bundle: Bundle, checkpoint: Path | None, texts: Sequence[str]) -> Peers:
    """The model in torch, fp32, and in ONNX Runtime, int8, on all cores.

    Args:
        bundle: whose tokenizer, labels and weights they have.
        checkpoint: Hugging Face directory with other weights, its labels in the order of the bundle.
        texts: cleaned ones, on which ONNX Runtime is tuned and compared with torch.

    Raises:
        UsageError: `checkpoint` cannot be loaded, has other labels, or cannot be compared as int8.
    """
    import torch
    import transformers

    hf: Any = transformers  # partly typed
    hf.utils.logging.set_verbosity_error()
    hf.utils.logging.disable_progress_bar()
    labels = bundle.manifest.labels
    tokenizer = hf.PreTrainedTokenizerFast(
        tokenizer_file=str(bundle.path / TOKENIZER), pad_token="[PAD]", model_max_length=MAX_LENGTH
    )
    if checkpoint:
        model = _checkpoint(checkpoint, len(labels))
    else:
        _, model = restored(bundle)
    model.eval()
    model.config.id2label = dict(enumerate(labels))
    fp32 = Fp32(model, tokenizer, labels)
    onnx = OnnxPeer(model, tokenizer, labels, MAX_LENGTH)
    onnx.tune(texts)
    logits = fp32.logits(texts, MAX_LENGTH)
    try:
        onnx.check(texts, logits)
    except RuntimeError as error:
        raise UsageError(f"{checkpoint or bundle.path} cannot be compared: {error}") from error
    classify = hf.pipeline("text-classification", model=model, tokenizer=tokenizer, device="cpu")

    def pipeline(size: int) -> Run:
        return lambda each: [one["label"] for one in classify(list(each), batch_size=size, truncation=True)]

    def padded(each: Sequence[str]) -> list[str | None]:
        answers: list[str | None] = []
        for start in range(0, len(each), 32):
            batch = tokenizer(
                list(each[start : start + 32]),
                padding="max_length",
                truncation=True,
                max_length=KTRAIN_MAXLEN,
                return_tensors="pt",
            )
            with torch.inference_mode():
                logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
            answers += [labels[place] for place in logits.softmax(-1).argmax(-1)]
        return answers

    at_512, at_400, int8 = "fp32, 512 tokens", f"fp32, {KTRAIN_MAXLEN} tokens", "ONNX Runtime int8"

    def peer(name: str, run: Run, answers: str, precision: str = "fp32", reads_all: bool = False) -> Contestant:
        return Contestant(name, run, answers, is_peer=True, reads_all=reads_all, precision=precision)

    return Peers(
        [
            peer("transformers pipeline, batch_size=1", pipeline(1), at_512),
            peer(YARDSTICK, pipeline(32), at_512),
            peer(f"torch fp32, all padded to {KTRAIN_MAXLEN} (ktrain)", padded, at_400),
            peer("ONNX Runtime, dynamic int8", onnx.run, int8, "int8", reads_all=True),
        ],
        {at_512: fp32.labels(MAX_LENGTH), at_400: fp32.labels(KTRAIN_MAXLEN), int8: onnx.run},
        model,
        onnx.remark,
    )
