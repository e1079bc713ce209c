"""The texts that set the scales of int8, as the model reads them."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from consumer.model.texts.encoder import Encoder, TokenIds
from consumer.model.texts.reading import Reading


def scale_windows(
    tokenizer_json: str, reading: Reading, texts: Sequence[str], generator: np.random.Generator
) -> list[TokenIds]:
    """`texts` as token ids, a third each cut to a short, a middle and the full length.

    Of a text that becomes several windows, the `generator` draws one.
    """
    windows: list[TokenIds] = []
    for third, divisor in enumerate((8, 3, 1)):
        encoder = Encoder(tokenizer_json, replace(reading, max_length=max(reading.max_length // divisor, 8)))
        encoded = encoder.encode(texts[third::3])
        windows += [text.windows[generator.integers(len(text.windows))] for text in encoded]
    return windows
