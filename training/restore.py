"""A bundle back to a checkpoint of transformers, to train on from it: its weights ▸ its golden texts ▸ a directory."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import consumer.model.no_telemetry  # noqa: F401 - before openvino
from consumer.errors import BundleError, UsageError
from consumer.model.bundle.loading import Bundle, load_bundle
from consumer.model.bundle.manifest import TOKENIZER
from consumer.model.classifier import Classifier
from consumer.model.engines.base import EngineFailure, Logits
from consumer.model.engines.openvino import in_memory, the_core
from consumer.model.inference.batching import BatchPolicy, TokenBatch
from consumer.model.labeller import Scored
from training.data.prepare import ADAPTED
from training.encoders.graph import config_of, weights_of
from training.io.output import check_directory, write_text
from training.packaging.export import FP32_IR, INT8_IR, export_torch
from training.packaging.record import versions
from training.packaging.sealing import placing

#: Largest difference of a probability on the golden texts. Without the rounding of activations it is 0.005 and 0.008
#: for the shipped bundles; a weight in the wrong place turns answers around.
TOLERANCE = 0.05


class _Engine:
    """Asks a model of transformers as the worker asks its engines."""

    variant = "restored"
    policy = BatchPolicy(token_budget=2048, max_rows=64, round_to=1)

    def __init__(self, model: Any) -> None:
        self._model = model

    def infer(self, batches: Sequence[TokenBatch]) -> list[Logits | EngineFailure]:
        import torch

        with torch.inference_mode():
            return [
                self._model(
                    input_ids=torch.from_numpy(batch.ids), attention_mask=torch.from_numpy(batch.mask)
                ).logits.numpy()
                for batch in batches
            ]

    def close(self) -> None:
        """Nothing to free."""


def restore(path: Path, out: Path) -> float:
    """Write the model of the bundle at `path` to the directory `out`: config.json, model.safetensors, tokenizer.json.

    Its `run.json` lists the model's training files, so that `fit` and `distil` refuse to measure a successor on them.
    If this fails or is interrupted, nothing stays behind.

    Returns:
        The largest difference between a probability of a golden text and that of the restored model, from 0 to 1.

    Raises:
        BundleError: the bundle is damaged, or is a cascade.
        UsageError: `out` exists or cannot be written; the bundle keeps its torch weights, which are a base already; or
            its model cannot be restored.
        GaveUp: a file cannot be written, for example because the disk is full.
    """
    if out.exists():
        raise UsageError(f"--out {out} exists: name a new directory")
    check_directory("--out", out.parent)
    bundle = load_bundle(path)
    try:
        if any(variant.engine == "torch" for variant in bundle.manifest.variants.values()):
            raise UsageError("it keeps its torch weights: give the bundle itself as --base")
        variant, model = restored(bundle)
        off = _difference(bundle, variant, model)
    except UsageError as error:
        raise UsageError(f"{path} cannot be restored: {error}") from error
    with placing(out) as partial:
        export_torch(model, partial)
        write_text(partial / TOKENIZER, bundle.tokenizer_json)
        write_text(partial / ADAPTED, json.dumps(_record(bundle, variant, off), indent=1) + "\n")
    return off


def restored(bundle: Bundle) -> tuple[str, Any]:
    """The name of the OpenVINO variant with the most precise weights, and its classifier in torch, fp32.

    Raises:
        UsageError: it is of another family than DistilBERT and BERT, or exported in another way.
    """
    import torch
    from tokenizers import Tokenizer
    from transformers import AutoModelForSequenceClassification

    variants = bundle.manifest.variants
    name, variant = next(
        ((name, each) for files in (FP32_IR, INT8_IR) for name, each in variants.items() if each.files == files),
        bundle.variant(None),
    )
    graph_file, weights_file = variant.files
    graph = the_core().read_model(bundle.read(graph_file), in_memory(bundle.read(weights_file)))
    weights = weights_of(graph)
    padding = Tokenizer.from_str(bundle.tokenizer_json).token_to_id("[PAD]")
    config = config_of(graph, weights, padding or 0)
    config.id2label = dict(enumerate(bundle.manifest.labels))
    config.label2id = {label: number for number, label in config.id2label.items()}
    model: Any = AutoModelForSequenceClassification.from_config(config, trust_remote_code=False)  # type: ignore[no-untyped-call]
    try:
        model.load_state_dict({tensor: torch.from_numpy(value.copy()) for tensor, value in weights.items()})
    except RuntimeError as error:  # tensors are missing, or too many, or have other shapes
        raise UsageError("its graph was exported in a way that is not known here") from error
    return name, model.eval()


def _difference(bundle: Bundle, variant: str, model: Any) -> float:
    golden = bundle.golden.texts
    results = Classifier(bundle, _Engine(model)).classify([each.text for each in golden]).results
    largest = 0.0
    for expected, result in zip(golden, results, strict=True):
        if not isinstance(result, Scored):
            raise BundleError(f"the restored model fails on a golden text ({result.kind})")
        recorded = expected.probabilities[variant]
        largest = max(largest, *(abs(result.probabilities[label] - recorded[label]) for label in recorded))
    if not largest <= TOLERANCE:
        raise UsageError(f"the restored model answers its golden texts differently (by {largest:.3f})")
    return largest


def _record(bundle: Bundle, variant: str, off: float) -> dict[str, Any]:
    return {
        "command": "restore",
        "format": 1,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "bundle": {"name": bundle.manifest.name, "digest": bundle.digest, "variant": variant},
        "golden_difference": off,
        "learnt_from": [source.model_dump() for source in bundle.manifest.learnt_from],
        "versions": versions(),
    }
