"""Reviews a second of each engine beside its peers and the limit: `python -m tests.bench.engines --data test.xlsx`.

Everything runs in one process on the same texts, in turns, so that whatever else the machine does hits all alike.
The table shows medians of the rounds, what they are times `pipeline(batch_size=32)`, and the share of the limit: the
speed at which the cores multiply large matrices in the same precision, measured in the same rounds.
"""

import argparse
import json
import random
import statistics
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from consumer.demo import sample
from consumer.model.bundle import Bundle, load_bundle
from consumer.model.cascade.bundle import load
from consumer.model.classifier import Classifier
from consumer.model.encoder import Encoder
from consumer.model.engines import open_engine
from consumer.model.engines.cores import available_cores
from consumer.model.opening import AnyBundle, open_labeller
from tests.bench.end_to_end import EndToEnd
from tests.bench.limit import Multiplication, flop_per_review
from tests.bench.peers import Run, load_peers
from tests.bench.rounds import SEED, load_before, measure, processor, tell_load
from training.data.reviews import read_reviews

YARDSTICK = "transformers pipeline, batch_size=32"
THROUGH_KAFKA = "this worker, through Kafka"
#: The sample, this many times, waits in the topic at once; steady arrivals come at this share of the speed found.
BACKLOG, STEADY_SHARE = 4, 0.5
#: A pause before each measurement, in seconds: the threads of the one before go to sleep.
SETTLE = 0.5
#: A measurement repeats the texts for at least this long by default: a small model reads them in a fraction of it.
LEAST_SECONDS = 2.0


def texts_of(data: Path | None, count: int) -> list[str]:
    """`count` texts drawn from the column `Reviews` of a file, or from the sample that the demo sends."""
    if data:
        texts = list(read_reviews(data).texts)
    else:
        texts = [str(record.review["text"]) for record in sample.load() if record.review]
    return random.Random(SEED).sample(texts, min(count, len(texts)))


def own(bundle: Bundle, names: Sequence[str]) -> dict[str, Run]:
    """The worker's classifier on each variant, and the served one on one review at a time."""
    runs: dict[str, Run] = {}
    for name in names:
        classifier = Classifier(bundle, open_engine(bundle, name))
        classifier.self_check()
        runs[f"this worker, {name}"] = classifier.classify
        if name == bundle.manifest.served:
            runs[f"this worker, {name}, one review at a time"] = lambda texts, alone=classifier: [  # type: ignore[misc]
                alone.classify([text]) for text in texts
            ]
    return runs


def others(bundles: Sequence[AnyBundle]) -> dict[str, Run]:
    """The worker's classifier on what further bundles serve, each named after its bundle; cascades as well."""
    runs: dict[str, Run] = {}
    for bundle in bundles:
        labeller = open_labeller(bundle)
        labeller.self_check()
        runs[f"this worker, {labeller.variant}, bundle {bundle.manifest.name}"] = labeller.classify
    return runs


def timed(run: Run, texts: Sequence[str], least_seconds: float = LEAST_SECONDS) -> float:
    """Texts a second, measured for at least `least_seconds`."""
    time.sleep(SETTLE)
    started, seconds, read = time.perf_counter(), 0.0, 0
    while seconds < least_seconds:
        run(texts)
        read += len(texts)
        seconds = time.perf_counter() - started
    return read / seconds


def reviews_of(flop: float, multiplication: Multiplication, products: int) -> float:
    """Reviews of `flop` a second that bare products of matrices would allow."""
    return multiplication.flop_per_second(products) / flop


def row(name: str, values: Sequence[float], yardstick: float, limit: float | None) -> dict[str, Any]:
    """One line of the result; speeds are reviews a second."""
    median = statistics.median(values)
    return {
        "name": name,
        "median": median,
        "min": min(values),
        "max": max(values),
        "ratio": median / yardstick,
        "of_limit": median / limit if limit else None,
    }


