"""A smaller vocabulary for a student: the tokens that its training texts use, the most frequent first.

The worker needs no change for it: the bundle has another `tokenizer.json`, and the model fewer rows in its embedding
table. Factorised embeddings (Lan et al. 2020, "ALBERT") would keep all tokens, but need another model class and one
more multiplication per token.
"""

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from consumer.errors import UsageError
from consumer.model.texts.encoder import Encoder, bare_tokenizer
from consumer.model.texts.reading import Reading
from training.io.progress import ProgressBar

#: Texts tokenised at once.
CHUNK = 1024


def count_used(texts: Sequence[str], encoder: Encoder) -> Counter[int]:
    """Occurrences of each token id in the part of `texts` that a model would read."""
    counts: Counter[int] = Counter()
    with ProgressBar("counting the tokens in use", len(texts)) as bar:
        for start in range(0, len(texts), CHUNK):
            for encoded in encoder.encode(texts[start : start + CHUNK]):
                for window in encoded.windows:
                    counts.update(window.tolist())
            bar.update(min(start + CHUNK, len(texts)))
    return counts


def prune(tokenizer_json: str, used: Mapping[int, int], size: int) -> tuple[str, list[int]]:
    """Keep at most `size` tokens of a WordPiece tokenizer.

    It keeps special tokens and single ASCII characters, so that an unknown word can still be spelt, then the tokens in
    use, the most frequent first. If all tokens in use are kept, every training text is tokenised as before: the longest
    piece that matched still exists, and there is no new, longer one.

    Args:
        tokenizer_json: the text of a `tokenizer.json`.
        used: how often each token id occurs in the training texts.
        size: largest number of tokens.

    Returns:
        The new `tokenizer.json`, and the old id of each new one.

    Raises:
        UsageError: the tokenizer is of another kind, or `size` is too small for the tokens that are always kept.
    """
    told = json.loads(tokenizer_json)
    model: dict[str, Any] = told["model"]
    if model.get("type") != "WordPiece":
        raise UsageError(
            f"a {model.get('type')} vocabulary cannot be reduced, only WordPiece can: choose another --base, or keep "
            f"all tokens with --vocabulary {size_of(tokenizer_json)}"
        )
    old: dict[str, int] = model["vocab"]
    always = {token["id"] for token in told["added_tokens"]} | set(Tokenizer.from_str(tokenizer_json).encode("").ids)
    always |= {old[token] for token in ("[PAD]", "<pad>", model["unk_token"]) if token in old}
    prefix = model["continuing_subword_prefix"]
    always |= {number for token, number in old.items() if _is_character(token.removeprefix(prefix))}
    if len(always) > size:
        raise UsageError(f"special tokens and characters alone are {len(always)}: set --vocabulary to at least that")
    others = sorted((number for number in used if number not in always), key=lambda number: (-used[number], number))
    kept = sorted(always.union(others[: size - len(always)]))
    new = {number: place for place, number in enumerate(kept)}
    model["vocab"] = {token: new[number] for token, number in old.items() if number in new}
    for token in told["added_tokens"]:
        token["id"] = new[token["id"]]
    _renumber(told["post_processor"], new.__getitem__)
    return json.dumps(told, ensure_ascii=False), kept


def check_tokenizer(tokenizer_json: str) -> None:
    """Raise `UsageError` if the `tokenizer.json` cannot be read."""
    size_of(tokenizer_json)


def size_of(tokenizer_json: str) -> int:
    """Tokens of a `tokenizer.json`, special ones included.

    Raises:
        UsageError: it cannot be read.
    """
    try:
        return int(Tokenizer.from_str(tokenizer_json).get_vocab_size())
    except Exception as error:  # tokenizers raises bare Exception
        raise UsageError(f"tokenizer.json cannot be read ({error}): name another model") from error


def cut_alike(one: str, other: str) -> bool:
    """Whether two `tokenizer.json` split every text into the same tokens, whatever their padding and truncation."""
    return bool(bare_tokenizer(one).to_str() == bare_tokenizer(other).to_str())


def read_alike(texts: Sequence[str], whole: str, reduced: str, reading: Reading) -> npt.NDArray[np.bool_]:
    """For each text, whether `reduced`, which `prune` made from the `tokenizer.json` `whole`, gives the same tokens."""
    ids, own_ids = (Tokenizer.from_str(text).get_vocab() for text in (whole, reduced))
    if ids == own_ids:
        return np.ones(len(texts), dtype=np.bool_)
    in_whole = np.zeros(max(own_ids.values()) + 1, dtype=np.int32)
    for token, number in own_ids.items():
        in_whole[number] = ids[token]
    theirs, ours = (Encoder(text, reading).encode(texts) for text in (whole, reduced))
    pairs = zip(theirs, ours, strict=True)
    return np.array([np.array_equal(one.windows[0], in_whole[other.windows[0]]) for one, other in pairs])


def _is_character(token: str) -> bool:
    return len(token) == 1 and token.isascii()


def _renumber(processor: dict[str, Any] | None, new: Callable[[int], int]) -> None:
    """Put the new ids into the part of the tokenizer that adds special tokens."""
    kind = processor and processor["type"]
    if processor is None or kind == "ByteLevel":
        return
    if kind == "TemplateProcessing":
        for token in processor["special_tokens"].values():
            token["ids"] = [new(number) for number in token["ids"]]
    elif kind in ("BertProcessing", "RobertaProcessing"):
        for name in ("sep", "cls"):
            processor[name][1] = new(processor[name][1])
    elif kind == "Sequence":
        for part in processor["processors"]:
            _renumber(part, new)
    else:
        raise UsageError(
            f"the base has a tokenizer with {kind}, whose vocabulary cannot be reduced: choose another --base"
        )
