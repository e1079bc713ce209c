"""The teachers of a student: bundles, run by the worker's own classifier, and checkpoints, run by transformers.

Answers are logits up to a constant for each text, which no softmax sees. Calibrated bundles give calibrated logits, so
that the most confident of several teachers does not dominate their mean.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from consumer.model.bundle.loading import Bundle, load_bundle
from consumer.model.bundle.manifest import TOKENIZER
from consumer.model.classifier import Classifier
from consumer.model.engines import open_engine
from consumer.model.inference.scaling import PLAIN, Scaling
from consumer.model.labeller import Scored
from consumer.model.texts.encoder import Encoder
from consumer.model.texts.reading import Reading
from training.encoders.attention import attention_shown, check_attention
from training.encoders.base import check_whole, readable
from training.loop.state import Decided
from training.loop.step import TrainingRows, micro_batch_tokens
from training.settings import Arithmetic, StepSettings

#: Keeps the logarithm of a probability that was rounded to 0 finite.
_LEAST = 1e-30


@dataclass(frozen=True)
class Answers:
    """For each text: `logits` (texts, labels), NaN if the model failed; `hidden` (texts, width) of the first token.

    `attention` (texts, most tokens read): what the first token attends to in the last layer, the mean over its heads; 0
    after the last token.
    """

    logits: npt.NDArray[np.float32]
    hidden: npt.NDArray[np.float16] | None = None
    attention: npt.NDArray[np.float16] | None = None


class Asked(Protocol):
    """A model that is loaded."""

    def __call__(self, texts: Sequence[str]) -> Answers:
        """Its answers, in order."""
        ...


@dataclass(frozen=True)
class Teacher:
    """A model that is not loaded yet, and everything that its answers depend on.

    `digest` is the SHA-256 of all its files, `labels[i]` names the i-th logit. `variant` is that of a bundle, and
    `on_gpu` the one that a run begun on a GPU takes instead. If `variant` is None, transformers runs the torch weights
    in `precision`, `micro_batch_tokens` at a time; only it returns hidden states and attention. `scaling` is that of
    its calibration.
    """

    path: Path
    digest: str
    labels: tuple[str, ...]
    reading: Reading
    variant: str | None = None
    on_gpu: str | None = None
    hidden: bool = False
    attention: bool = False
    scaling: Scaling = PLAIN
    micro_batch_tokens: int | None = None
    precision: Arithmetic = "fp32"

    @property
    def name(self) -> str:
        """Its name for people: that of its directory."""
        return self.path.resolve().name

    def of_run(self, decided: Decided) -> "Teacher":
        """This teacher as a run asks it that has `decided` its precision and its device."""
        if self.variant is None:
            return replace(self, precision=decided.precision)
        return replace(self, variant=(self.on_gpu if decided.gpu else None) or self.variant)

    def key(self) -> dict[str, Any]:
        """What distinguishes its answers from others."""
        key = {
            "teacher": self.digest,
            "labels": list(self.labels),
            "max_length": self.reading.max_length,
            "truncation": self.reading.truncation.value,
            "text_rules": self.reading.text_rules,
            "variant": self.variant or "transformers",
            "hidden": self.hidden,
        }
        key |= {"windows": self.reading.windows.model_dump()} if self.reading.windows else {}
        key |= {} if self.variant else {"precision": self.precision}
        return key | ({"attention": True} if self.attention else {})

    @contextmanager
    def loaded(self, device: Any) -> Iterator[Asked]:
        """The model itself, on `device` if transformers runs it.

        Raises:
            BundleError: it fails its golden texts.
        """
        if self.variant is None:
            yield _transformer(self, device)
            return
        bundle = load_bundle(self.path)
        engine = open_engine(bundle, self.variant)
        try:
            Classifier(bundle, engine).self_check()
            yield _classifier(bundle, engine, self)
        finally:
            engine.close()


def _classifier(bundle: Bundle, engine: Any, teacher: Teacher) -> Asked:
    manifest = bundle.manifest.model_copy(update={"max_length": teacher.reading.max_length})
    classifier = Classifier(replace(bundle, manifest=manifest), engine)

    def ask(texts: Sequence[str]) -> Answers:
        logits = np.full((len(texts), len(teacher.labels)), np.nan, dtype=np.float32)
        for row, result in enumerate(classifier.classify(texts).results):
            if isinstance(result, Scored):
                probabilities = [result.probabilities[label] for label in teacher.labels]
                logits[row] = np.log(np.maximum(probabilities, _LEAST))
        return Answers(logits)

    return ask


def load_checkpoint(path: Path) -> Any:
    """The sequence classifier of transformers in the directory `path`, fp32.

    Raises:
        UsageError: it cannot be read, or lacks weights.
    """
    import torch
    from transformers import AutoModelForSequenceClassification

    with readable(path):
        model, loaded = AutoModelForSequenceClassification.from_pretrained(
            path, dtype=torch.float32, use_safetensors=True, trust_remote_code=False, output_loading_info=True
        )
    check_whole(path, loaded["missing_keys"])
    return model


def _transformer(teacher: Teacher, device: Any) -> Asked:
    import torch

    model = load_checkpoint(teacher.path).to(device).eval()
    tokenizer_json = (teacher.path / TOKENIZER).read_text(encoding="utf-8")
    encoder = Encoder(tokenizer_json, teacher.reading)
    if teacher.attention:
        check_attention(model, teacher.name)
    budget = micro_batch_tokens(StepSettings(micro_batch_tokens=teacher.micro_batch_tokens), device)

    def ask(texts: Sequence[str]) -> Answers:
        rows = TrainingRows(encoder.encode(texts), [0] * len(texts), encoder.pad_id)
        logits = np.empty((len(texts), len(teacher.labels)), dtype=np.float32)
        hidden = np.empty((len(texts), model.config.hidden_size), dtype=np.float16)
        attention = np.zeros((len(texts), teacher.reading.max_length), dtype=np.float16)
        for group in rows.groups(range(len(texts)), budget):
            with torch.inference_mode(), attention_shown(model, teacher.attention):
                outputs = rows.outputs(
                    model, group, device, teacher.precision, hidden=teacher.hidden, attention=teacher.attention
                )
            logits[group] = teacher.scaling.scale(outputs.logits.cpu().numpy())
            if outputs.hidden is not None:
                hidden[group] = outputs.hidden.cpu().numpy()
            if outputs.attention is not None:
                attention[group, : outputs.attention.shape[1]] = outputs.attention.cpu().numpy()
        return Answers(logits, hidden if teacher.hidden else None, attention if teacher.attention else None)

    return ask
