"""Text to token ids, the same for training and serving: clean, bound, tokenise, truncate or cut into windows."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from tokenizers import Encoding, Tokenizer

from consumer.errors import BundleError
from consumer.model.texts.cleaning import clean
from consumer.model.texts.reading import Reading, Truncation

#: Characters tokenised per token that is read. English has 4 to 5 characters per token, and the longest WordPiece unit
#: has 18, so this bound removes nothing that truncation would keep. (Exception: text behind thousands of blanks, or of
#: letters without a blank, which become one token or none.) A text of megabytes costs as much as a long review.
CHARACTERS_PER_TOKEN = 32

#: Characters cleaned per token that is read: cleaning rarely shortens a text at all, and `&quot;` six times. What is
#: behind that was never going to be read, and is not even cleaned.
UNCLEANED_CHARACTERS_PER_TOKEN = 8 * CHARACTERS_PER_TOKEN

#: Characters tokenised at once. Until a text is cut, the tokenizer needs 170 bytes (measured) for each token, and a
#: token may be a single character, so a poll full of huge texts would need gigabytes.
CHARACTERS_AT_ONCE = 500_000

TokenIds = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Encoded:
    """One text as the model sees it.

    The model reads each of the `windows`, of shape (tokens,), and their logits are averaged. There is one window unless
    the encoder cuts windows and the text is too long for one. `tokens` is the number of tokens read, special tokens
    included; tokens shared by two windows count once. `truncated`: the rest of the text was cut off. `unknown` is the
    share of the words read that the tokenizer does not know, 0 to 1, by tokens; 1 if no word was read. Punctuation is
    no word.
    """

    windows: tuple[TokenIds, ...]
    tokens: int
    truncated: bool
    unknown: float = 0.0


def bare_tokenizer(tokenizer_json: str) -> Tokenizer:
    """The tokenizer of a `tokenizer.json`, without the padding and truncation that may be set in it.

    Raises:
        Exception: it cannot be read; tokenizers has no narrower type.
    """
    tokenizer = Tokenizer.from_str(tokenizer_json)
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


class Encoder:
    """Turns texts into token ids, cut as `reading` says.

    Args:
        tokenizer_json: the text of a Hugging Face `tokenizer.json`; padding and truncation set in it are ignored.
        reading: how much of a text is read, and which part.

    Raises:
        BundleError: the tokenizer cannot be read, or its special tokens leave no room in a window.
    """

    def __init__(self, tokenizer_json: str, reading: Reading) -> None:
        try:
            self._tokenizer = bare_tokenizer(tokenizer_json)
        except Exception as error:  # tokenizers raises bare Exception
            raise BundleError(f"tokenizer.json cannot be read: {error}") from error
        self.reading = reading
        self._kinds = _kinds(self._tokenizer)
        self._step = self._most_tokens = max_length = reading.max_length
        if reading.windows:
            overlap = int(reading.windows.overlap * max_length)
            try:
                self._tokenizer.enable_truncation(max_length, stride=overlap)
            except Exception as error:
                raise BundleError(
                    f"windows of {max_length} tokens are too short for this tokenizer: {error}"
                ) from error
            self._step = max_length - self._tokenizer.num_special_tokens_to_add(False) - overlap
            self._most_tokens = max_length + (reading.windows.most - 1) * self._step

    @property
    def pad_id(self) -> int:
        """Id of the padding token; 0 if the tokenizer has none, since padding is masked anyway."""
        return self._tokenizer.token_to_id("[PAD]") or self._tokenizer.token_to_id("<pad>") or 0

    def encode(self, texts: Sequence[str]) -> list[Encoded]:
        """Encode `texts`, in order; at most `max_length` tokens in each window."""
        encoded: list[Encoded] = []
        for group in _groups([self._prepared(text) for text in texts]):
            encodings = self._tokenizer.encode_batch_fast([text for text, _ in group])
            encoded += [self._cut(encoding, cut) for encoding, (_, cut) in zip(encodings, group, strict=True)]
        return encoded

    def clean(self, text: str) -> str:
        """`text` as it is tokenised, if it is not too long."""
        return clean(text, self.reading.text_rules)

    def spans_read(self, text: str) -> list[tuple[int, int]]:
        """Start and end of each part of `text`, which is `clean`, that the model reads, in characters."""
        bounded, cut = self._bounded(text, CHARACTERS_PER_TOKEN)
        encoding = self._tokenizer.encode(bounded)
        offsets, middle = encoding.offsets, len(bounded) // 2
        if self.reading.windows:
            windows = [encoding, *encoding.overflowing]
            offsets = [offset for window in windows[: self.reading.windows.most] for offset in window.offsets]
            cut, gap = cut or len(windows) > self.reading.windows.most, len(offsets)
        elif len(offsets) > self.reading.max_length:
            cut, gap = True, self.reading.max_length - self._tail
            offsets = offsets[:gap] + offsets[-self._tail :]
        else:
            gap = next((place for place, (start, _) in enumerate(offsets) if start > middle), len(offsets))
        if not cut:
            return [(0, len(text))]
        # With `HEAD_TAIL`, `_bounded` takes characters out of the middle. What follows is further back in `text`.
        shift = len(text) - len(bounded) if self.reading.truncation is Truncation.HEAD_TAIL else 0
        parts = [
            [at + shift * (at > middle) for start, end in part if start < end for at in (start, end)]
            for part in (offsets[:gap], offsets[gap:])
        ]
        return [(min(part), max(part)) for part in parts if part]

    @property
    def _tail(self) -> int:
        """Tokens kept at the end of a text that is too long, at least the closing special token."""
        return 1 if self.reading.truncation is Truncation.HEAD else self.reading.max_length // 2

    def _prepared(self, text: str) -> tuple[str, bool]:
        """Clean and bound `text`; also whether something was cut off."""
        text, cut = self._bounded(text, UNCLEANED_CHARACTERS_PER_TOKEN)
        text, cut_again = self._bounded(self.clean(text), CHARACTERS_PER_TOKEN)
        return text, cut or cut_again

    def _bounded(self, text: str, per_token: int) -> tuple[str, bool]:
        """Remove characters from the middle or the end that truncation would remove as tokens anyway."""
        limit = self._most_tokens * per_token
        if len(text) <= limit:
            return text, False
        if self.reading.truncation is not Truncation.HEAD_TAIL:
            return text[:limit], True
        return text[: limit // 2] + "\n" + text[-(limit // 2) :], True

    def _cut(self, encoding: Encoding, already_cut: bool) -> Encoded:
        whole = np.asarray(encoding.ids, dtype=np.int32)
        reading = self.reading
        if reading.windows and (others := encoding.overflowing):
            most = reading.windows.most
            windows = (whole, *(np.asarray(other.ids, dtype=np.int32) for other in others[: most - 1]))
            tokens = (len(windows) - 1) * self._step + len(windows[-1])
            return Encoded(windows, tokens, already_cut or len(others) >= most, self._unknown(np.concatenate(windows)))
        if len(whole) <= reading.max_length:
            return Encoded((whole,), len(whole), already_cut, self._unknown(whole))
        tail = self._tail
        kept = np.concatenate([whole[: reading.max_length - tail], whole[len(whole) - tail :]])
        return Encoded((kept,), len(kept), True, self._unknown(kept))

    def _unknown(self, ids: TokenIds) -> float:
        """Share of the words that are unknown."""
        _, known, unknown = np.bincount(self._kinds[ids], minlength=3).tolist()
        return unknown / (known + unknown) if known + unknown else 1.0


def _kinds(tokenizer: Tokenizer) -> npt.NDArray[np.uint8]:
    """For each token id: 1 for a word or a part of one, 2 for the unknown token, 0 for all others; shape (ids,)."""
    vocabulary = tokenizer.get_vocab(with_added_tokens=True)
    kinds = np.zeros(max(vocabulary.values(), default=0) + 1, dtype=np.uint8)
    kinds[[id_ for token, id_ in vocabulary.items() if any(map(str.isalnum, token))]] = 1
    kinds[tokenizer.encode("").ids] = 0
    model = json.loads(tokenizer.to_str())["model"]
    unknown = vocabulary.get(model.get("unk_token"), model.get("unk_id"))
    if unknown is not None:
        kinds[unknown] = 2
    return kinds


def _groups(texts: Sequence[tuple[str, bool]]) -> Iterator[list[tuple[str, bool]]]:
    """`texts` in order, in groups of at most `CHARACTERS_AT_ONCE` or of one text."""
    group: list[tuple[str, bool]] = []
    characters = 0
    for text in texts:
        if group and characters + len(text[0]) > CHARACTERS_AT_ONCE:
            yield group
            group, characters = [], 0
        group.append(text)
        characters += len(text[0])
    if group:
        yield group
