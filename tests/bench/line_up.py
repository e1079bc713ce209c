"""Everything that a bench of engines compares, loaded: peers, the worker's classifiers, and the bundles behind them."""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from consumer.model.bundle.loading import Bundle, load_bundle
from consumer.model.cascade.bundle import CascadeBundle, load, models
from consumer.model.opening import AnyBundle
from consumer.model.texts.encoder import Encoder
from tests.bench.contestants import Contestant, Run, alone, other, own, through
from tests.bench.goals import Rows
from tests.bench.peers import YARDSTICK, load_peers
from tests.bench.thresholds import RecordedLoss, loosened, loss_of

#: The cascade also takes part with the thresholds that were chosen for this loss, in points.
ALLOWED = 0.5


@dataclass(frozen=True)
class LineUp:
    """What takes part.

    Attributes:
        bundle: the large model, which the peers compute as well.
        contestants: engines in this process.
        answering: ways to compute labels, by name; contestants share them.
        model: of torch.
        remark: about the peers.
        workers: path of the bundle of each worker through Kafka, by its row.
        rows: what the goals look at.
        losses: recorded ones, by row.
        count: models of each worker, by row.
    """

    bundle: Bundle
    contestants: list[Contestant]
    answering: dict[str, Run]
    model: Any
    remark: str
    workers: dict[str, Path]
    rows: Rows
    losses: Mapping[str, RecordedLoss | None]
    count: Mapping[str, int]

    @property
    def main(self) -> str:
        """The row of the worker that serves the large model."""
        return self.rows.large

    @property
    def default(self) -> str:
        """The row of the cascade if there is one, for that is what the worker serves by default."""
        return self.rows.cascade or self.rows.large


@dataclass
class _Further:
    """What the bundles beside the large model add to it."""

    contestants: list[Contestant] = field(default_factory=list)
    workers: dict[str, Path] = field(default_factory=dict)
    classifiers: dict[str, str] = field(default_factory=dict)
    losses: dict[str, RecordedLoss | None] = field(default_factory=dict)
    count: dict[str, int] = field(default_factory=dict)

    def add(self, bundle: AnyBundle, loss: RecordedLoss | None = None) -> str:
        """Load it; returns the name of its row."""
        contestant, row = other(bundle), through(bundle.manifest.name)
        if row in self.workers:
            raise ValueError(f"two bundles are called {bundle.manifest.name}: they could not be told apart")
        self.contestants.append(contestant)
        self.workers[row], self.classifiers[row] = bundle.path, contestant.name
        self.losses[row], self.count[row] = loss, len(models(bundle))
        return row


def load_line_up(
    path: Path, also: Sequence[Path], checkpoint: Path | None, texts: Sequence[str], scratch: Path
) -> LineUp:
    """Load the bundle at `path` and what it is compared with.

    Args:
        path: of the large model.
        also: further bundles; the first cascade among them is the one that the goals are about.
        checkpoint: see `load_peers`.
        texts: that are timed.
        scratch: a directory for a cascade with other thresholds.

    Raises:
        ValueError: two bundles have the same name, or the peers have no weights.
        BundleError: a bundle is refused.
    """
    bundle = load_bundle(path)
    name, served = bundle.manifest.name, bundle.manifest.served
    _say(f"loading {name}")
    mine, large = own(bundle), through(name)
    further = _Further(workers={large: bundle.path}, classifiers={large: alone(name, served)}, count={large: 1})
    cascade: str | None = None
    loose: str | None = None
    for each in map(load, also):
        _say(f"loading {each.manifest.name}")
        if not isinstance(each, CascadeBundle):
            further.add(each)
            continue
        row = further.add(each, loss_of(each))
        if cascade:
            continue
        cascade = row
        if found := loosened(each, ALLOWED, scratch):
            _say(f"loading {each.manifest.name} with its thresholds for {ALLOWED:g} points")
            loose = further.add(load(found[0]), found[1])
    _say("loading the peers, and trying out how ONNX Runtime is fastest")
    peers = load_peers(bundle, checkpoint, list(map(cleaner(bundle), texts)))
    contestants = [*mine, *further.contestants]
    return LineUp(
        bundle=bundle,
        contestants=[*contestants, *peers.contestants],
        answering={**{each.answers: each.run for each in contestants if each.answers == each.name}, **peers.answering},
        model=peers.model,
        remark=peers.remark,
        workers=further.workers,
        rows=Rows(large, YARDSTICK, further.classifiers, cascade, loose),
        losses=further.losses,
        count=further.count,
    )


def cleaner(bundle: Bundle) -> Callable[[str], str]:
    """What the worker does to a text before its model reads it."""
    return Encoder(bundle.tokenizer_json, bundle.manifest.reading).clean


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
