"""Finds teachers by their directories, and refuses what cannot teach before any of them is asked."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from consumer.errors import UsageError
from consumer.model.bundle.loading import load_bundle
from consumer.model.bundle.manifest import MANIFEST, TOKENIZER
from training.data.reviews import file_sha256
from training.encoders.base import FILES, longest_of, readable
from training.encoders.vocabulary import check_tokenizer
from training.io.names import check_utf8
from training.settings import DistilSettings
from training.teachers.teacher import Teacher, load_checkpoint

#: Tokens that a checkpoint reads, if it has as many positions: its files do not say how long it was trained on.
CHECKPOINT_LENGTH = 512


def find_teacher(
    path: Path, labels: tuple[str, ...] | None, settings: DistilSettings, *, hidden: bool, attention: bool = False
) -> Teacher:
    """Find the bundle or checkpoint directory `path`, whose labels have to be `labels`.

    Args:
        path: of a bundle, or of a sequence classifier of transformers with config.json, tokenizer.json and
            model.safetensors.
        labels: those of the student; None: any.
        settings: how much of a text is read, and by a checkpoint which part of it.
        hidden: whether its hidden states are needed.
        attention: whether its attention is needed; it then reads what the student reads in training.

    Raises:
        UsageError: it is neither, has other labels, reads fewer tokens, or has no hidden states or attention.
        BundleError: the bundle is damaged.
    """
    check_exists(path)
    inside = hidden or attention
    teacher = _bundle(path, inside) if (path / MANIFEST).is_file() else _checkpoint(path, settings)
    if labels is not None:
        check_labels(teacher, labels)
    most = teacher.reading.max_length
    length = settings.train_max_length if attention else settings.teacher_max_length or most
    if length > most:
        option = "--train-max-length" if attention else "--teacher-max-length"
        raise UsageError(f"the teacher {path} reads at most {most} tokens: lower {option}")
    return replace(
        teacher,
        reading=settings.reading if attention else replace(teacher.reading, max_length=length),
        hidden=hidden,
        attention=attention,
        micro_batch_tokens=settings.micro_batch_tokens,
    )


def check_labels(teacher: Teacher, labels: Sequence[str]) -> None:
    """Raise `UsageError` if `teacher` was trained for others than `labels`."""
    if set(teacher.labels) != set(labels):
        raise UsageError(
            f"the teacher {teacher.path} answers {', '.join(teacher.labels)}, but the training file has "
            f"{', '.join(labels)}: give --teacher a model that was trained for these labels"
        )


def check_exists(path: Path) -> None:
    """Raise `UsageError` if the directory of a teacher is missing, or has a name that no record can hold."""
    check_utf8(path.resolve().name)
    if not path.is_dir():
        raise UsageError(f"the teacher {path} does not exist: give --teacher a bundle or a checkpoint directory")


def _bundle(path: Path, inside: bool) -> Teacher:
    """`inside`: hidden states or attention are needed."""
    bundle = load_bundle(path)
    manifest = bundle.manifest
    if inside and "torch" not in manifest.variants:
        raise UsageError(
            f"the bundle {path} has no torch weights, so no hidden states and no attention: make it with --keep torch, "
            "give a checkpoint as the first --teacher, or leave out --hidden-weight and --attention-weight"
        )
    return Teacher(
        path,
        bundle.digest,
        manifest.labels,
        manifest.reading,
        None if inside else manifest.served,
        "torch" if "torch" in manifest.variants else None,  # OpenVINO would leave a GPU idle
        scaling=manifest.scaling,
    )


def _checkpoint(path: Path, settings: DistilSettings) -> Teacher:
    if missing := [file for file in FILES if not (path / file).is_file()]:
        raise UsageError(f"the teacher {path} is not a bundle, and as a checkpoint it lacks {', '.join(missing)}")
    try:
        config = json.loads((path / "config.json").read_bytes())
        classifies = any("SequenceClassification" in name for name in config.get("architectures") or ())
        names = {int(number): str(name) for number, name in config.get("id2label", {}).items()}
    except (ValueError, AttributeError) as error:
        raise UsageError(f"{path / 'config.json'} cannot be parsed: choose another --teacher") from error
    if not classifies or not names:
        raise UsageError(
            f"the teacher {path} is not a sequence classifier with id2label: fine-tune it with review-training fit"
        )
    with readable(path):
        from transformers import AutoConfig

        check_tokenizer((path / TOKENIZER).read_text(encoding="utf-8"))
        longest = longest_of(AutoConfig.from_pretrained(path)) or CHECKPOINT_LENGTH
    _check_weights(path)
    sums = "".join(file_sha256(path / file) for file in FILES)
    return Teacher(
        path,
        hashlib.sha256(sums.encode()).hexdigest(),
        tuple(names[number] for number in sorted(names)),
        replace(settings.reading, max_length=min(CHECKPOINT_LENGTH, longest)),
    )


def _check_weights(path: Path) -> None:
    """Raise `UsageError` if the checkpoint cannot be loaded: it may be needed only after another teacher's night."""
    load_checkpoint(path)
