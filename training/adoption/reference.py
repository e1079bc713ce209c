"""Does a bundle answer as transformers does? Compared logit by logit before anything else is measured."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from consumer.errors import BundleError
from consumer.model.labeller import Scored
from consumer.model.texts.encoder import bare_tokenizer
from consumer.model.texts.reading import Reading, Truncation
from training.adoption.tokenizer import token_ids
from training.measure.evaluate import open_classifier
from training.measure.gate import REFERENCE

#: Largest difference of a logit that the order of the additions explains: a share of the logit, and a part of 1.
TOLERANCE = 2e-3

Logits = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Reference:
    """What transformers answers to `texts`: logits of shape (texts, labels), the end of long texts cut.

    `tied` are the places of texts that the worker may cut into the same tokens in another order.
    """

    texts: tuple[str, ...]
    logits: Logits
    tied: frozenset[int]


def ask_transformers(
    model: Any, tokenizer: Any, tokenizer_json: str, texts: Sequence[str], max_length: int
) -> Reference:
    """Ask `model` with its own `tokenizer`; `tokenizer_json` is what the worker reads.

    Raises:
        BundleError: the worker cuts a text into other tokens.
    """
    import torch

    tied = _tied(tokenizer, tokenizer_json, texts)
    with torch.inference_mode():  # each alone: the padding of the worker is compared as well
        rows = [model(**token_ids(tokenizer, text, max_length)).logits.double().numpy() for text in texts]
    return Reference(tuple(texts), np.concatenate(rows), tied)


def _tied(tokenizer: Any, tokenizer_json: str, texts: Sequence[str]) -> frozenset[int]:
    """The texts that the tokenizers cut into the same tokens in another order.

    Two ways to cut a text can be equally probable to a Unigram model, such as "ha" + "haha" and "haha" + "ha". The last
    digit of a probability decides then, and reading it from a file changes it.
    """
    own = bare_tokenizer(tokenizer_json).encode_batch_fast(list(texts))
    tied = set()
    for number, (text, found) in enumerate(zip(texts, own, strict=True)):
        expected = tokenizer(text)["input_ids"]
        if sorted(expected) != sorted(found.ids):
            raise BundleError(
                f"the worker cuts probe {number} into other tokens than transformers, so no bundle is written: please "
                "report the family and its versions"
            )
        if expected != found.ids:
            tied.add(number)
    return frozenset(tied)


def check_alike(bundle: Path, expected: Reference, labels: Sequence[str], reading: Reading) -> tuple[float, int]:
    """Compare the answers of the fp32 variant of `bundle` with those of transformers.

    Args:
        bundle: not calibrated yet.
        expected: the answers of transformers. Those to texts that are tied do not count, nor, without `head`, those to
            long texts, of which the worker reads other parts.
        labels: `labels[i]` names the logit i of transformers.
        reading: that of the bundle.

    Returns:
        The largest difference of a logit, and the number of texts compared.

    Raises:
        BundleError: the answers differ, or the worker fails on a text.
    """
    with open_classifier(bundle, REFERENCE) as classifier:
        results = classifier.classify(expected.texts).results
    largest, compared = 0.0, 0
    for number, (result, row) in enumerate(zip(results, expected.logits, strict=True)):
        if not isinstance(result, Scored):
            raise BundleError(f"the exported model fails on probe {number} ({result.kind}), so no bundle is written")
        is_cut = result.truncated or result.tokens > reading.max_length
        if number in expected.tied or (is_cut and reading.truncation is not Truncation.HEAD):
            continue
        # Logarithms of probabilities are logits up to a constant, which the mean takes out.
        found = np.log(np.maximum([result.probabilities[label] for label in labels], np.finfo(np.float64).tiny))
        difference = np.abs((found - found.mean()) - (row - row.mean()))
        if not (difference <= TOLERANCE * np.maximum(1, np.abs(row - row.mean()))).all():
            raise BundleError(
                f"the exported model answers probe {number} differently than transformers (a logit is off by "
                f"{difference.max():.4f}), so no bundle is written: please report the family and its versions"
            )
        largest, compared = max(largest, float(difference.max())), compared + 1
    return largest, compared
