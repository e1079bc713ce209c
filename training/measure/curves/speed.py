"""How fast a cascade and its members are: measured with the worker's classifier, in turns."""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any

from consumer.model.cascade.bundle import CascadeBundle
from consumer.model.cascade.labeller import Cascade
from consumer.model.engines.cores import available_cores
from consumer.model.labeller import Labeller
from training.encoders.device import processor_name
from training.io.progress import ProgressBar

#: Each engine is timed so often; other load on the machine then affects all alike. The median counts.
ROUNDS = 3

#: Texts labelled at once, as a busy worker does.
POLL = 256


@dataclass(frozen=True)
class Speed:
    """Reviews per second on `rows` texts: of each member alone, and of the cascade at each of some thresholds."""

    rows: int
    rounds: int
    threads: int
    processor: str
    date: str
    members: tuple[float, ...]
    points: tuple[float, ...]

    def as_json(self) -> dict[str, Any]:
        """The fields, ready for `json.dumps`."""
        return asdict(self)


def time_cascade(
    cascade: Cascade, points: Sequence[tuple[float, ...]], texts: Sequence[str], threads: int | None
) -> Speed:
    """Time `cascade` with the thresholds of each of `points`, and its members, on `texts`.

    Args:
        cascade: opened with so many `threads`; None: one for each core.
        points: thresholds of all members but the last.
        texts: at least one.
        threads: that it was opened with.
    """
    engines: list[Labeller] = [*cascade.members.values(), *(_with(cascade, below) for below in points)]
    rates = time_in_turns(engines, texts)
    count = len(cascade.members)
    return Speed(
        rows=len(texts),
        rounds=ROUNDS,
        threads=threads or available_cores(),
        processor=processor_name(),
        date=datetime.now(UTC).strftime("%Y-%m-%d"),
        members=tuple(rates[:count]),
        points=tuple(rates[count:]),
    )


def time_in_turns(engines: Sequence[Labeller], texts: Sequence[str]) -> list[float]:
    """Reviews per second of each of `engines` on `texts`, at least one: the median of `ROUNDS` rounds."""
    seconds: list[list[float]] = [[] for _ in engines]
    with ProgressBar("timing", ROUNDS * len(engines) * len(texts)) as bar:
        for number in range(ROUNDS):
            for place, engine in enumerate(engines):
                seconds[place].append(_seconds(engine, texts))
                bar.update((number * len(engines) + place + 1) * len(texts))
    return [len(texts) / statistics.median(each) for each in seconds]


def _seconds(engine: Labeller, texts: Sequence[str], clock: Callable[[], float] = time.perf_counter) -> float:
    started = clock()
    for start in range(0, len(texts), POLL):
        engine.classify(texts[start : start + POLL])
    return clock() - started


def _with(cascade: Cascade, below: Sequence[float]) -> Cascade:
    """The same models with other thresholds."""
    bundle: CascadeBundle = cascade.bundle
    members = tuple(
        member.model_copy(update={"below": limit})
        for member, limit in zip(bundle.manifest.members, (*below, None), strict=True)
    )
    changed = bundle.manifest.model_copy(update={"members": members})
    return Cascade(replace(bundle, manifest=changed), list(cascade.members.values()))
