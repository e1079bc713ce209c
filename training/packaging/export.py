"""The files of a bundle: weights for torch, OpenVINO IR in fp32 and int8, the tokenizer."""

import logging
import sys
import warnings
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

import consumer.model.no_telemetry  # noqa: F401 - before openvino
from consumer.model.bundle.manifest import TOKENIZER, Variant
from consumer.model.engines.first_token import first_token_only
from consumer.model.engines.openvino import the_core
from consumer.model.texts.encoder import TokenIds, bare_tokenizer
from training.io.output import storing
from training.packaging.tracing import traceable

FP32_IR = ("openvino/fp32.xml", "openvino/fp32.bin")
INT8_IR = ("openvino/int8.xml", "openvino/int8.bin")
TORCH_FILES = ("config.json", "model.safetensors")

#: Every variant that `export` can make; `bf16` reads the fp32 files.
VARIANTS = {
    "int8": Variant(engine="openvino", compute="int8", files=INT8_IR),
    "bf16": Variant(engine="openvino", compute="bf16", files=FP32_IR),
    "fp32": Variant(engine="openvino", compute="fp32", files=FP32_IR),
    "torch": Variant(engine="torch", compute="fp32", files=TORCH_FILES),
}


class OnlyLogits(nn.Module):
    """A model with the two inputs and the one output of an engine."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Logits of shape (batch, labels) of ids and mask, both of shape (batch, tokens)."""
        logits: torch.Tensor = self.model(input_ids=input_ids, attention_mask=attention_mask).logits
        return logits


def export_tokenizer(tokenizer_json: str, bundle: Path) -> None:
    """Write `tokenizer.json` without padding and truncation: the manifest says how long a text may be.

    Raises:
        GaveUp: it cannot be written, for example because the disk is full.
    """
    text = bare_tokenizer(tokenizer_json).to_str(pretty=True)
    with storing(bundle / TOKENIZER):  # its own `save` raises no distinct error for a full disk
        (bundle / TOKENIZER).write_text(text, encoding="utf-8")


def export_torch(model: Any, bundle: Path) -> None:
    """Write `config.json` and `model.safetensors`, fp32.

    Raises:
        GaveUp: they cannot be written, for example because the disk is full.
    """
    with storing(bundle / TORCH_FILES[1]):
        model.save_pretrained(bundle)


def export_openvino(model: Any, bundle: Path) -> None:
    """Write the fp32 IR: `input_ids` and `attention_mask`, int64 (batch, tokens), to `logits` (batch, labels).

    Raises:
        GaveUp: it cannot be written, for example because the disk is full.
    """
    import openvino as ov

    model = model.eval().cpu()
    example = {name: torch.ones(2, 16, dtype=torch.int64) for name in ("input_ids", "attention_mask")}
    dynamic = ov.PartialShape([-1, -1])
    with warnings.catch_warnings(), torch.no_grad(), first_token_only(model), traceable(model):
        warnings.simplefilter("ignore")  # the tracer's remarks about Python control flow
        converted = ov.convert_model(
            OnlyLogits(model), example_input=example, input=[(name, dynamic, ov.Type.i64) for name in example]
        )
    for port, name in zip(converted.inputs, example, strict=True):
        port.get_tensor().set_names({name})
    converted.outputs[0].get_tensor().set_names({"logits"})
    _save(converted, bundle / FP32_IR[0])


def export_int8(bundle: Path, calibration: Sequence[TokenIds]) -> None:
    """Quantise the fp32 IR of `bundle` to int8 weights and activations, with scales seen on `calibration`.

    Raises:
        GaveUp: it cannot be written, for example because the disk is full.
    """
    import nncf

    logging.getLogger("nncf").setLevel(logging.ERROR)
    model = the_core().read_model(bundle / FP32_IR[0])

    def inputs(tokens: TokenIds) -> dict[str, np.ndarray]:
        ids = tokens.astype(np.int64)[None]
        return {"input_ids": ids, "attention_mask": np.ones_like(ids)}

    with redirect_stdout(sys.stderr):  # its progress bars; stdout is for results
        quantized = nncf.quantize(
            model,
            nncf.Dataset(calibration, inputs),
            subset_size=len(calibration),
            model_type=nncf.ModelType.TRANSFORMER,
        )
    _save(quantized, bundle / INT8_IR[0])


def _save(model: Any, path: Path) -> None:
    import openvino as ov

    with storing(path, (OSError, RuntimeError)):
        ov.save_model(model, path, compress_to_fp16=False)
