"""An encoder with a head that predicts masked tokens, and the tokens that it can predict."""

import json
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from consumer.errors import UsageError
from consumer.model.bundle.manifest import TOKENIZER
from training.encoders.base import FILES, Base, check_encoder, readable
from training.io.output import storing

#: What the families call the token that takes the place of another one.
MASKS = ("[MASK]", "<mask>")

#: Special tokens by their usual names, for tokenizers that do not list them as such.
_SPECIAL = frozenset(("[PAD]", "[UNK]", "[CLS]", "[SEP]", "<s>", "</s>", "<pad>", "<unk>", *MASKS))

#: Files beside tokenizer.json from which transformers makes the same tokenizer.
_OF_TOKENIZER = ("tokenizer_config.json", "special_tokens_map.json", "vocab.txt", "vocab.json", "merges.txt")

#: Dropout inside attention disables torch's fused kernel.
_ATTENTION_DROPOUT = ("attention_dropout", "attention_probs_dropout_prob")


class Tokens(NamedTuple):
    """The id of the mask, the ids of special tokens, and the ids of all others."""

    mask: int
    special: frozenset[int]
    others: npt.NDArray[np.int32]


def tokens_of(base: Base) -> Tokens:
    """The tokens of `base`.

    Raises:
        UsageError: it has no mask.
    """
    told = json.loads(base.tokenizer_json)
    added = {token["content"]: int(token["id"]) for token in told["added_tokens"] if token.get("special")}
    vocabulary = _vocabulary(told["model"]["vocab"])
    mask = next((added.get(name, vocabulary.get(name)) for name in MASKS if name in added or name in vocabulary), None)
    if mask is None:
        raise UsageError(
            f"the tokenizer of {base.name} has no {' or '.join(MASKS)}: adapt an encoder that was trained on masked "
            "tokens, such as DistilBERT, BERT, RoBERTa or MPNet"
        )
    brackets = {number for name, number in vocabulary.items() if name in _SPECIAL}
    special = frozenset(added.values()) | brackets | {mask}
    others = sorted(set(vocabulary.values()) - special)
    return Tokens(mask, special, np.array(others, dtype=np.int32))


def _vocabulary(told: Any) -> dict[str, int]:
    """The ids of a vocabulary: of WordPiece and BPE by name, of Unigram a list of names and scores."""
    return told if isinstance(told, dict) else {str(name): number for number, (name, _) in enumerate(told)}


class Adaptable(NamedTuple):
    """An encoder with its head, and whether the head is a new one, because the base has none."""

    model: Any
    new_head: bool


def load_masked(base: Base, seed: int) -> Adaptable:
    """The encoder of `base` with a head that predicts masked tokens, fp32; a new head is drawn with `seed`.

    Its matrix from states to tokens is that of the embeddings, if the family ties them.

    Raises:
        UsageError: the base cannot be read, lacks weights of the encoder, or is of a family without such a head.
    """
    import torch
    from transformers import AutoConfig, AutoModelForMaskedLM

    with readable(base.directory):
        config = AutoConfig.from_pretrained(base.directory)
    if type(config) not in AutoModelForMaskedLM._model_mapping:
        raise UsageError(
            f"a {config.model_type} model cannot be adapted: transformers has no head for masked tokens for it; choose "
            "another --base"
        )
    for name in _ATTENTION_DROPOUT:
        if hasattr(config, name):
            setattr(config, name, 0.0)
    torch.manual_seed(seed)
    with readable(base.directory):
        model, loaded = AutoModelForMaskedLM.from_pretrained(
            base.directory,
            config=config,
            dtype=torch.float32,
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True,
        )
    check_encoder(base.directory, model, loaded["missing_keys"])
    encoder = f"{model.base_model_prefix}."
    return Adaptable(model, any(not name.startswith(encoder) for name in loaded["missing_keys"]))


def save_adapted(model: Any, base: Base, directory: Path) -> None:
    """Write `model` and the tokenizer of `base` to `directory`, which may then replace `base`.

    Raises:
        GaveUp: they cannot be written, for example because the disk is full.
    """
    from safetensors.torch import load_file, save_file
    from transformers import AutoConfig

    before = AutoConfig.from_pretrained(base.directory)
    for name in _ATTENTION_DROPOUT:
        if hasattr(before, name):
            setattr(model.config, name, getattr(before, name))
    weights = directory / FILES[2]
    with storing(weights):
        model.save_pretrained(directory)
        # A head for masked tokens has no pooler, but a classifier like BERT's starts from it.
        prefix = f"{model.base_model_prefix}."
        pooler = {
            f"{prefix}{name.removeprefix(prefix)}": tensor
            for name, tensor in load_file(base.directory / FILES[2]).items()
            if name.removeprefix(prefix).startswith("pooler.")
        }
        if pooler:
            save_file(load_file(weights) | pooler, weights, metadata={"format": "pt"})
        (directory / TOKENIZER).write_text(base.tokenizer_json, encoding="utf-8")
        for name in _OF_TOKENIZER:
            if (base.directory / name).is_file():
                shutil.copyfile(base.directory / name, directory / name)
