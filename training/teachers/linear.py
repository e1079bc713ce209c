"""nbsvm as a teacher: the linear model of `compare`, trained here on the labelled rows of the student.

It takes minutes instead of a transformer's night. A model memorises the labels of its own rows and is too sure of them,
so a training row is answered by a model that has not seen it (cross-fitting), and any other text by the mean of all
these models.
"""

import hashlib
from collections import Counter
from collections.abc import Sequence

import numpy as np

from consumer.errors import UsageError
from consumer.model.engines.base import Logits
from training.baselines.linear import NbSvm
from training.data.reviews import Reviews
from training.io.progress import ProgressBar
from training.measure.answering.answers import Floats
from training.measure.calibrate import fit_temperature
from training.measure.evaluate import LEAST_PROBABILITY

#: Its name for `--teacher`.
NBSVM = "nbsvm"

#: Number of models; each is trained on all rows except one of so many parts.
FOLDS = 5


def nbsvm_digest(train_sha256: str) -> str:
    """SHA-256 of what determines the answers of nbsvm besides rows and seed: the training file and its constants.

    A run must not resume with answers of another nbsvm, which would mix two teachers.
    """
    return hashlib.sha256(f"{train_sha256} {NbSvm.ALPHA} {NbSvm.BETA} {FOLDS}".encode()).hexdigest()


def nbsvm_logits(train: Reviews, unlabeled: Sequence[str], seed: int) -> Logits:
    """Calibrated logits of nbsvm, up to a constant for each text: (training rows + `unlabeled`, labels).

    Args:
        train: the rows to train on; columns of the answer are in the order of its `label_names`.
        unlabeled: texts that no model is trained on.
        seed: draws the parts.

    Raises:
        UsageError: a label has fewer rows than there are parts.
    """
    from sklearn.model_selection import StratifiedKFold

    if min(Counter(train.labels).values()) < FOLDS:
        raise UsageError(
            f"the teacher {NBSVM} needs at least {FOLDS} training rows of each label: add rows to --train, "
            "or choose another --teacher"
        )
    names = train.label_names
    targets = np.array([names.index(label) for label in train.labels])
    texts = np.array(train.texts, dtype=object)
    seen: Floats = np.empty((len(texts), len(names)))
    unseen: Floats = np.zeros((len(unlabeled), len(names)))
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    done = 0
    with ProgressBar(f"training the teacher {NBSVM}", (FOLDS - 1) * len(texts)) as bar:
        for others, part in folds.split(texts, targets):
            model = NbSvm(len(names))
            model.fit(texts[others], targets[others].tolist(), lambda _: None)
            seen[part] = _logits(model, texts[part])
            if len(unlabeled):
                unseen += _logits(model, unlabeled) / FOLDS
            done += len(others)
            bar.update(done)
    temperature = fit_temperature(seen, targets)
    return np.concatenate([seen, unseen]).astype(np.float32) / np.float32(temperature)


def _logits(model: NbSvm, texts: Sequence[str]) -> Floats:
    return np.log(np.maximum(model.probabilities(texts), LEAST_PROBABILITY))
