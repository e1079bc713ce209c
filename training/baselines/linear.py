"""The two linear models on word and word pair counts, in scikit-learn."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from consumer.errors import UsageError
from training.baselines.words import words_of
from training.io.output import storing, write_text

#: Texts that a feature must occur in; from a rarer one a model could only memorise that one text.
LEAST_TEXTS = 2

#: Most steps of the solver (L-BFGS); it needs far fewer.
MOST_STEPS = 1000

Floats = npt.NDArray[np.float64]


class NbSvm:
    """Wang & Manning 2012, "Baselines and Bigrams", section 2.3, with logistic regression instead of the SVM.

    A linear model is trained on the presence of words and word pairs, each times its Naive Bayes log-count ratio. Its
    weights are then interpolated with their mean magnitude. Each label is trained against the rest.

    Args:
        labels: number of labels.
    """

    #: Added to every count, as in the paper.
    ALPHA = 1.0

    #: Share of the trained weights in the interpolation. The paper's 0.25 is for its SVM. Of 0 to 1, 0.6 was the most
    #: accurate in cross-validation on training rows of IMDB: 89.18 % with 5,000 of them (0.25: 87.36 %), 91.45 % with
    #: all 24,900 (0.25: 90.76 %).
    BETA = 0.6

    def __init__(self, labels: int) -> None:
        from sklearn.feature_extraction.text import CountVectorizer

        self._labels = labels
        self._counts = CountVectorizer(analyzer=word_pairs, binary=True, min_df=LEAST_TEXTS, dtype=np.float32)
        self._weights = np.zeros((0, 0))
        self._biases = np.zeros(0)

    def fit(self, texts: Sequence[str], targets: Sequence[int], on_read: Callable[[int], None]) -> None:
        """Train; `on_read` receives how many of `texts` are counted.

        Raises:
            UsageError: see `learn_features`.
        """
        from sklearn.linear_model import LogisticRegression

        present = learn_features(self._counts, counted(texts, on_read))
        truth = np.asarray(targets)
        # Two labels need one model: the second is its opposite.
        ones = [1] if self._labels == 2 else range(self._labels)
        weights, biases = [], []
        for label in ones:
            ratios = log_count_ratios(present, truth == label, self.ALPHA)
            model = LogisticRegression(C=1.0, max_iter=MOST_STEPS).fit(present.multiply(ratios).tocsr(), truth == label)
            trained = model.coef_[0]
            weights.append(ratios * ((1 - self.BETA) * np.abs(trained).mean() + self.BETA * trained))
            biases.append(model.intercept_[0])
        self._weights, self._biases = np.array(weights), np.array(biases)

    def probabilities(self, texts: Sequence[str]) -> Floats:
        """Shape (texts, labels)."""
        logits = self._counts.transform(texts) @ self._weights.T + self._biases
        ones = 1 / (1 + np.exp(-np.clip(logits, -500, 500)))
        if self._labels == 2:
            return np.hstack([1 - ones, ones])
        return np.asarray(ones / ones.sum(axis=1, keepdims=True))

    @property
    def parameters(self) -> int:
        """Trained numbers: weights, with the ratios in them, and biases."""
        return self._weights.size + self._biases.size

    def save(self, directory: Path) -> None:
        """Write what inference needs."""
        save_linear(directory, self._counts, weights=self._weights, biases=self._biases)


class LogReg:
    """Logistic regression on tf-idf of words and word pairs.

    Args:
        labels: number of labels.
    """

    #: Inverse of the penalty. Rows of tf-idf have length 1, so useful weights are large.
    C = 10.0

    def __init__(self, labels: int) -> None:
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.linear_model import LogisticRegression

        self._labels = labels
        self._tfidf = TfidfVectorizer(analyzer=word_pairs, min_df=LEAST_TEXTS, sublinear_tf=True, dtype=np.float32)
        self._model = LogisticRegression(C=self.C, max_iter=MOST_STEPS)

    def fit(self, texts: Sequence[str], targets: Sequence[int], on_read: Callable[[int], None]) -> None:
        """Train; `on_read` receives how many of `texts` are counted.

        Raises:
            UsageError: see `learn_features`.
        """
        self._model.fit(learn_features(self._tfidf, counted(texts, on_read)), np.asarray(targets))

    def probabilities(self, texts: Sequence[str]) -> Floats:
        """Shape (texts, labels)."""
        return np.asarray(self._model.predict_proba(self._tfidf.transform(texts)))

    @property
    def parameters(self) -> int:
        """Trained numbers: weights, biases and inverse document frequencies."""
        return int(self._model.coef_.size + self._model.intercept_.size + self._tfidf.idf_.size)

    def save(self, directory: Path) -> None:
        """Write what inference needs."""
        model = self._model
        save_linear(directory, self._tfidf, weights=model.coef_, biases=model.intercept_, idf=self._tfidf.idf_)


def log_count_ratios(present: Any, positive: npt.NDArray[np.bool_], alpha: float) -> Floats:
    """Log-count ratios ln((p / |p|) / (q / |q|)) of each feature, shape (features,) (Wang & Manning 2012, 2.1).

    Args:
        present: sparse, shape (texts, features), 1 where a text has the feature.
        positive: shape (texts,); p counts these texts, q the others.
        alpha: added to every count.
    """
    p = alpha + np.asarray(present[positive].sum(axis=0), dtype=np.float64).ravel()
    q = alpha + np.asarray(present[~positive].sum(axis=0), dtype=np.float64).ravel()
    return np.asarray(np.log(p / p.sum()) - np.log(q / q.sum()))


def word_pairs(text: str) -> list[str]:
    """The words of `text`, and each pair of neighbours."""
    words = words_of(text)
    return words + [f"{first} {second}" for first, second in pairwise(words)]


def counted(texts: Sequence[str], on_read: Callable[[int], None]) -> Iterator[str]:
    """`texts`, reporting to `on_read` now and then how many are done."""
    for number, text in enumerate(texts, start=1):
        yield text
        if number % 256 == 0 or number == len(texts):
            on_read(number)


def learn_features(vectorizer: Any, texts: Iterable[str]) -> Any:
    """The features of `texts`, sparse, shape (texts, features), after `vectorizer` has collected them.

    Raises:
        UsageError: no word occurs in `LEAST_TEXTS` of them.
    """
    try:
        return vectorizer.fit_transform(texts)
    except ValueError as error:  # scikit-learn has no narrower kind
        raise UsageError(
            f"no word occurs in {LEAST_TEXTS} training texts, so a linear model has nothing to learn from: give "
            "more texts, or check that they are read from the right column"
        ) from error


def save_linear(directory: Path, vectorizer: Any, **arrays: Floats) -> None:
    """Write `arrays` in fp32 and the features of `vectorizer`, in the order of their columns."""
    features = vectorizer.get_feature_names_out().tolist()
    write_text(directory / "features.json", json.dumps(features, ensure_ascii=False))
    as_fp32: dict[str, Any] = {name: array.astype(np.float32) for name, array in arrays.items()}
    path = directory / "weights.npz"
    with storing(path):
        np.savez(path, **as_fp32)
