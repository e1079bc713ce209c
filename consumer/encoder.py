"""Text to token ids, one rule for training and serving: clean, bound, tokenise, truncate."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from consumer.errors import BundleError

#: Characters tokenised per token of `max_length`. English runs at 4 to 5 a token and the longest WordPiece unit is
#: 18, so this bound cuts nothing that truncation would keep, yet a text of megabytes costs what a long review costs.
CHARACTERS_PER_TOKEN = 32

_HTML_BREAK = re.compile(r"<br\s*/?>", re.IGNORECASE)

TokenIds = npt.NDArray[np.int32]


class Truncation(StrEnum):
    """Which tokens of a text that is too long are kept: the first ones, or the first and the last ones."""

    HEAD = "head"
    HEAD_TAIL = "head_tail"


@dataclass(frozen=True, slots=True)
class Encoded:
    """One text as the model sees it: `ids` of shape (tokens,), and whether something was cut off."""

    ids: TokenIds
    truncated: bool

    @property
    def tokens(self) -> int:
        """Length in tokens, special tokens included."""
        return len(self.ids)


def clean(text: str) -> str:
    """Replace HTML line breaks, which scraped reviews carry, by newlines."""
    return _HTML_BREAK.sub("\n", text)


class Encoder:
    """Tokenises and truncates to `max_length` tokens, the two special ones at the ends included.

    Args:
        tokenizer_json: the text of a Hugging Face `tokenizer.json`; padding and truncation set in it are ignored.
        max_length: tokens at most, special tokens included.
        truncation: which tokens of a longer text are kept. `HEAD_TAIL` keeps the first half and the last half, for
            reviews often end in their verdict (Sun et al. 2019, "How to Fine-Tune BERT for Text Classification?",
            section 5.3.1).

    Raises:
        BundleError: the tokenizer cannot be read.
    """

    def __init__(self, tokenizer_json: str, max_length: int, truncation: Truncation) -> None:
        try:
            self._tokenizer = Tokenizer.from_str(tokenizer_json)
        except Exception as error:  # tokenizers raises bare Exception
            raise BundleError(f"tokenizer.json cannot be read: {error}") from error
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self.max_length = max_length
        self.truncation = truncation

    @classmethod
    def from_file(cls, path: Path, max_length: int, truncation: Truncation) -> "Encoder":
        """Read `path`, a `tokenizer.json`."""
        return cls(path.read_text(encoding="utf-8"), max_length, truncation)

    @property
    def pad_id(self) -> int:
        """Id of the padding token; 0 where the tokenizer names none, for it is masked anyway."""
        return self._tokenizer.token_to_id("[PAD]") or self._tokenizer.token_to_id("<pad>") or 0

    def encode(self, texts: Sequence[str]) -> list[Encoded]:
        """Encode `texts`, in order; at most `max_length` tokens each."""
        bounded = [self._bounded(clean(text)) for text in texts]
        encodings = self._tokenizer.encode_batch_fast([text for text, _ in bounded])
        return [self._cut(encoding.ids, cut) for encoding, (_, cut) in zip(encodings, bounded, strict=True)]

    def _bounded(self, text: str) -> tuple[str, bool]:
        """Drop characters from the middle (or the end) that truncation would drop after tokenising anyway."""
        limit = self.max_length * CHARACTERS_PER_TOKEN
        if len(text) <= limit:
            return text, False
        if self.truncation is Truncation.HEAD:
            return text[:limit], True
        return text[: limit // 2] + "\n" + text[-(limit // 2) :], True

    def _cut(self, ids: list[int], already_cut: bool) -> Encoded:
        whole = np.asarray(ids, dtype=np.int32)
        if len(whole) <= self.max_length:
            return Encoded(whole, already_cut)
        # The closing special token is always kept; with HEAD it is all that is kept of the end.
        tail = 1 if self.truncation is Truncation.HEAD else self.max_length // 2
        return Encoded(np.concatenate([whole[: self.max_length - tail], whole[len(whole) - tail :]]), True)
