"""The pretrained encoder that a run starts from: a directory, or a name on the Hugging Face hub."""

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from consumer.errors import UsageError
from consumer.model.bundle.manifest import TOKENIZER
from training.data.reviews import file_sha256
from training.encoders.vocabulary import check_tokenizer
from training.io.names import check_utf8

FILES = ("config.json", "tokenizer.json", "model.safetensors")

#: Models that count positions from the one after padding, so that they read fewer tokens than they have positions
#: (transformers' `create_position_ids_from_input_ids`).
COUNTS_FROM_PADDING = (
    *("camembert", "data2vec-text", "longformer", "mpnet", "roberta", "roberta-prelayernorm"),
    *("xlm-roberta", "xlm-roberta-xl", "xmod"),
)


@dataclass(frozen=True)
class Base:
    """A checkpoint whose files are on disk. `name` is what the user gave, without parent directories.

    `tokenizer_json` is the text of its `tokenizer.json`, or of that of a student made from it.
    """

    name: str
    directory: Path
    sha256: str
    tokenizer_json: str = field(repr=False)

    @property
    def tokenizer_sha256(self) -> str:
        """Of `tokenizer_json`, in hexadecimal."""
        return hashlib.sha256(self.tokenizer_json.encode()).hexdigest()


def local_directory(name: str | None) -> Path | None:
    """`name` as a directory; None if it is a name on the hub."""
    return Path(name) if name is not None and Path(name).is_dir() else None


def find_base(name: str) -> Base:
    """Find the checkpoint `name`, and download it from the hub unless it is a directory.

    Raises:
        UsageError: it is not found, lacks one of `FILES`, has a name that is not UTF-8, or has a damaged tokenizer;
            weights in pickle files are never read.
    """
    directory = local_directory(name)
    check_utf8(str(directory.resolve()) if directory else name)
    if directory is None:
        from huggingface_hub import snapshot_download

        try:
            directory = Path(snapshot_download(name, allow_patterns=list(FILES)))
        except Exception as error:  # network, HTTP, wrong name: the hub's client has many errors
            raise UsageError(
                f"base model {name!r} is not a directory, and downloading it from the hub failed "
                f"({type(error).__name__}): give --base a directory with config.json, tokenizer.json and "
                "model.safetensors"
            ) from error
    if missing := [file for file in FILES if not (directory / file).is_file()]:
        raise UsageError(f"base model {name!r} lacks {', '.join(missing)}: give --base another directory or name")
    with readable(directory):
        tokenizer_json = (directory / TOKENIZER).read_text(encoding="utf-8")
        check_tokenizer(tokenizer_json)
    return Base(Path(name).name, directory, file_sha256(directory / "model.safetensors"), tokenizer_json)


def quiet_transformers() -> None:
    """Hide progress bars and remarks of the transformers library; its errors still show."""
    from transformers.utils import logging

    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]


@contextmanager
def readable(checkpoint: Path) -> Iterator[None]:
    """Wraps code that reads the files of `checkpoint`.

    Raises:
        UsageError: instead of what a library raises when they are damaged or of a kind that it does not know.
    """
    from safetensors import SafetensorError

    try:
        yield
    except (SafetensorError, OSError, ValueError, KeyError, RuntimeError) as error:
        raise UsageError(
            f"the model in {checkpoint} cannot be read ({type(error).__name__}): download it again, or name another one"
        ) from error


def check_whole(checkpoint: Path, missing: Iterable[str]) -> None:
    """Raise `UsageError` if `checkpoint` lacked the tensors `missing`, which random ones have replaced."""
    if names := sorted(missing):
        raise UsageError(
            f"the model in {checkpoint} lacks {len(names)} tensors, such as {' and '.join(names[:2])}: save it with "
            "the tensor names of transformers, or name another one"
        )


def check_encoder(checkpoint: Path, model: Any, missing: Iterable[str]) -> None:
    """Raise `UsageError` if tensors of the encoder inside `model` are `missing` in `checkpoint`.

    The pooler is trained like the head: encoders trained on masked words, or to embed sentences, have none.
    """
    encoder, pooler = f"{model.base_model_prefix}.", f"{model.base_model_prefix}.pooler."
    check_whole(checkpoint, (name for name in missing if name.startswith(encoder) and not name.startswith(pooler)))


def longest_of(config: Any) -> int | None:
    """The most tokens that a model of `config` can read; None: no limit."""
    positions: int | None = getattr(config, "max_position_embeddings", None)
    if positions is None or config.model_type not in COUNTS_FROM_PADDING:
        return positions
    return positions - int(config.pad_token_id) - 1


def check_length(config: Any, tokens: int, option: str) -> None:
    """Raise `UsageError` if a model of `config` has fewer positions than `tokens`, the value of `option`."""
    longest = longest_of(config)
    if longest is not None and tokens > longest:
        raise UsageError(f"the base model reads at most {longest} tokens: set {option} to at most that")


def classifier_config(base: Base, labels: tuple[str, ...]) -> Any:
    """The configuration of `base` for a classification head with `labels`."""
    from transformers import AutoConfig

    names = dict(enumerate(labels))
    with readable(base.directory):
        config = AutoConfig.from_pretrained(
            base.directory, num_labels=len(labels), id2label=names, label2id={name: i for i, name in names.items()}
        )
    # Dropout inside attention disables torch's fused kernel; fine-tuning hardly needs it (9.4 -> 10.9 reviews/s).
    for name in ("attention_dropout", "attention_probs_dropout_prob"):
        if hasattr(config, name):
            setattr(config, name, 0.0)
    return config


def load_classifier(base: Base, labels: tuple[str, ...], seed: int) -> Any:
    """The encoder of `base` with a classification head for `labels`, fp32.

    The head of `base` is kept if it was trained for the same labels in the same order. Otherwise its outputs mean
    something else, and a new head is drawn with `seed`.

    Raises:
        UsageError: `base` cannot be read, or lacks weights of the encoder.
    """
    import torch
    from safetensors.torch import load_file
    from transformers import AutoConfig, AutoModelForSequenceClassification

    config = classifier_config(base, labels)
    with torch.device("meta"):
        empty: Any = AutoModelForSequenceClassification.from_config(config, trust_remote_code=False)  # type: ignore[no-untyped-call]
    head = {name for name in empty.state_dict() if not name.startswith(f"{empty.base_model_prefix}.")}
    with readable(base.directory):
        weights = load_file(base.directory / "model.safetensors")
        names = AutoConfig.from_pretrained(base.directory).id2label
        if tuple(names[number] for number in sorted(names)) != labels:
            weights = {name: tensor for name, tensor in weights.items() if name not in head}
        torch.manual_seed(seed)
        model, loaded = type(empty).from_pretrained(
            None, config=config, state_dict=weights, dtype=torch.float32, output_loading_info=True
        )
    check_encoder(base.directory, model, loaded["missing_keys"])
    return model
