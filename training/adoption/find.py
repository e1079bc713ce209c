"""Finds the files of a checkpoint, in a directory or on the Hugging Face hub; pickles are not even downloaded."""

import errno
import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from consumer.errors import UsageError
from consumer.model.bundle.manifest import MANIFEST
from training.data.reviews import file_sha256
from training.encoders.base import local_directory
from training.io.names import check_utf8
from training.io.progress import say

#: What is downloaded: configuration, weights, every usual file of a tokenizer, and the model card.
WANTED = (
    *("config.json", "model.safetensors", "model-*.safetensors", "model.safetensors.index.json", "README.md"),
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"),
    *("vocab.txt", "vocab.json", "merges.txt", "bpe.codes", "*.model", "adapter_config.json"),
)

#: One of these is there if the weights are in safetensors: whole, or in parts.
WEIGHTS = {"model.safetensors", "model.safetensors.index.json"}

#: Weights in other formats: pickles, which run code when they are loaded, and those of other libraries.
OTHER_WEIGHTS = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.h5", "*.msgpack", "*.onnx", "*.gguf")


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint whose files are on disk.

    `name` is that on the hub, or of the directory; `revision` the commit on the hub, None for a directory. `sha256` is
    that of configuration and weights together.
    """

    name: str
    directory: Path
    sha256: str
    revision: str | None = None


def find_checkpoint(name: str, revision: str | None = None) -> Checkpoint:
    """Find the checkpoint `name`, a directory or a name on the hub, where `revision` may be a branch, tag or commit.

    Raises:
        UsageError: it is not found, cannot be downloaded, or is no checkpoint of transformers with safetensors.
    """
    directory = local_directory(name)
    check_utf8(str(directory.resolve()) if directory else name)
    if directory is None:
        return _on_the_hub(name, revision)
    if revision is not None:
        raise UsageError(f"--revision is for names on the hub, and {name} is a directory: leave it out")
    _check_files(name, {path.name for path in directory.iterdir()})
    return Checkpoint(directory.resolve().name, directory, _sha256(directory))


def _on_the_hub(name: str, revision: str | None) -> Checkpoint:
    from huggingface_hub import HfApi, snapshot_download

    say(f"looking for {name} on the Hugging Face hub")
    try:
        directory = Path(snapshot_download(name, revision=revision, allow_patterns=list(WANTED)))
        files = {path.name for path in directory.iterdir()}
        if not WEIGHTS & files:  # to say what is there instead
            files |= set(HfApi().list_repo_files(name, revision=revision))
    except Exception as error:  # network, HTTP, wrong name: the hub's client has many errors
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise UsageError(_not_downloaded(name, revision, error)) from error
    _check_files(name, files)
    return Checkpoint(name, directory, _sha256(directory), revision=directory.name)


def _not_downloaded(name: str, revision: str | None, error: Exception) -> str:
    from huggingface_hub import errors

    if isinstance(error, errors.HFValidationError):
        return f"there is no directory {name}, and a name on the hub looks like OWNER/MODEL"
    if isinstance(error, errors.RevisionNotFoundError):
        return f"{name} has no revision {revision} on the hub: name a branch, a tag or a commit"
    if isinstance(error, errors.GatedRepoError):
        return f"{name} is gated: accept its terms on the hub and log in with `hf auth login`, or name a directory"
    if isinstance(error, errors.RepositoryNotFoundError):
        return f"there is no directory {name} and no such model on the hub; if it is private, log in: `hf auth login`"
    return (
        f"there is no directory {name}, and it could not be downloaded from the hub ({type(error).__name__}): check "
        f"the network, or download it elsewhere with `hf download {name}` and name its directory"
    )


def _check_files(name: str, files: Collection[str]) -> None:
    """Raise `UsageError` unless configuration and weights are there, in formats that run no code."""
    if MANIFEST in files:
        raise UsageError(f"{name} is a bundle already: serve it with review-consumer run --bundle {name}")
    if "adapter_config.json" in files:
        raise UsageError(
            f"{name} is an adapter, not a whole model: merge it into its base (`merge_and_unload` of peft), save that, "
            "and name its directory"
        )
    if not WEIGHTS & set(files):
        raise UsageError(_without_weights(name, sorted(files)))
    if "config.json" not in files:
        raise UsageError(f"{name} has no config.json: name a directory that save_pretrained wrote")


def _without_weights(name: str, files: Sequence[str]) -> str:
    others = [file for file in files if any(Path(file).match(pattern) for pattern in OTHER_WEIGHTS)]
    if not others:
        return f"{name} has no model.safetensors: name a checkpoint of transformers"
    return (
        f"{name} has no model.safetensors, only {', '.join(others[:3])}. Such a file can run code when it is loaded, "
        'so it is never read here. If you trust it, convert it, and name the new directory: python -c "from '
        "transformers import AutoModelForSequenceClassification as M, AutoTokenizer as T; "
        f"M.from_pretrained('{name}').save_pretrained('converted'); "
        f"T.from_pretrained('{name}').save_pretrained('converted')\""
    )


def _sha256(directory: Path) -> str:
    """Of `config.json` and all weights, in hex."""
    files = [directory / "config.json", *sorted(directory.glob("model*.safetensors"))]
    return hashlib.sha256("".join(file_sha256(file) for file in files).encode()).hexdigest()
