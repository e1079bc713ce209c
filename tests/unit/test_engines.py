"""What computes: results in order, a failing batch alone, and no more cores than there are."""

import math
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from consumer import run
from consumer.errors import BundleError
from consumer.model.bundle.loading import Bundle, load_bundle
from consumer.model.engines import open_engine
from consumer.model.engines.base import Engine, EngineFailure
from consumer.model.engines.cores import available_cores, granted
from consumer.model.inference.batching import TokenBatch, pad
from consumer.settings import WorkerSettings
from tests.tiny_bundle import FP32, SPECIAL, WORTH, seal, write_tiny_bundle

WORDS = [*SPECIAL, *WORTH]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The tiny bundle, verified."""
    return load_bundle(write_tiny_bundle(tmp_path_factory.mktemp("engines") / "bundle"))


@pytest.fixture(scope="module")
def engine(bundle: Bundle) -> Iterator[Engine]:
    """OpenVINO on it, fp32, with two streams."""
    opened = open_engine(bundle, threads=2)
    yield opened
    opened.close()


def batch_of(*words: str, width: int = 16) -> TokenBatch:
    """One row per word."""
    return pad([np.array([WORDS.index(word)], dtype=np.int32) for word in words], width, 0)


def test_results_come_in_the_order_of_the_batches(engine: Engine) -> None:
    """Many more batches than streams, of many shapes: each answer belongs to its batch."""
    words = list(WORTH) * 12
    batches = [batch_of(*[word] * (1 + n % 5), width=8 * (1 + n % 4)) for n, word in enumerate(words)]
    for batch, word, result in zip(batches, words, engine.infer(batches), strict=True):
        assert isinstance(result, np.ndarray)
        assert result.dtype == np.float32
        assert result.tolist() == [[-WORTH[word], WORTH[word]]] * len(batch.ids)


def test_results_outlive_the_next_call(engine: Engine) -> None:
    """The engine computes into memory that it uses again; what it hands out is a copy."""
    first = engine.infer([batch_of("good")])[0]
    engine.infer([batch_of("awful")] * 8)
    assert isinstance(first, np.ndarray)
    assert first.tolist() == [[-1.0, 1.0]]


def test_a_failing_batch_does_not_fail_the_others(engine: Engine) -> None:
    """A batch whose shapes do not match is a failure with a kind; the ones around it, and later ones, are computed."""
    good = batch_of("good")
    bad = TokenBatch(good.ids, np.ones((1, 7), dtype=np.int64))
    for _ in range(2):
        results = engine.infer([good, bad, good, bad, bad, good])
        assert [isinstance(result, EngineFailure) for result in results] == [False, True, False, True, True, False]
        assert results[1] == EngineFailure("RuntimeError")


def test_no_batches_no_results(engine: Engine) -> None:
    """Nothing to do is done."""
    assert engine.infer([]) == []


def test_streams_follow_the_threads(bundle: Bundle) -> None:
    """Batches are spread over as many streams as the engine was given threads."""
    opened = open_engine(bundle, threads=3)
    assert opened.policy.parallel == 3
    opened.close()


def test_a_file_that_is_no_model_is_refused(tmp_path: Path) -> None:
    """Sums are right and the content is not a graph."""
    path = write_tiny_bundle(tmp_path / "bundle")
    (path / FP32[0]).write_text("<net/>")
    with pytest.raises(BundleError, match=r"fp32\.xml cannot be read by OpenVINO"):
        open_engine(load_bundle(seal(path)))


def test_a_model_with_other_outputs_than_labels_is_refused(tmp_path: Path) -> None:
    """Three labels for two logits."""
    path = seal(write_tiny_bundle(tmp_path / "bundle"), labels=("a", "b", "c"))
    with pytest.raises(BundleError, match="2 outputs for 3 labels"):
        open_engine(load_bundle(path))


def test_without_torch_its_variant_says_what_to_install(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker's own environment has no torch."""
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "consumer.model.engines.torch", raising=False)
    facts = bundle.manifest.model_copy(
        update={"variants": {"gpu": bundle.manifest.variants["fp32"].model_copy(update={"engine": "torch"})}}
    )
    with pytest.raises(BundleError, match=r"pip install 'review-consumer\[gpu\]'"):
        open_engine(Bundle(bundle.path, facts, bundle.golden, bundle.tokenizer_json, bundle.digest), "gpu")


def test_a_container_with_a_quota_gets_that_many_cores(tmp_path: Path) -> None:
    """The smallest quota between a group and the root counts; `max` is none; a machine without any has no limit."""
    inner = tmp_path / "kubepods" / "pod"
    inner.mkdir(parents=True)
    assert granted(tmp_path, "/kubepods/pod") == math.inf
    (inner / "cpu.max").write_text("max 100000\n")
    assert granted(tmp_path, "/kubepods/pod") == math.inf
    (inner.parent / "cpu.max").write_text("250000 100000\n")
    assert granted(tmp_path, "/kubepods/pod") == 2.5
    (inner / "cpu.max").write_text("50000 100000\n")
    assert granted(tmp_path, "/kubepods/pod") == 0.5
    assert granted(tmp_path, "/kubepods") == 2.5
    assert granted(tmp_path, "/") == math.inf


def test_there_is_always_a_core() -> None:
    """At least one, at most those of the machine."""
    assert 1 <= available_cores() <= (os.cpu_count() or 1)


@pytest.mark.parametrize(("cores", "told", "used"), [(2, None, 2), (64, None, 16), (64, 40, 40)])
def test_a_worker_uses_its_cores_up_to_what_its_memory_bears(
    bundle: Bundle, cores: int, told: int | None, used: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread takes some 60 MiB: a worker on a large machine would outgrow the memory that is recommended."""
    asked: list[int | None] = []

    def open_nothing(*options: Any) -> Engine:
        asked.append(options[2])
        raise BundleError("enough is seen")

    monkeypatch.setattr(run, "available_cores", lambda: cores)
    monkeypatch.setattr(run, "open_labeller", open_nothing)
    with pytest.raises(BundleError):
        run.open_classifier(WorkerSettings(threads=told), bundle)
    assert asked == [used]
