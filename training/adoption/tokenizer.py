"""The tokenizer of a checkpoint as one `tokenizer.json`: what the worker reads with it is what transformers reads."""

import importlib.util
from pathlib import Path
from typing import Any

from consumer.errors import UsageError
from consumer.model.bundle.files import MOST_BYTES
from consumer.model.bundle.manifest import TOKENIZER
from consumer.model.texts.encoder import bare_tokenizer
from training.adoption.probes import PROBES

#: Files that a tokenizer may be kept in.
FILES = (TOKENIZER, "vocab.txt", "vocab.json", "merges.txt", "spm.model", "sentencepiece.bpe.model")


def load_tokenizer(name: str, directory: Path) -> Any:
    """The tokenizer of the checkpoint `name` as transformers loads it, on the library that the worker uses.

    One that is kept in other files, such as a model of sentencepiece, is converted.

    Raises:
        UsageError: there is none, it runs Python code, or it cannot be read or converted.
    """
    if not any((directory / file).is_file() for file in FILES):
        raise UsageError(f"{name} has no tokenizer.json and no vocabulary: save its tokenizer into the same directory")
    if not (directory / TOKENIZER).is_file() and any(directory.glob("*.model")) and not _reads_sentencepiece():
        raise UsageError(
            f"the tokenizer of {name} is a model of sentencepiece: install what converts it (pip install sentencepiece "
            "protobuf) and run the command again, or add a tokenizer.json to the checkpoint"
        )
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    try:
        if not (directory / "tokenizer_config.json").is_file() and (directory / TOKENIZER).is_file():
            return PreTrainedTokenizerFast(tokenizer_file=str(directory / TOKENIZER))  # type: ignore[no-untyped-call]
        tokenizer = AutoTokenizer.from_pretrained(directory, trust_remote_code=False, local_files_only=True)
    except Exception as error:  # transformers and tokenizers raise many kinds, and bare Exception
        raise UsageError(
            f"the tokenizer of {name} cannot be read or converted ({type(error).__name__}: {_line(error)}): load it "
            "with AutoTokenizer where that works, save_pretrained it, and add its tokenizer.json to the checkpoint"
        ) from error
    if not tokenizer.is_fast:
        raise UsageError(
            f"the tokenizer of {name} runs Python code ({type(tokenizer).__name__}), and the worker reads only a "
            "tokenizer.json: it cannot be served"
        )
    return tokenizer


def _reads_sentencepiece() -> bool:
    return all(importlib.util.find_spec(package) for package in ("sentencepiece", "google.protobuf"))


def as_json(name: str, directory: Path, tokenizer: Any, embedded: int) -> str:
    """The text of its `tokenizer.json`.

    Args:
        name: of the checkpoint.
        directory: of its files.
        tokenizer: from `load_tokenizer`.
        embedded: tokens that the model has vectors for.

    Raises:
        UsageError: the file in `directory` cuts texts in another way, it has tokens that the model does not know, or it
            is too large.
    """
    backend = bare_tokenizer(tokenizer.backend_tokenizer.to_str())
    text = str(backend.to_str())
    if (directory / TOKENIZER).is_file():
        _check_alike(name, (directory / TOKENIZER).read_text(encoding="utf-8"), text)
    largest = max(backend.get_vocab(with_added_tokens=True).values(), default=0)
    if largest >= embedded:
        raise UsageError(
            f"the tokenizer of {name} has a token {largest}, and the model knows {embedded} tokens: the two do not "
            "belong together"
        )
    if len(backend.to_str(pretty=True).encode()) > MOST_BYTES[TOKENIZER]:
        raise UsageError(f"the tokenizer of {name} is larger than {MOST_BYTES[TOKENIZER]} bytes and cannot be served")
    return text


def _check_alike(name: str, on_disk: str, loaded: str) -> None:
    """Raise `UsageError` if the file and transformers cut one of the probes into different tokens."""
    file, own = bare_tokenizer(on_disk), bare_tokenizer(loaded)
    for number, probe in enumerate(PROBES):
        if sorted(file.encode(probe).ids) != sorted(own.encode(probe).ids):  # in order, but for ties of a Unigram model
            raise UsageError(
                f"tokenizer.json of {name} cuts texts in another way (probe {number}) than this version of "
                "transformers, which reads tokenizer_config.json as well: load the tokenizer with AutoTokenizer, check "
                "that it does what the model was trained with, save_pretrained it to a new directory, and adopt that"
            )


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


def token_ids(tokenizer: Any, text: str, max_length: int) -> Any:
    """`text` as transformers gives it to the model: tensors of shape (1, tokens), the end of a long one cut."""
    tokenizer.truncation_side = "right"
    return tokenizer(text, truncation=True, max_length=max_length, return_tensors="pt")
