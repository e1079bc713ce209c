"""How often each engine is right on the same labelled reviews."""

import random
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tests.bench.contestants import Contestant, Run
from tests.bench.rounds import SEED
from training.data.reviews import Reviews
from training.measure.answering.answers import Flags
from training.measure.cascades.routing import Loss, lost
from training.measure.evaluate import wilson_interval

#: Reviews that a contestant answers by itself, to show that it gives the labels of those whose answers it shares.
SHOWN = 24


@dataclass(frozen=True)
class Accuracy:
    """Which of the rows one way to compute labels has `right`, shape (rows,)."""

    right: Flags

    @property
    def share(self) -> float:
        """Of all rows."""
        return float(self.right.mean())

    @property
    def interval(self) -> tuple[float, float]:
        """95 %, Wilson's."""
        return wilson_interval(int(self.right.sum()), len(self.right))

    def lost_to(self, other: "Accuracy") -> Loss:
        """Points lost against `other`, on the same rows."""
        return lost(other.right, self.right)


def draw_rows(reviews: Reviews, count: int) -> tuple[list[str], list[str]]:
    """Texts and labels of `count` drawn rows, or of all."""
    rows = random.Random(SEED).sample(range(len(reviews)), min(count, len(reviews)))
    return [reviews.texts[row] for row in rows], [reviews.labels[row] for row in rows]


def measure_accuracy(
    answering: Mapping[str, Run], texts: Mapping[str, Sequence[str]], labels: Sequence[str]
) -> dict[str, Accuracy]:
    """Each way to compute labels asked once about its `texts`."""
    found = {}
    for name, run in answering.items():
        began = time.monotonic()
        answers = run(texts[name])
        found[name] = Accuracy(np.array([given == true for given, true in zip(answers, labels, strict=True)]))
        print(
            f"accuracy: {name}: {found[name].share:.2%} of {len(labels)} rows, {time.monotonic() - began:.0f} s",
            file=sys.stderr,
            flush=True,
        )
    return found


def agreement(contestant: Contestant, answering: Run, texts: Sequence[str]) -> tuple[int, int]:
    """Of how many of the first `texts` it gives the label of the answers that it shares, and how many these are."""
    shown = texts[:SHOWN]
    return sum(own == shared for own, shared in zip(contestant.run(shown), answering(shown), strict=True)), len(shown)
