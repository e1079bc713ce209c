"""Text to token ids, one rule for training and serving: clean, bound, tokenise, truncate or cut into windows."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field
from tokenizers import Encoding, Tokenizer

from consumer.errors import BundleError
from consumer.model.text import clean

#: Characters tokenised per token that is read. English runs at 4 to 5 a token and the longest WordPiece unit is
#: 18, so this bound cuts nothing that truncation would keep (but for what stands between thousands of blanks, or of
#: letters without one, which are a token or none), yet a text of megabytes costs what a long review costs.
CHARACTERS_PER_TOKEN = 32

#: Characters tokenised at once. The tokenizer was seen to take 170 bytes for each token until its text is cut, and a
#: token may be one character: a poll of nothing but huge texts would take gigabytes.
CHARACTERS_AT_ONCE = 500_000

TokenIds = npt.NDArray[np.int32]


class Truncation(StrEnum):
    """What is read of a text that is too long: its first tokens, its first and its last ones, or windows over it."""

    HEAD = "head"
    HEAD_TAIL = "head_tail"
    WINDOWS = "windows"


class Windows(BaseModel):
    """How a text that is too long becomes windows of `max_length` tokens, special tokens included.

    Each window but the first begins with what the one before it ends with: with the share `overlap` of `max_length`,
    rounded down, so that no phrase is only seen cut in two. The first `most` windows are read; the rest of the text,
    however long, costs nothing.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    overlap: float = Field(default=0.25, ge=0, le=0.5)
    most: int = Field(default=4, ge=1, le=64)


@dataclass(frozen=True, slots=True)
class Encoded:
    """One text as the model sees it.

    `windows`, each of shape (tokens,), are read one by one and their logits averaged; there is one, unless the encoder
    cuts windows and the text is too long for one. `tokens` of the text are read, special ones included; those that two
    windows share count once. `truncated`: the rest was cut off.
    """

    windows: tuple[TokenIds, ...]
    tokens: int
    truncated: bool


def bare_tokenizer(tokenizer_json: str) -> Tokenizer:
    """What the text of a `tokenizer.json` says, without the padding and truncation that may be set in it.

    Raises:
        Exception: it cannot be read; tokenizers has no narrower kind.
    """
    tokenizer = Tokenizer.from_str(tokenizer_json)
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


class Encoder:
    """Tokenises and cuts to `max_length` tokens, special ones included.

    Args:
        tokenizer_json: the text of a Hugging Face `tokenizer.json`; padding and truncation set in it are ignored.
        max_length: tokens at most, special tokens included.
        truncation: which tokens of a longer text are kept. `HEAD_TAIL` keeps the first half and the last half, for
            reviews often end in their verdict (Sun et al. 2019, "How to Fine-Tune BERT for Text Classification?",
            section 5.3.1).
        windows: for `WINDOWS`, and for nothing else.

    Raises:
        BundleError: the tokenizer cannot be read, or adds so many special tokens that windows have no room.
    """

    def __init__(
        self, tokenizer_json: str, max_length: int, truncation: Truncation, windows: Windows | None = None
    ) -> None:
        check_windows(truncation, windows)
        try:
            self._tokenizer = bare_tokenizer(tokenizer_json)
        except Exception as error:  # tokenizers raises bare Exception
            raise BundleError(f"tokenizer.json cannot be read: {error}") from error
        self.max_length = max_length
        self.truncation = truncation
        self._windows = windows
        self._step = self._most_tokens = max_length
        if windows:
            overlap = int(windows.overlap * max_length)
            try:
                self._tokenizer.enable_truncation(max_length, stride=overlap)
            except Exception as error:
                raise BundleError(
                    f"windows of {max_length} tokens are too short for this tokenizer: {error}"
                ) from error
            self._step = max_length - self._tokenizer.num_special_tokens_to_add(False) - overlap
            self._most_tokens = max_length + (windows.most - 1) * self._step

    @property
    def pad_id(self) -> int:
        """Id of the padding token; 0 where the tokenizer names none, for it is masked anyway."""
        return self._tokenizer.token_to_id("[PAD]") or self._tokenizer.token_to_id("<pad>") or 0

    def encode(self, texts: Sequence[str]) -> list[Encoded]:
        """Encode `texts`, in order; at most `max_length` tokens in each window."""
        encoded: list[Encoded] = []
        for group in _groups([self._bounded(clean(text)) for text in texts]):
            encodings = self._tokenizer.encode_batch_fast([text for text, _ in group])
            encoded += [self._cut(encoding, cut) for encoding, (_, cut) in zip(encodings, group, strict=True)]
        return encoded

    def spans_read(self, text: str) -> list[tuple[int, int]]:
        """Start and end of each part of `text`, which is `clean`, that the model reads, in characters."""
        bounded, cut = self._bounded(text)
        encoding = self._tokenizer.encode(bounded)
        offsets, middle = encoding.offsets, len(bounded) // 2
        if self._windows:
            windows = [encoding, *encoding.overflowing]
            offsets = [offset for window in windows[: self._windows.most] for offset in window.offsets]
            cut, gap = cut or len(windows) > self._windows.most, len(offsets)
        elif len(offsets) > self.max_length:
            cut, gap = True, self.max_length - self._tail
            offsets = offsets[:gap] + offsets[-self._tail :]
        else:
            gap = next((place for place, (start, _) in enumerate(offsets) if start > middle), len(offsets))
        if not cut:
            return [(0, len(text))]
        # With `HEAD_TAIL`, `_bounded` takes characters out of the middle. What follows is further back in `text`.
        shift = len(text) - len(bounded) if self.truncation is Truncation.HEAD_TAIL else 0
        parts = [
            [at + shift * (at > middle) for start, end in part if start < end for at in (start, end)]
            for part in (offsets[:gap], offsets[gap:])
        ]
        return [(min(part), max(part)) for part in parts if part]

    @property
    def _tail(self) -> int:
        """Tokens kept at the end of a text that is too long, at least the closing special token."""
        return 1 if self.truncation is Truncation.HEAD else self.max_length // 2

    def _bounded(self, text: str) -> tuple[str, bool]:
        """Drop characters from the middle (or the end) that truncation would drop after tokenising anyway."""
        limit = self._most_tokens * CHARACTERS_PER_TOKEN
        if len(text) <= limit:
            return text, False
        if self.truncation is not Truncation.HEAD_TAIL:
            return text[:limit], True
        return text[: limit // 2] + "\n" + text[-(limit // 2) :], True

    def _cut(self, encoding: Encoding, already_cut: bool) -> Encoded:
        whole = np.asarray(encoding.ids, dtype=np.int32)
        if self._windows and (others := encoding.overflowing):
            most = self._windows.most
            windows = (whole, *(np.asarray(other.ids, dtype=np.int32) for other in others[: most - 1]))
            tokens = (len(windows) - 1) * self._step + len(windows[-1])
            return Encoded(windows, tokens, already_cut or len(others) >= most)
        if len(whole) <= self.max_length:
            return Encoded((whole,), len(whole), already_cut)
        tail = self._tail
        kept = np.concatenate([whole[: self.max_length - tail], whole[len(whole) - tail :]])
        return Encoded((kept,), len(kept), True)


def check_windows(truncation: Truncation, windows: Windows | None) -> None:
    """Raise `ValueError` where `truncation` is by windows without any, or there are windows for another one."""
    if (truncation is Truncation.WINDOWS) != (windows is not None):
        raise ValueError(f"windows are for truncation {Truncation.WINDOWS.value}, which cannot be without them")


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
