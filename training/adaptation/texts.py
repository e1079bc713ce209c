"""The texts that an encoder is adapted to, and those of them that only measure it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from consumer.errors import UsageError
from consumer.model.bundle.manifest import Source
from training.data.corpus import read_corpus, without_repeats, without_tests
from training.data.prepare import DEFAULTS, DataOptions, read_and_report
from training.data.reviews import Reviews
from training.data.unlabeled import unlike_held_out
from training.io.progress import say
from training.settings import AdaptSettings

#: Texts held out at most: enough to know the perplexity to a percent.
MOST_HELD_OUT = 2_000


@dataclass(frozen=True)
class Work:
    """What `adapt` is given, next to the base and the settings.

    Args:
        texts: files and folders of texts.
        tests: labelled files that measure models later; their texts are left out.
        out: directory of the adapted encoder; an older one there is replaced.
        checkpoints: where the run keeps its state; default: beside `out`, with `.run` added.
        checkpoint_minutes: time between two checkpoints.
        options: how files are read and compared.
    """

    texts: Sequence[Path]
    tests: Sequence[Path]
    out: Path
    checkpoints: Path | None = None
    checkpoint_minutes: float = 5.0
    options: DataOptions = DEFAULTS

    @property
    def directory(self) -> Path:
        """Where the run keeps its state."""
        return self.checkpoints or self.out.with_name(f"{self.out.name}.run")


class Texts(NamedTuple):
    """What is trained on, what only measures, and where it is from."""

    trained: tuple[str, ...]
    held_out: tuple[str, ...]
    sources: tuple[Source, ...]
    tests: tuple[Source, ...]


def read_work(work: Work, settings: AdaptSettings) -> Texts:
    """The texts, each once, without those of the tests; some are drawn to measure, and no other nearly repeats one.

    Raises:
        UsageError: a file cannot be read or is a test file, or too few texts are left.
    """
    tests = [read_and_report(path, say, work.options, learned=False) for path in work.tests]
    parts = without_repeats([read_corpus(path, work.options, say) for path in work.texts], [], say)
    parts = [without_tests(part, tests, work.options, say) for part in parts]
    count = sum(map(len, parts))
    wanted = min(MOST_HELD_OUT, max(1, round(settings.held_out_share * count)))
    if count <= wanted:
        raise UsageError(f"{count} texts are too few to adapt to: give more with --texts")
    held = set(np.random.default_rng((settings.seed, *b"adapt")).permutation(count)[:wanted].tolist())
    measured: list[str] = []
    left: list[Reviews] = []
    first = 0
    for part in parts:
        rows = range(len(part))
        measured += [part.texts[row] for row in rows if first + row in held]
        left.append(part.only(row for row in rows if first + row not in held))
        first += len(part)
    measuring = Reviews(work.texts[0], "", tuple(measured), ("",) * len(measured))
    trained = [unlike_held_out(part, (measuring,), work.options.near, say) if len(part) else part for part in left]
    sources = tuple(Source(file=part.path.name, sha256=part.sha256, rows=len(part)) for part in trained)
    return Texts(
        tuple(text for part in trained for text in part.texts),
        tuple(measured),
        sources,
        tuple(Source(file=test.path.name, sha256=test.sha256, rows=len(test)) for test in tests),
    )
