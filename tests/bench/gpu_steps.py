"""What the bench of a GPU measures: the engine, tokenising, the classifier, workers through Kafka, kernels."""

import json
import random
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch

from consumer.model.bundle.loading import load_bundle
from consumer.model.classifier import Classifier
from consumer.model.engines.base import EngineFailure
from consumer.model.engines.torch import GPU_TOKENS, open_torch
from consumer.model.inference.batching import TokenBatch, pad, plan, rounded
from consumer.model.texts.encoder import Encoder, TokenIds
from tests.bench.engines import texts_of
from tests.bench.limit import DEPTH, WIDTH, flop_per_review
from tests.torch_bundle import write_torch_bundle
from training.data.reviews import Reviews

#: Tokens of a film review, on average; the aim is stated for reviews of exactly so many.
TOKENS = 272
MAX_LENGTH = 512
#: Records in one poll of a worker: the default, 1,024, is half a second of work for a CPU and little for a GPU.
POLL = 4_096
#: Seconds that one worker more may need to be ready.
START = 60

ROOT = Path(__file__).parents[2]

T = TypeVar("T")


class Bench:
    """Model, texts and results; each step measures something and returns it."""

    def __init__(self, directory: Path, reviews: Reviews | None, on_cpu: bool) -> None:
        if on_cpu:
            torch.set_num_threads(1)  # suits a model this small
        self.path = self._write_bundle(directory, on_cpu)
        self.bundle = load_bundle(self.path)
        self.max_length = self.bundle.manifest.max_length
        count = 16 if on_cpu else POLL
        drawn = texts_of(reviews, count)
        self.texts = [f"{drawn[number % len(drawn)]} ({number})" for number in range(count)]  # no two are equal
        self.encoder = Encoder(self.bundle.tokenizer_json, self.bundle.manifest.reading)
        self.windows = [window for text in self.encoder.encode(self.texts) for window in text.windows]
        self.engine = open_torch(self.bundle, "torch", None)
        self.repeats, self.seconds = (1, 0.0) if on_cpu else (3, 1.0)
        self.reviews, self.records = (8, 40) if on_cpu else (4_096, 60_000)
        self.on_cpu = on_cpu

    @staticmethod
    def _write_bundle(directory: Path, on_cpu: bool) -> Path:
        checkpoint = directory / "checkpoint"
        if on_cpu:
            from tests.tiny_checkpoints import POSITIONS, write_checkpoint

            return write_torch_bundle(directory / "bundle", write_checkpoint(checkpoint, "distilbert"), POSITIONS)
        from transformers import DistilBertConfig, DistilBertForSequenceClassification

        tokenizer = (ROOT / "bundles/student-imdb/tokenizer.json").read_text("utf-8")
        vocabulary = len(json.loads(tokenizer)["model"]["vocab"])
        torch.manual_seed(0)
        DistilBertForSequenceClassification(DistilBertConfig(vocab_size=vocabulary)).save_pretrained(checkpoint)
        (checkpoint / "tokenizer.json").write_text(tokenizer, encoding="utf-8")
        return write_torch_bundle(directory / "bundle", checkpoint, MAX_LENGTH)

    def limit(self) -> dict[str, float]:
        """FLOP/s of the largest product of a layer, in the precision of the engine, and reviews that this allows."""
        rows = 64 if self.on_cpu else GPU_TOKENS
        some = next(self.engine._model.parameters())
        left, right = (
            torch.randn(*shape, dtype=some.dtype, device=some.device) for shape in ((rows, DEPTH), (DEPTH, WIDTH))
        )
        products, counts = 2 if self.on_cpu else 400, []
        for _ in range(self.repeats + 1):
            with self._timed() as seconds:
                for _ in range(products):
                    left @ right
            counts.append(2 * rows * DEPTH * WIDTH * products / seconds())
        flop = max(counts[1:] or counts)
        with self._padding():  # the count needs the usual attention
            per_review = {
                "of 272 tokens": flop_per_review(self.engine._model, [min(TOKENS, self.max_length)]),
                "of all lengths": flop_per_review(self.engine._model, [len(window) for window in self.windows]),
            }
        return {"flop_per_second": flop} | {f"reviews {name}": flop / each for name, each in per_review.items()}

    def of_272_tokens(self, tokens: int | None = None) -> dict[str, float]:
        """The engine alone on reviews of 272 tokens, in batches of at most `tokens` (default: its own)."""
        length = min(TOKENS, self.max_length)
        draw = np.random.default_rng(0)
        return self._engine([draw.integers(5, 100, length).astype(np.int32) for _ in range(self.reviews)], tokens)

    def of_all_lengths(self) -> dict[str, float]:
        """The engine alone on reviews of the file, drawn again for each run."""
        return self._engine(self.windows)

    def padded(self) -> dict[str, float]:
        """The same with padding, as before."""
        with self._padding():
            return self._engine(self.windows)

    def tokenise(self) -> dict[str, float]:
        """Tokenising alone, in one process."""
        return self._rate(self.encoder.encode, lambda: self.texts, len(self.texts))

    def classify(self) -> dict[str, float]:
        """Texts to labels in polls of `POLL`, in a new order each. Each part is tokenised while the GPU computes."""
        classifier = Classifier(self.bundle, self.engine)
        draw = random.Random(0)
        return self._rate(classifier.classify, lambda: draw.sample(self.texts, len(self.texts)), len(self.texts))

    def kafka(self, workers: int, left: Callable[[], float]) -> dict[str, object]:
        """Workers as processes, exactly once, through a Kafka on this machine."""
        from tests.bench.fleet import Fleet  # without a client of Kafka the other steps still run

        flags = ["--cache-texts", "0", "--max-poll-records", str(POLL), *(("--threads", "1") if self.on_cpu else ())]
        with Fleet(self.path, workers, flags, min(START * workers, max(30.0, left()))) as fleet:
            memory = smi("memory.used")
            return fleet.label(self.texts, self.records, max(30.0, left())) | {"gpu_memory_used": memory}

    def profile(self) -> dict[str, float]:
        """Share of each kernel in the time of the GPU, the largest first."""
        kind, name_of = "CUDA", "self_device_time_total"
        if self.on_cpu:
            kind, name_of = "CPU", "self_cpu_time_total"
        with torch.profiler.profile() as profiler:
            self.engine.infer(self._batches(self.windows)[:8])
        found = (each for each in profiler.key_averages() if each.device_type.name == kind)
        times = {each.key: float(getattr(each, name_of)) for each in found}
        largest = sorted(times, key=lambda name: -times[name])[:16]
        return {name[:120]: times[name] / sum(times.values()) for name in largest}

    def _engine(self, windows: Sequence[TokenIds], tokens: int | None = None) -> dict[str, float]:
        counts: list[int] = []
        draw = random.Random(0)

        def drawn() -> list[TokenBatch]:
            batches = self._batches(draw.choices(windows, k=len(windows)), tokens)
            counts.append(len(batches))
            return batches

        def compute(batches: Sequence[TokenBatch]) -> None:
            failed = {each.kind for each in self.engine.infer(batches) if isinstance(each, EngineFailure)}
            if failed:
                raise RuntimeError(f"batches failed: {', '.join(failed)}")

        found = self._rate(compute, drawn, len(windows))
        lengths = [len(window) for window in windows]
        return found | {"batches": statistics.mean(counts), "tokens": statistics.mean(lengths)}

    def _batches(self, windows: Sequence[TokenIds], tokens: int | None = None) -> list[TokenBatch]:
        policy = replace(self.engine.policy, token_budget=tokens or self.engine.policy.token_budget)
        groups = plan([len(window) for window in windows], policy, self.max_length)
        widths = (rounded(len(windows[group[0]]), policy, self.max_length) for group in groups)
        return [pad([windows[index] for index in group], width, 0) for group, width in zip(groups, widths, strict=True)]

    def _rate(self, run: Callable[[T], object], drawn: Callable[[], T], reviews: int) -> dict[str, float]:
        """Median of the rounds; the first one warms up and is not counted. Each is as long as `self.seconds`.

        A worker sees batches of ever new shapes. So each run gets what is drawn for it, before its time begins: what
        torch chooses, compiles or keeps for a shape is part of the time.
        """
        rates = []
        for _ in range(self.repeats + 1):
            seconds, done = 0.0, 0
            while not done or seconds < self.seconds:
                given = drawn()
                began = time.perf_counter()
                run(given)
                seconds += time.perf_counter() - began
                done += reviews
            rates.append(done / seconds)
        counted = rates[1:]
        return {"reviews_per_second": statistics.median(counted), "min": min(counted), "max": max(counted)}

    @contextmanager
    def _timed(self) -> Iterator[Callable[[], float]]:
        """Seconds until the GPU is done with what was launched inside."""
        self._synchronise()
        began = time.perf_counter()
        ended: list[float] = []
        yield lambda: ended[0] - began
        self._synchronise()
        ended.append(time.perf_counter())

    def _synchronise(self) -> None:
        if not self.on_cpu:
            torch.cuda.synchronize()

    @contextmanager
    def _padding(self) -> Iterator[None]:
        """Inside, the engine computes padding, as it does for families that need it."""
        model, policy = self.engine._model, self.engine.policy
        attention = model.config._attn_implementation
        model.set_attn_implementation("sdpa")
        self.engine.policy = replace(policy, pads=True, round_to=8)
        try:
            yield
        finally:
            model.set_attn_implementation(attention)
            self.engine.policy = policy


def smi(field: str) -> str | None:
    """What `nvidia-smi` says of `field`, if it is there."""
    return said("nvidia-smi", f"--query-gpu={field}", "--format=csv,noheader")


def said(*command: str) -> str | None:
    """What a command prints, if there is such a command."""
    with suppress(OSError):
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip() or None
    return None
