"""Does a bundle answer as transformers does? Compared logit by logit before anything else is measured."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from consumer.errors import BundleError
from consumer.model.labeller import Scored
from consumer.model.reading import Reading, Truncation
from training.adoption.tokenizer import token_ids
from training.measure.evaluate import open_classifier
from training.measure.gate import REFERENCE

#: Largest difference of a logit that the order of the additions explains: a share of the logit, and a part of 1.
TOLERANCE = 2e-3

#: Texts that transformers computes at once.
_AT_ONCE = 8

Logits = npt.NDArray[np.float64]


def reference_logits(model: Any, tokenizer: Any, texts: Sequence[str], max_length: int) -> Logits:
    """What transformers answers, with its own tokenizer and the end of long texts cut; shape (texts, labels)."""
    import torch

    rows: list[Logits] = []
    with torch.inference_mode():
        for start in range(0, len(texts), _AT_ONCE):
            inputs = token_ids(tokenizer, texts[start : start + _AT_ONCE], max_length)
            rows.append(model(**inputs).logits.double().numpy())
    return np.concatenate(rows)


def check_alike(
    bundle: Path, expected: Logits, labels: Sequence[str], texts: Sequence[str], reading: Reading
) -> tuple[float, int]:
    """Compare the answers of the fp32 variant of `bundle` with those of transformers.

    Args:
        bundle: not calibrated yet.
        expected: from `reference_logits`.
        labels: `labels[i]` names the logit i of transformers.
        texts: what both were asked. Without `head`, the worker reads other parts of long ones, which do not count.
        reading: that of the bundle.

    Returns:
        The largest difference of a logit, and the number of texts compared.

    Raises:
        BundleError: the answers differ, or the worker fails on a text.
    """
    with open_classifier(bundle, REFERENCE) as classifier:
        results = classifier.classify(texts).results
    largest, compared = 0.0, 0
    for number, (result, row) in enumerate(zip(results, expected, strict=True)):
        if not isinstance(result, Scored):
            raise BundleError(f"the exported model fails on probe {number} ({result.kind}), so no bundle is written")
        if result.truncated and reading.truncation is not Truncation.HEAD:
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