def main() -> int:
    """Print the table in Markdown; `--json` keeps everything that was measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, default=Path("bundles/distilbert-imdb"))
    parser.add_argument(
        "--also", type=Path, action="append", default=[], metavar="BUNDLE", help="another bundle to compare; may repeat"
    )
    parser.add_argument("--checkpoint", type=Path, help="Hugging Face directory for the peers (random weights)")
    parser.add_argument("--data", type=Path, help="xlsx or csv with the columns Reviews and Sentiment (demo's sample)")
    parser.add_argument("--reviews", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=LEAST_SECONDS, help="of each measurement, at least (2)")
    parser.add_argument("--products", type=int, default=Multiplication.REPEATS, help="of matrices, for the limit (24)")
    parser.add_argument("--json", type=Path, metavar="FILE")
    arguments = parser.parse_args()

    before = load_before()
    bundle = load_bundle(arguments.bundle)
    manifest, cores = bundle.manifest, available_cores()
    texts = texts_of(arguments.data, arguments.reviews)
    encoded = Encoder(bundle.tokenizer_json, manifest.reading).encode(texts)
    lengths = [text.tokens for text in encoded]
    peers = load_peers(bundle, arguments.checkpoint)
    windows = [len(window) for text in encoded for window in text.windows]
    flop = flop_per_review(peers.model, windows) * len(windows) / len(texts)

    names = [name for name, variant in manifest.variants.items() if variant.engine == "openvino"]
    precisions = {f"this worker, {name}": manifest.variants[name].compute for name in names}
    precisions[THROUGH_KAFKA] = manifest.variants[manifest.served].compute

    def precision_of(name: str) -> str:
        return precisions.get(name.removesuffix(", one review at a time"), "fp32")

    multiplications = {precision: Multiplication(precision, cores) for precision in ("fp32", "bf16", "int8")}
    further = others([load(path) for path in arguments.also])
    contestants = own(bundle, names) | further | peers.runs
    with ExitStack() as running:
        worker = running.enter_context(EndToEnd(arguments.bundle))
        workers = {
            f"{THROUGH_KAFKA}, bundle {path.name}": running.enter_context(EndToEnd(path)) for path in arguments.also
        }
        measured = measure(
            {
                **{name: partial(timed, run, texts, arguments.seconds) for name, run in contestants.items()},
                **{
                    f"limit {name}": partial(reviews_of, flop, of, arguments.products)
                    for name, of in multiplications.items()
                },
                THROUGH_KAFKA: lambda: worker.backlog(texts * BACKLOG),
                **{name: partial(other.backlog, texts * BACKLOG) for name, other in workers.items()},
            },
            arguments.rounds,
        )
        steady = statistics.median(measured[THROUGH_KAFKA]) * STEADY_SHARE
        age, oldest = worker.ages(texts, steady)
        process = {
            "start_to_ready_seconds": worker.start_seconds,
            "peak_rss_mib": worker.peak_mib,
            "steady_reviews_per_second": steady,
            "age_p50_seconds": age,
            "age_p99_seconds": oldest,
        }
    limits = {name: max(measured[f"limit {name}"]) for name in multiplications}
    yardstick = statistics.median(measured[YARDSTICK])
    rows = [
        row(name, measured[name], yardstick, None if name in further or name in workers else limits[precision_of(name)])
        for name in (*contestants, THROUGH_KAFKA, *workers)
    ]
    served = statistics.median(measured[f"this worker, {manifest.served}"])
    rows.sort(key=lambda line: line["median"])

    print(f"{len(texts)} reviews, {statistics.fmean(lengths):.0f} tokens on average; {flop / 1e9:.1f} GFLOP a review.")
    print(f"Limit in reviews/s: {', '.join(f'{name} {limit:.1f}' for name, limit in limits.items())}; {cores} cores.")
    tell_load(before)
    print()
    print(f"| | reviews/s (min-max of {arguments.rounds}) | x {YARDSTICK} | of the limit |")
    print("|---|---|---|---|")
    for line in rows:
        print(
            f"| {line['name']} | **{line['median']:.1f}** ({line['min']:.1f}-{line['max']:.1f}) "
            f"| {line['ratio']:.1f} | {'' if line['of_limit'] is None else format(line['of_limit'], '.0%')} |"
        )
    print()
    for names_of, alone in ((further, served), (workers, statistics.median(measured[THROUGH_KAFKA]))):
        for name in names_of:
            print(f"{name}: {statistics.median(measured[name]) / alone:.1f} x {manifest.name}, {manifest.served}.")
    print(
        f"The worker's process: ready {process['start_to_ready_seconds']:.1f} s after its start, at most "
        f"{process['peak_rss_mib']:.0f} MiB resident. At {steady:.0f} reviews/s ({STEADY_SHARE:.0%} of its speed) "
        f"p50 / p99 of produced to committed: {age:.2f} / {oldest:.2f} s."
    )
    if arguments.json:
        result = {
            "machine": {"processor": processor(), "cores": cores, "load_before": before},
            "versions": {name: version(name) for name in ("openvino", "torch", "transformers", "tokenizers")},
            "bundle": {"name": manifest.name, "digest": bundle.digest},
            "sample": {"reviews": len(texts), "tokens": lengths, "seed": SEED, "flop_per_review": flop},
            "limits": limits,
            "process": process,
            "rows": rows,
            "measured": measured,
        }
        arguments.json.write_text(json.dumps(result, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
