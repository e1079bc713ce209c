"""How a text that is too long is read: windows that miss nothing, up to a bound, and what the other ways keep."""

import json
from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Regex, Tokenizer, models, pre_tokenizers, processors

from consumer.errors import BundleError
from consumer.model.texts import encoder
from consumer.model.texts.encoder import Encoded, Encoder
from consumer.model.texts.reading import Reading, Truncation, Windows

#: Ids of the two special tokens; word `n` of a text has the id `n + 2`.
OPENING, CLOSING, FIRST = 0, 1, 2
MAX_LENGTH = 10
#: Windows of 10 tokens: 8 of the text, of which the next one repeats 2 (a quarter of 10, rounded down).
WINDOWS = Windows(overlap=0.25, most=3)


def numbers_tokenizer(special: bool = True) -> str:
    """A tokenizer.json that reads the numbers 0 to 999, each as one token."""
    vocabulary = {"[CLS]": OPENING, "[SEP]": CLOSING, **{str(number): number + FIRST for number in range(1000)}}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="0"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"\s+"), "removed")
    if special:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]", special_tokens=[("[CLS]", OPENING), ("[SEP]", CLOSING)]
        )
    return tokenizer.to_str()


def text_of(words: int) -> str:
    """The numbers from 0 on."""
    return " ".join(map(str, range(words)))


def encoded(words: int, windows: Windows = WINDOWS, max_length: int = MAX_LENGTH) -> Encoded:
    """`text_of(words)` in windows."""
    (found,) = Encoder(numbers_tokenizer(), Reading(max_length, Truncation.WINDOWS, windows)).encode([text_of(words)])
    return found


def words_in(window: np.ndarray) -> list[int]:
    """The numbers of the text that a window holds."""
    assert (window[0], window[-1]) == (OPENING, CLOSING)
    return [int(token) - FIRST for token in window[1:-1]]


@pytest.mark.parametrize(
    ("words", "windows"),
    [
        (7, [(0, 7)]),  # one below what a window holds
        (8, [(0, 8)]),
        (9, [(0, 8), (6, 9)]),  # one above
        (14, [(0, 8), (6, 14)]),
        (15, [(0, 8), (6, 14), (12, 15)]),
    ],
)
def test_a_text_that_fits_is_one_window_and_a_longer_one_goes_on_in_the_next(
    words: int, windows: list[tuple[int, int]]
) -> None:
    """Just below, at and above the bound of one and of two windows; each repeats the end of the one before it."""
    found = encoded(words)
    assert [words_in(window) for window in found.windows] == [list(range(*window)) for window in windows]
    assert (found.tokens, found.truncated) == (words + 2, False)


@pytest.mark.parametrize(("words", "truncated"), [(20, False), (21, True), (900, True)])
def test_what_lies_behind_the_last_window_is_cut_and_told(words: int, truncated: bool) -> None:
    """Three windows hold 8 + 6 + 6 words: of a text one longer, and of one of any length, these are read."""
    found = encoded(words)
    assert [words_in(window) for window in found.windows] == [list(range(first, first + 8)) for first in (0, 6, 12)]
    assert (found.tokens, found.truncated) == (22, truncated)


@given(
    words=st.integers(0, 400),
    max_length=st.integers(8, 60),
    windows=st.builds(Windows, overlap=st.floats(0, 0.5), most=st.integers(1, 64)),
)
def test_every_token_is_read_in_order_in_at_least_one_window(words: int, max_length: int, windows: Windows) -> None:
    """For any length, overlap and bound: no gap, no window too many, and what is read is counted."""
    found = encoded(words, windows, max_length)
    read = [words_in(window) for window in found.windows]
    # Each window is a run of the text, and begins where the promised overlap with the one before it begins
    assert all(run == list(range(run[0], run[0] + len(run))) for run in read if run)
    assert all(len(window) == max_length for window in found.windows[:-1])
    for before, after in pairwise(read):
        assert before[-1] + 1 - after[0] == int(windows.overlap * max_length)
        assert after[-1] > before[-1]
    # Together they are the beginning of the text, all of it unless they are as many as there may be
    assert sorted({word for run in read for word in run}) == list(range(found.tokens - 2))
    assert 1 <= len(read) <= windows.most
    assert found.truncated == (found.tokens - 2 < words)
    assert not found.truncated or len(read) == windows.most


def test_a_tokenizer_without_special_tokens_fills_its_windows_with_the_text() -> None:
    """The room that special tokens do not take is the text's."""
    (found,) = Encoder(numbers_tokenizer(special=False), Reading(10, Truncation.WINDOWS, WINDOWS)).encode([text_of(18)])
    assert [[int(token) - FIRST for token in window] for window in found.windows] == [
        list(range(10)),
        list(range(8, 18)),
    ]
    assert (found.tokens, found.truncated) == (18, False)


