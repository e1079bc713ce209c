"""Accuracy over cost: what a bundle answers, and how fast, if it reads more or less of a review.

Every way of reading goes through the worker's own classifier, on the same rows and one engine. The weights stay the
same: a model that was trained to read more may gain more from it than is measured here.
"""

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from consumer.errors import UsageError
from consumer.model.bundle.loading import Bundle
from consumer.model.classifier import Classifier
from consumer.model.engines import open_engine
from consumer.model.engines.cores import available_cores
from consumer.model.engines.openvino import the_core
from consumer.model.labeller import Failed
from consumer.model.opening import AnyBundle
from consumer.model.texts.reading import Reading, Truncation, Windows
from training.data.reviews import Reviews
from training.encoders.device import processor_name
from training.io.progress import ProgressBar, say
from training.measure.answering.kept_answers import KeptAnswers
from training.measure.cascades.routing import lost
from training.measure.curves.load import is_loaded, load_of_others
from training.measure.curves.points import Point, ReadingCurve, with_front
from training.measure.curves.speed import ROUNDS, time_in_turns
from training.measure.evaluate import CHUNK, Evaluation, evaluate, probabilities_of, score

#: Tokens at most that are tried, as far as the model has positions for them.
LENGTHS = (128, 192, 256, 384, 512)

#: Rows that reviews per second are measured on, in each round.
TIMED_ROWS = 256


def single_model(bundle: AnyBundle) -> Bundle:
    """`bundle`, if it is one model.

    Raises:
        UsageError: it is a cascade.
    """
    if isinstance(bundle, Bundle):
        return bundle
    members = ", ".join(str(member.path) for member in bundle.members)
    raise UsageError(
        "--reading-curve is measured for a single model: the members of a cascade read in ways of their own, and its "
        f"thresholds hold for these; measure a member ({members})"
    )


def measure_readings(
    bundle: Bundle, variant: str | None, reviews: Reviews, keep: Path | None = None, lengths: Sequence[int] = LENGTHS
) -> ReadingCurve:
    """Measure `variant` of `bundle` on `reviews` in every way of reading up to `lengths` tokens.

    Args:
        bundle: verified, and known to know the labels of the reviews.
        variant: None: the served one.
        reviews: at least one.
        keep: directory where answers are kept, so that the same call resumes after a kill; times are taken again.
        lengths: tokens at most.
    """
    own = bundle.manifest.reading
    with closing(Classifier(bundle, open_engine(bundle, variant))) as served:
        longest = positions(bundle, served.variant)
        usable = [
            length
            for length in lengths
            if length <= own.max_length or ((longest is None or length <= longest) and _reads(served, length))
        ]
        ways = list(dict.fromkeys([*(way for length in usable for way in _ways(own, length)), own]))
        ways.sort(key=lambda way: (list(Truncation).index(way.truncation), way.max_length))
        labellers = [reading_as(served, way) for way in ways]
        answers = _answers(labellers, reviews.texts, keep)
        timed = reviews.texts[:TIMED_ROWS]
        with load_of_others() as load:
            rates = time_in_turns(labellers, timed)
    labels, right = bundle.manifest.labels, {}
    measured: dict[Reading, Evaluation] = {}
    for way, scored in zip(ways, answers, strict=True):
        measured[way] = evaluate(probabilities_of(scored), reviews.labels, labels)
        pairs = zip(scored, reviews.labels, strict=True)
        right[way] = np.array([answer is not None and answer.label == true for answer, true in pairs])
    points = [
        Point(
            name=name_of(way),
            truncation=way.truncation.value,
            max_length=way.max_length,
            windows=way.windows,
            own=way == own,
            accuracy=measured[way].accuracy,
            interval=measured[way].interval,
            failed=measured[way].failed,
            tokens=float(np.mean([answer.tokens for answer in scored if answer] or [0])),
            reviews_per_second=rate,
            against_own=None if way == own else lost(right[own], right[way]),
        )
        for way, scored, rate in zip(ways, answers, rates, strict=True)
    ]
    threads = available_cores()
    return ReadingCurve(
        rows=len(reviews),
        timed_rows=len(timed),
        rounds=ROUNDS,
        threads=threads,
        processor=processor_name(),
        date=datetime.now(UTC).strftime("%Y-%m-%d"),
        load=load[0] if load else None,
        loaded=bool(load) and is_loaded(load[0], os.cpu_count() or 1, threads),
        too_long=tuple(length for length in lengths if length not in usable),
        points=tuple(with_front(points)),
    )


def name_of(way: Reading) -> str:
    """A way of reading for people, such as `windows 384 x 4`."""
    kind = way.truncation.value.replace("_tail", " and tail")
    return f"{kind} {way.max_length}" + (f" x {way.windows.most}" if way.windows else "")


def reading_as(served: Classifier, way: Reading) -> Classifier:
    """The same model on the same engine, reading another way."""
    changes = {"max_length": way.max_length, "truncation": way.truncation, "windows": way.windows}
    bundle = served.bundle
    return Classifier(replace(bundle, manifest=bundle.manifest.model_copy(update=changes)), served.engine)


def positions(bundle: Bundle, variant: str) -> int | None:
    """Rows of the model's table of positions, as its OpenVINO graph has it; None if there is no such table.

    A graph that looks up a position behind its table may get zeros for it, and its answers mean nothing: to ask it is
    not enough.
    """
    graph = next((name for name in bundle.manifest.variants[variant].files if name.endswith(".xml")), None)
    if graph is None:
        return None
    for node in the_core().read_model(bundle.path / graph).get_ops():
        name = node.get_friendly_name()
        if node.get_type_name() == "Gather" and "position_embeddings" in name:
            # Roberta and its kin count from the padding token: their first two rows are never looked up.
            return int(node.input(0).get_shape()[0]) - (2 if re.search(r"\.(roberta|mpnet)\.", name) else 0)
    return None


def _ways(own: Reading, length: int) -> Iterator[Reading]:
    """Each way of reading at most so many tokens at once; texts are cleaned as the bundle says."""
    for kind in Truncation:
        windows = (own.windows or Windows()) if kind is Truncation.WINDOWS else None
        yield replace(own, max_length=length, truncation=kind, windows=windows)


def _reads(served: Classifier, length: int) -> bool:
    """Whether the model has positions for so many tokens: it is asked."""
    text = served.bundle.golden.texts[0].text + " a" * length
    reader = reading_as(served, Reading(length, Truncation.HEAD, None, served.bundle.manifest.reading.text_rules))
    return not isinstance(reader.classify([text]).results[0], Failed)


def _answers(labellers: Sequence[Classifier], texts: Sequence[str], keep: Path | None) -> list[list[Any]]:
    """The answers of each labeller to each text. They take turns, so that the bar knows how long the rest takes."""
    stores = [KeptAnswers(keep, each.bundle, each.variant, texts) if keep else None for each in labellers]
    answers = [store.read(CHUNK, len(texts)) if store else [] for store in stores]
    done = sum(map(len, answers))
    say(
        f"measuring {len(labellers)} ways of reading {len(texts)} reviews" + (f", {done} answers are kept" * bool(done))
    )
    with ProgressBar("readings", len(labellers) * len(texts), done) as bar:
        for start in range(0, len(texts), CHUNK):
            for labeller, store, found in zip(labellers, stores, answers, strict=True):
                if len(found) > start:
                    continue
                new = score(labeller, texts[start : start + CHUNK])
                if store:
                    store.append(new)
                found.extend(new)
                bar.update(done := done + len(new))
    return answers
