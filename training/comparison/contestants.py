"""Train and measure one model: accuracy on all test rows, speed on the first of them, size on disk."""

import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from consumer.model.bundle.loading import load_bundle
from consumer.model.bundle.manifest import TOKENIZER
from consumer.model.cascade.bundle import load, models
from consumer.model.cascade.labeller import Cascade
from consumer.model.classifier import Classifier
from consumer.model.engines.cores import available_cores
from consumer.model.labeller import Scored
from training.baselines.models import Baseline, build, reviews_read
from training.baselines.settings import BaselineSettings
from training.comparison.results import Result
from training.data.prepare import DataOptions, Prepared
from training.data.reviews import Reviews
from training.encoders.base import Base
from training.io.output import storing
from training.io.progress import ProgressBar, say
from training.measure.evaluate import CHUNK, Answer, Evaluation, evaluate, open_classifier
from training.settings import FitSettings

#: Test rows on which speed is timed, the same for every model.
SPEED_ROWS = 2 * CHUNK

#: Answers to some texts, in order.
Answering = Callable[[Sequence[str]], Sequence[Answer]]


def measure_small(
    name: str,
    data: Prepared,
    identity: dict[str, Any],
    settings: BaselineSettings,
    *,
    seed: int,
    vectors: Path | None,
    directory: Path,
) -> Result:
    """Train the small model `name`, save it into `directory` and measure it."""
    labels = data.train.label_names
    model = build(name, len(labels), settings, seed, vectors)
    targets = [labels.index(label) for label in data.train.labels]
    started = time.perf_counter()
    with ProgressBar(f"{name}: training", reviews_read(name, len(data.train), settings)) as bar:
        model.fit(data.train.texts, targets, bar.update)
    seconds = time.perf_counter() - started
    with storing(directory):
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
        model.save(directory)
    answers, speed = _timed(_answering(model, labels), data.test.texts, name)
    evaluation = evaluate(answers, data.test.labels, labels)
    size = sum(path.stat().st_size for path in directory.iterdir())
    return _result(name, identity, evaluation, parameters=model.parameters, seconds=seconds, speed=speed, size=size)


def measure_encoder(
    name: str,
    base: Base,
    data: Prepared,
    identity: dict[str, Any],
    settings: FitSettings,
    *,
    options: DataOptions,
    directory: Path,
    checkpoints: Path,
) -> Result:
    """Fine-tune `base` into the bundle `directory`; see `fit_encoder`."""
    from training.comparison.encoders import fit_encoder

    evaluation, seconds = fit_encoder(base, data, settings, options=options, out=directory, checkpoints=checkpoints)
    with open_classifier(directory, None) as classifier:
        _, speed = _timed(_classifying(classifier), data.test.texts[:SPEED_ROWS], f"{name}: timing")
    manifest = load_bundle(directory).manifest
    note = f"from {manifest.base_model}, trained on {manifest.learnt_from[0].rows} rows"
    return _of_bundle(name, identity, directory, evaluation, seconds=seconds, speed=speed, note=note)


def measure_bundle(name: str, bundle: Path, test: Reviews, identity: dict[str, Any]) -> Result:
    """Measure a finished bundle."""
    loaded = load(bundle)
    with open_classifier(bundle, None) as classifier:
        classifier.self_check()
        answers, speed = _timed(_classifying(classifier), test.texts, name)
    evaluation = evaluate(answers, test.labels, loaded.manifest.labels)
    note = "not trained here"
    if trained := [part for model in models(loaded) for part in model.manifest.learnt_from]:
        note += f": {trained[0].rows} rows of {trained[0].file}"
        if test.sha256 in {part.sha256 for part in trained}:
            note += ", WHICH IS THE TEST FILE"
            say(f"{name}: this bundle was trained on the test file; its accuracy here is meaningless")
    return _of_bundle(name, identity, bundle, evaluation, seconds=None, speed=speed, note=note)


def served_bytes(bundle: Path) -> int:
    """Size on disk of the tokenizer and the weights of the served variant; those of all members of a cascade."""
    manifests = [model.manifest for model in models(load(bundle))]
    return sum(each.files[file].bytes for each in manifests for file in {TOKENIZER, *each.variants[each.served].files})


def _answering(model: Baseline, labels: Sequence[str]) -> Answering:
    return lambda texts: [dict(zip(labels, row, strict=True)) for row in model.probabilities(texts).tolist()]


def _classifying(classifier: Classifier | Cascade) -> Answering:
    return lambda texts: [
        result.probabilities if isinstance(result, Scored) else None for result in classifier.classify(texts).results
    ]


def _timed(answering: Answering, texts: Sequence[str], title: str) -> tuple[list[Answer], float]:
    """Answers to all `texts`, and reviews/s over the first `SPEED_ROWS` of them."""
    answering(texts[:8])  # warm-up: the first call initialises a library
    answers: list[Answer] = []
    speed = 0.0
    started = time.perf_counter()
    with ProgressBar(f"{title}: measuring", len(texts)) as bar:
        for start in range(0, len(texts), CHUNK):
            answers += answering(texts[start : start + CHUNK])
            if len(answers) <= SPEED_ROWS:
                speed = len(answers) / (time.perf_counter() - started)
            bar.update(len(answers))
    return answers, speed


def _of_bundle(
    name: str,
    identity: dict[str, Any],
    bundle: Path,
    evaluation: Evaluation,
    *,
    seconds: float | None,
    speed: float,
    note: str,
) -> Result:
    manifests = [model.manifest for model in models(load(bundle))]
    return _result(
        name,
        identity,
        evaluation,
        parameters=sum(each.parameters for each in manifests),
        seconds=seconds,
        speed=speed,
        size=served_bytes(bundle),
        note=f"{' + '.join(each.served for each in manifests)}, {note}",
    )


def _result(
    name: str,
    identity: dict[str, Any],
    evaluation: Evaluation,
    *,
    parameters: int,
    seconds: float | None,
    speed: float,
    size: int,
    note: str = "",
) -> Result:
    measured = {field: getattr(evaluation, field) for field in ("rows", "accuracy", "interval", "log_loss", "failed")}
    return Result(
        name=name,
        identity=identity,
        **measured,
        parameters=parameters,
        training_seconds=seconds,
        reviews_per_second=speed,
        bytes=size,
        cores=available_cores(),
        note=note,
    )