@pytest.mark.parametrize(
    ("truncation", "kept"), [(Truncation.HEAD, [*range(8)]), (Truncation.HEAD_TAIL, [0, 1, 2, 3, 16, 17, 18, 19])]
)
def test_without_windows_a_text_is_one_row_however_long(truncation: Truncation, kept: list[int]) -> None:
    """Its first tokens, or its first and its last ones."""
    (found,) = Encoder(numbers_tokenizer(), Reading(MAX_LENGTH, truncation)).encode([text_of(20)])
    assert [words_in(window) for window in found.windows] == [kept]
    assert (found.tokens, found.truncated) == (10, True)


@pytest.mark.parametrize("truncation", Truncation)
def test_a_huge_text_is_cut_before_it_is_tokenised(truncation: Truncation, monkeypatch: pytest.MonkeyPatch) -> None:
    """What no window could hold is dropped as characters: the tokenizer never sees most of a text of megabytes."""
    windows = WINDOWS if truncation is Truncation.WINDOWS else None
    reader = Encoder(numbers_tokenizer(), Reading(MAX_LENGTH, truncation, windows))
    seen: list[int] = []
    groups = encoder._groups

    def noting(texts: Sequence[tuple[str, bool]]) -> Iterator[list[tuple[str, bool]]]:
        seen.extend(len(text) for text, _ in texts)
        return groups(texts)

    monkeypatch.setattr(encoder, "_groups", noting)
    (found,) = reader.encode(["7 " * 500_000])
    tokens_read = 10 + 2 * 6 if windows else 10
    assert seen[0] <= tokens_read * encoder.CHARACTERS_PER_TOKEN + 1
    assert (found.tokens, found.truncated) == (tokens_read, True)


@given(st.lists(st.integers(0, 60), max_size=30), st.integers(1, 300))
@settings(max_examples=40)
def test_texts_are_tokenised_a_few_at_a_time_and_keep_their_places(words: list[int], at_once: int) -> None:
    """However few characters may be tokenised at once: each text gets its own windows, in order."""
    reader = Encoder(numbers_tokenizer(), Reading(MAX_LENGTH, Truncation.WINDOWS, WINDOWS))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encoder, "CHARACTERS_AT_ONCE", at_once)
        groups = list(encoder._groups([(text_of(count), False) for count in words]))
        found = reader.encode([text_of(count) for count in words])
    assert all(len(group) == 1 or sum(len(text) for text, _ in group) <= at_once for group in groups)
    for count, text in zip(words, found, strict=True):
        assert [window.tolist() for window in text.windows] == [w.tolist() for w in encoded(count).windows]


def test_truncation_and_windows_that_contradict_each_other_are_refused() -> None:
    """Windows without the truncation that reads them, and that truncation without windows."""
    for truncation, windows in ((Truncation.WINDOWS, None), (Truncation.HEAD_TAIL, WINDOWS)):
        with pytest.raises(ValueError, match="belong together"):
            Reading(MAX_LENGTH, truncation, windows)


def test_a_tokenizer_that_leaves_windows_no_room_is_refused() -> None:
    """Its special tokens and the overlap fill the window: there is no next token to read."""
    tokenizer = json.loads(numbers_tokenizer())
    tokenizer["post_processor"]["single"] *= 3
    tokenizer["post_processor"]["single"] = [
        piece for piece in tokenizer["post_processor"]["single"] if "SpecialToken" in piece
    ] + [{"Sequence": {"id": "A", "type_id": 0}}]
    with pytest.raises(BundleError, match="windows of 8 tokens are too short"):
        Encoder(json.dumps(tokenizer), Reading(8, Truncation.WINDOWS, Windows(overlap=0.5)))


@pytest.mark.parametrize("truncation", Truncation)
def test_what_will_not_be_read_is_not_cleaned(truncation: Truncation, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cleaning costs what is read, however long the text; a text that cleaning shortens sixfold is still read whole."""
    reader = Encoder(numbers_tokenizer(), Reading(MAX_LENGTH, truncation, WINDOWS if truncation == "windows" else None))
    seen: list[int] = []

    def note(text: str, _rules: int) -> str:
        seen.append(len(text))
        return text

    monkeypatch.setattr(encoder, "clean", note)
    reader.encode(["&quot;" * 500_000])
    most = 10 + 2 * 6 if truncation is Truncation.WINDOWS else 10
    assert seen[0] <= most * 256 + 1
    monkeypatch.undo()
    (found,) = reader.encode(["&nbsp;" * 60 + "7 8 9" + "&nbsp;" * 60])
    assert (found.tokens, found.truncated) == (5, False)
