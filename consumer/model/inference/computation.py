"""Windows to logits: plan ▸ pad ▸ compute, and halve a batch that fails until the window is found that fails alone.

To tell a bad text from a broken engine, each failure is followed by a golden text, which is known to work. If that
fails too, the worker gives up: a broken engine never turns a topic into dead letters.
"""

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from consumer.errors import GaveUp
from consumer.model.engines.base import BackgroundEngine, Engine, EngineFailure, Logits
from consumer.model.inference.batching import BatchPolicy, TokenBatch, pad, plan, rounded
from consumer.model.inference.bisection import halves, spread
from consumer.model.texts.encoder import TokenIds

#: Batches per stream of the engine between two signs of life: a few seconds, long enough that waiting for the slowest
#: stream costs little.
BATCHES_AT_ONCE = 32


class Shapes(NamedTuple):
    """How windows become batches."""

    policy: BatchPolicy
    max_length: int
    pad_id: int

    def batch(self, windows: Sequence[TokenIds]) -> TokenBatch:
        """`windows` as one batch."""
        return pad(windows, self.width(max(map(len, windows))), self.pad_id)

    def width(self, tokens: int) -> int:
        """Width of a batch whose longest window has so many `tokens`."""
        return rounded(tokens, self.policy, self.max_length)


class _Part(NamedTuple):
    """Windows of some batches, by batch, and what returns their logits."""

    groups: list[list[int]]
    results: Callable[[], list[Logits | EngineFailure]]


class Computation:
    """The windows of one call. An engine in the background starts when they are added, others in `finish`.

    Args:
        engine: computes.
        shapes: of its batches.
        golden: a window that is known to work.

    Attributes:
        windows: all that were added.
        batches: number of batches computed or started so far, `padded` their tokens with the padding that is computed.
        began: when the first windows were added, by `time.perf_counter`; None: none were.
        adding: seconds spent in `add`.
    """

    def __init__(self, engine: Engine, shapes: Shapes, golden: Callable[[], TokenIds]) -> None:
        self._engine = engine
        self._shapes = shapes
        self._golden = golden
        self._parts: list[_Part] = []
        self.windows: list[TokenIds] = []
        self.batches = self.padded = 0
        self.began: float | None = None
        self.adding = 0.0

    @property
    def is_in_background(self) -> bool:
        """Whether windows are computed while the next ones are tokenised, which takes an engine without padding."""
        return isinstance(self._engine, BackgroundEngine) and not self._shapes.policy.pads

    def add(self, windows: Sequence[TokenIds]) -> None:
        """Compute these as well; those of one call share batches."""
        added = time.perf_counter()
        self.began = added if self.began is None else self.began
        first = len(self.windows)
        self.windows += windows
        groups = plan([len(window) for window in windows], self._shapes.policy, self._shapes.max_length)
        self._parts += self._in_parts([[first + index for index in group] for group in groups])
        self.adding += time.perf_counter() - added

    def finish(self, at_work: Callable[[], None]) -> list[Logits | EngineFailure]:
        """For each window a row of logits, shape (labels,), or a failure. `at_work` is called after each few batches.

        Raises:
            GaveUp: the engine fails on the golden window as well.
        """
        rows: list[Logits | EngineFailure] = [EngineFailure("NotComputed")] * len(self.windows)
        while self._parts:
            failed: list[tuple[list[int], list[int]]] = []
            for groups, results in self._parts:
                failed += [
                    (group, spread(group, result, rows)) for group, result in zip(groups, results(), strict=True)
                ]
                at_work()
            if any(bad for _, bad in failed):
                self._ask_for_the_golden_window()
            self._parts = self._in_parts([half for group, bad in failed if len(group) > 1 for half in halves(bad)])
        return rows

    def _in_parts(self, groups: list[list[int]]) -> list[_Part]:
        at_once = BATCHES_AT_ONCE * self._shapes.policy.parallel
        return [self._part(groups[start : start + at_once]) for start in range(0, len(groups), at_once)]

    def _part(self, groups: list[list[int]]) -> _Part:
        if isinstance(self._engine, BackgroundEngine):
            return _Part(groups, self._engine.start(self._batches(groups)))
        return _Part(groups, lambda: self._engine.infer(self._batches(groups)))

    def _batches(self, groups: list[list[int]]) -> list[TokenBatch]:
        batches = [self._shapes.batch([self.windows[index] for index in group]) for group in groups]
        self.batches += len(batches)
        self.padded += sum(batch.computed(self._shapes.policy) for batch in batches)
        return batches

    def _ask_for_the_golden_window(self) -> None:
        rows: list[Logits | EngineFailure] = [EngineFailure("NotComputed")]
        if spread([0], self._engine.infer([self._shapes.batch([self._golden()])])[0], rows):
            raise GaveUp("the engine fails on a golden text as well as on reviews; restart the worker")
