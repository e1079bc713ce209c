"""nbsvm as a teacher: its training rows are answered by models that have not seen them."""

import random
from pathlib import Path

import numpy as np
import pytest

from consumer.errors import UsageError
from training.data.reviews import Reviews
from training.teachers.linear import FOLDS, nbsvm_logits

pytestmark = pytest.mark.training

SEED = 20261124


def reviews(texts: list[str], labels: list[str]) -> Reviews:
    """As if they had been read from a file."""
    return Reviews(Path("train.xlsx"), "0" * 64, tuple(texts), tuple(labels))


def noise(generator: random.Random) -> str:
    """A text without information."""
    return " ".join(f"w{generator.randrange(300)}" for _ in range(30))


def test_a_row_is_answered_by_a_model_that_has_not_seen_it() -> None:
    """With labels drawn at random it is right half the time and not sure; one that has seen them is always right."""
    generator = random.Random(SEED)
    texts = [noise(generator) for _ in range(400)]
    labels = [generator.choice(["neg", "pos"]) for _ in texts]
    logits = nbsvm_logits(reviews(texts, labels), [], SEED)
    assert logits.shape == (400, 2)
    right = (logits.argmax(axis=1) == [("neg", "pos").index(label) for label in labels]).mean()
    assert 0.4 < right < 0.6
    assert probabilities(logits).max(axis=1).mean() < 0.65


def test_other_texts_are_answered_after_the_rows_in_the_order_of_the_labels() -> None:
    """It labels texts without labels correctly and is as confident as it is accurate."""
    generator = random.Random(SEED)
    words = {"neg": "awful", "pos": "great"}
    labels = [generator.choice(["neg", "pos"]) for _ in range(300)]
    # One row in ten is labelled wrongly: without a wrong answer there is no temperature to fit.
    texts = [
        f"{noise(generator)} {words[label if row % 10 else 'pos' if label == 'neg' else 'neg']}"
        for row, label in enumerate(labels)
    ]
    unlabeled = [f"{noise(generator)} {word}" for word in ("great", "awful", "great")]
    logits = nbsvm_logits(reviews(texts, labels), unlabeled, SEED)
    assert logits.dtype == np.float32
    assert logits[300:].argmax(axis=1).tolist() == [1, 0, 1]
    said, right = logits[:300].argmax(axis=1), np.array([("neg", "pos").index(label) for label in labels])
    assert (said == right).mean() > 0.8
    confidence = probabilities(logits[:300]).max(axis=1).mean()
    assert abs(confidence - (said == right).mean()) < 0.1


def test_the_same_seed_gives_the_same_answers() -> None:
    """A resumed run trains nbsvm again."""
    generator = random.Random(SEED)
    texts = [noise(generator) for _ in range(60)]
    train = reviews(texts, ["neg", "pos"] * 30)
    first, second, other = (nbsvm_logits(train, texts[:3], seed) for seed in (1, 1, 2))
    assert np.array_equal(first, second)
    assert not np.array_equal(first, other)


def test_too_few_rows_are_refused() -> None:
    """Each part needs a row of each label."""
    rows = FOLDS - 1
    with pytest.raises(UsageError, match="at least 5 training rows of each label"):
        nbsvm_logits(reviews(["good"] * 20 + ["bad"] * rows, ["pos"] * 20 + ["neg"] * rows), [], SEED)


def probabilities(logits: np.ndarray) -> np.ndarray:
    """The softmax of each row."""
    exponents = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    return np.asarray(exponents / exponents.sum(axis=1, keepdims=True))


def test_texts_without_a_word_in_common_are_refused() -> None:
    """As if the wrong column was read: one line, from the teacher and from both models of compare."""
    from training.baselines.linear import LogReg, NbSvm

    # Given texts that share no word
    texts = tuple(f"first{row} second{row}" for row in range(20))
    train = reviews(list(texts), ["neg", "pos"] * 10)
    # When a linear model is trained on them, then it reports why it cannot
    with pytest.raises(UsageError, match="no word occurs in 2 training texts"):
        nbsvm_logits(train, [], SEED)
    for model in (NbSvm(2), LogReg(2)):
        with pytest.raises(UsageError, match="no word occurs in 2 training texts"):
            model.fit(texts, [0, 1] * 10, lambda _: None)
