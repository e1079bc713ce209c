"""What a student learns from: bundles, through the worker's own classifier, and checkpoints of transformers.

Answers are logits up to a constant for each text, which no softmax sees. Those of a calibrated bundle are calibrated:
the mean over several teachers is then not ruled by the one that is surest of itself.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from consumer.errors import UsageError
from consumer.model.bundle import Bundle, load_bundle
from consumer.model.classifier import Classifier, Scored
from consumer.model.encoder import Encoder
from consumer.model.engines import open_engine
from consumer.model.manifest import MANIFEST
from consumer.model.reading import Reading
from training.data.reviews import file_sha256
from training.encoders.base import FILES, check_whole, longest_of, readable
from training.encoders.vocabulary import size_of
from training.io.names import check_utf8
from training.loop.step import TrainingRows, attention_shown, check_attention, micro_batch_tokens
from training.settings import DistilSettings, StepSettings

#: Tokens that a checkpoint reads, if its positions allow: how long it was served nobody has written down.
CHECKPOINT_LENGTH = 512

#: Keeps the logarithm of a probability that was rounded to 0 finite.
_LEAST = 1e-30


@dataclass(frozen=True)
class Answers:
    """To texts: `logits` (texts, labels), NaN where the model failed; `hidden` (texts, width), the first token's.

    `attention` (texts, tokens that are read at most): what the first token attends to in the last layer, the mean over
    its heads; 0 behind the last token.
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
    """A model that is not loaded yet: what its answers depend on.

    `digest` is the SHA-256 of all its files, `labels[i]` names the i-th logit. `variant` is that of a bundle; None: its
    torch weights are read by transformers, which alone gives hidden states and attention, `micro_batch_tokens` at once.
    `temperature` divides the logits.
    """

    path: Path
    digest: str
    labels: tuple[str, ...]
    reading: Reading
    variant: str | None = None
    hidden: bool = False
    attention: bool = False
    temperature: float = 1.0
    micro_batch_tokens: int | None = None

    @property
    def name(self) -> str:
        """Its name for people: that of its directory."""
        return self.path.resolve().name

    def key(self) -> dict[str, Any]:
        """What tells its answers from others'."""
        key = {
            "teacher": self.digest,
            "labels": list(self.labels),
            "max_length": self.reading.max_length,
            "truncation": self.reading.truncation.value,
            "variant": self.variant or "transformers",
            "hidden": self.hidden,
        }
        key |= {"windows": self.reading.windows.model_dump()} if self.reading.windows else {}
        return key | ({"attention": True} if self.attention else {})

    @contextmanager
    def loaded(self, device: Any) -> Iterator[Asked]:
        """The model itself, on `device` where transformers runs it.

        Raises:
            BundleError: it does not answer its golden texts.
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


def find_teacher(
    path: Path, labels: tuple[str, ...], settings: DistilSettings, *, hidden: bool, attention: bool = False
) -> Teacher:
    """Find the bundle or checkpoint directory `path`, which has to know `labels`.

    Args:
        path: of a bundle, or of a sequence classifier of transformers with config.json, tokenizer.json and
            model.safetensors.
        labels: those of the student.
        settings: how much is read of a text, and by a checkpoint which part of it.
        hidden: whether its hidden states are wanted.
        attention: whether its attention is wanted; it then reads what the student reads while it is trained.

    Raises:
        UsageError: it is neither, answers with other labels, reads fewer tokens, or has no hidden states or attention
            to give.
        BundleError: the bundle is damaged.
    """
    check_exists(path)
    inside = hidden or attention
    teacher = _bundle(path, inside) if (path / MANIFEST).is_file() else _checkpoint(path, settings)
    if set(teacher.labels) != set(labels):
        raise UsageError(
            f"the teacher {path} answers {', '.join(teacher.labels)}, but the training file has {', '.join(labels)}: "
            "name a teacher that was trained for these labels"
        )
    most = teacher.reading.max_length
    length = settings.train_max_length if attention else settings.teacher_max_length or most
    if length > most:
        option = "--train-max-length" if attention else "--teacher-max-length"
        raise UsageError(f"the teacher {path} reads at most {most} tokens: lower {option}")
    reading = settings.reading if attention else replace(teacher.reading, max_length=length)
    return replace(
        teacher,
        reading=reading,
        hidden=hidden,
        attention=attention,
        micro_batch_tokens=settings.micro_batch_tokens,
    )


def check_exists(path: Path) -> None:
    """Raise `UsageError` where the directory of a teacher is not there, or has a name that no record can hold."""
    check_utf8(path.resolve().name)
    if not path.is_dir():
        raise UsageError(f"the teacher {path} does not exist: name a bundle or a checkpoint directory")


def _bundle(path: Path, inside: bool) -> Teacher:
    """`inside`: hidden states or attention are wanted."""
    import torch

    bundle = load_bundle(path)
    manifest = bundle.manifest
    if inside and "torch" not in manifest.variants:
        raise UsageError(
            f"the bundle {path} has no torch weights, so no hidden states and no attention: make it with --keep torch, "
            "name a checkpoint as the first teacher, or leave out --hidden-weight and --attention-weight"
        )
    # OpenVINO would leave a GPU idle.
    variant = "torch" if torch.cuda.is_available() and "torch" in manifest.variants else manifest.served
    return Teacher(
        path,
        bundle.digest,
        manifest.labels,
        manifest.reading,
        None if inside else variant,
        temperature=manifest.calibration.temperature if manifest.calibration else 1.0,
    )


def _checkpoint(path: Path, settings: DistilSettings) -> Teacher:
    if missing := [file for file in FILES if not (path / file).is_file()]:
        raise UsageError(f"the teacher {path} is no bundle, and as a checkpoint it lacks {', '.join(missing)}")
    try:
        config = json.loads((path / "config.json").read_bytes())
        classifies = any("SequenceClassification" in name for name in config.get("architectures") or ())
        names = {int(number): str(name) for number, name in config.get("id2label", {}).items()}
    except (ValueError, AttributeError) as error:
        raise UsageError(f"{path / 'config.json'} cannot be understood: name another teacher") from error
    if not classifies or not names:
        raise UsageError(f"the teacher {path} is no sequence classifier with id2label: fine-tune it first, with fit")
    with readable(path):
        from transformers import AutoConfig

        size_of((path / "tokenizer.json").read_text(encoding="utf-8"))  # for what it raises
        longest = longest_of(AutoConfig.from_pretrained(path)) or CHECKPOINT_LENGTH
    _load(path)  # for what it raises: its turn may come after another teacher's night
    sums = "".join(file_sha256(path / file) for file in FILES)
    return Teacher(
        path,
        hashlib.sha256(sums.encode()).hexdigest(),
        tuple(names[number] for number in sorted(names)),
        replace(settings.reading, max_length=min(CHECKPOINT_LENGTH, longest)),
    )


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


def _load(path: Path) -> Any:
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

    model = _load(teacher.path).to(device).eval()
    tokenizer_json = (teacher.path / "tokenizer.json").read_text(encoding="utf-8")
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
                outputs = rows.outputs(model, group, device, "auto", hidden=teacher.hidden, attention=teacher.attention)
            logits[group] = outputs.logits.cpu().numpy() / teacher.temperature
            if outputs.hidden is not None:
                hidden[group] = outputs.hidden.cpu().numpy()
            if outputs.attention is not None:
                attention[group, : outputs.attention.shape[1]] = outputs.attention.cpu().numpy()
        return Answers(logits, hidden if teacher.hidden else None, attention if teacher.attention else None)

    return ask
