"""What a GPU does: `python -m tests.bench.gpu --json gpu.json`, on a machine with one and nothing else to do.

In this order, as far as the time goes (`--seconds`): the speed at which the GPU multiplies large matrices, which is the
limit; the engine on reviews of 272 tokens and on reviews of all lengths, without and with padding and with other sizes
of batch; tokenising alone; the classifier; one and several workers through Kafka; where the time of the GPU goes. The
model is a DistilBERT of random weights: its labels are wrong, its speed is right.

After each step, all results so far are written to `--json`; a step that fails is reported and the others go on.
`--cpu` tries the script on a tiny model where there is no GPU. Its figures mean nothing.
"""

import argparse
import json
import re
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from consumer.errors import UsageError
from consumer.model.engines.cores import available_cores
from consumer.model.engines.torch import GPU_TOKENS
from tests.bench.gpu_steps import ROOT, Bench, said, smi
from tests.bench.rounds import load_before, processor, tell_load
from training.data.reviews import read_reviews
from training.io.output import check_file

#: Seconds that a step through Kafka needs at least.
LEAST_KAFKA = 40

#: Name, seconds that it needs at least, and what measures it.
Step = tuple[str, float, Callable[[], Any]]


def steps(bench: Bench, workers: Sequence[int], left: Callable[[], float]) -> Iterator[Step]:
    """All of them; what matters most comes first."""
    yield "limit", 5, bench.limit
    yield "engine, 272 tokens", 8, bench.of_272_tokens
    yield "engine, all lengths", 8, bench.of_all_lengths
    yield "tokenising", 8, bench.tokenise
    yield "classifier", 8, bench.classify
    for count in workers:
        yield f"Kafka, {count} worker{'s' * (count > 1)}", LEAST_KAFKA, partial(bench.kafka, count, left)
    yield "engine, all lengths, padded", 8, bench.padded
    for tokens in (GPU_TOKENS // 4, GPU_TOKENS * 2, GPU_TOKENS * 4):
        yield f"engine, 272 tokens, batches of {tokens:,}", 8, partial(bench.of_272_tokens, tokens)
    yield "kernels", 10, bench.profile


def machine() -> dict[str, object]:
    """What was measured on."""
    card = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "card": card,
        "driver": smi("driver_version"),
        "cuda": torch.version.cuda,
        "processor": processor(),
        "cores": available_cores(),
        "versions": {name: version(name) for name in ("torch", "transformers", "tokenizers", "review-consumer")},
        "commit": said("git", "-C", str(ROOT), "rev-parse", "HEAD"),
    }


def line_of(name: str, found: dict[str, Any], limits: dict[str, float]) -> str:
    """A row of the table in Markdown."""
    rate = found.get("reviews_per_second") or found.get("steady")
    if rate is None:
        return f"| {name} | {json.dumps(found)[:200]} | |"
    limit = limits.get("reviews of 272 tokens" if "272" in name else "reviews of all lengths")
    return f"| {name} | {rate:,.0f} | {'' if limit is None else f'{rate / limit:.0%}'} |"


def counts(value: str) -> list[int]:
    """Numbers of workers, as 1,4,2,8."""
    if not re.fullmatch(r"[1-9]\d?(,[1-9]\d?)*", value):
        raise argparse.ArgumentTypeError(f"{value!r} is not a list of numbers from 1 to 99, such as 1,4,2,8")
    return [int(count) for count in value.split(",")]


def main() -> int:
    """Print a table in Markdown; `--json` keeps everything."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=450, help="no step starts that would end later (450)")
    parser.add_argument(
        "--workers", type=counts, default="1,4,2,8", help="how many on the GPU, in this order (1,4,2,8)"
    )
    parser.add_argument("--data", type=Path, help="xlsx or csv with the columns Reviews and Sentiment (demo's sample)")
    parser.add_argument("--cpu", action="store_true", help="try the script on a tiny model without a GPU")
    parser.add_argument("--json", type=Path, metavar="FILE")
    arguments = parser.parse_args()
    until: float = time.monotonic() + arguments.seconds

    if not arguments.cpu and not torch.cuda.is_available():
        print("there is no GPU that torch can use; --cpu tries this script without one", file=sys.stderr)
        return 2
    try:
        if arguments.json:
            check_file("--json", arguments.json)
        reviews = read_reviews(arguments.data, learned=False) if arguments.data else None
    except UsageError as error:
        print(error, file=sys.stderr)
        return 2
    load = load_before()
    result: dict[str, Any] = {"machine": machine(), "steps": {}, "failed": {}, "left_out": []}
    with tempfile.TemporaryDirectory() as directory:
        bench = Bench(Path(directory), reviews, arguments.cpu)
        result["machine"]["padding_is_computed"] = bench.engine.policy.pads
        print(json.dumps(result["machine"]))
        print("\n| | reviews/s | of the limit |\n|---|---|---|", flush=True)

        def left() -> float:
            return until - time.monotonic()

        def keep() -> None:
            if arguments.json:
                arguments.json.write_text(json.dumps(result, indent=1) + "\n")

        for name, needs, measure in steps(bench, arguments.workers, left):
            if left() < needs:
                result["left_out"].append(name)
                continue
            try:
                found = result["steps"][name] = measure()
                print(line_of(name, found, result["steps"].get("limit", {})), flush=True)
            except Exception:  # the other steps are worth their time
                result["failed"][name] = traceback.format_exc()
                print(f"| {name} | failed | |", flush=True)
            keep()
        keep()  # also what was left out after the last one
    tell_load(load)
    if arguments.cpu:
        print("\nOn a CPU, with a tiny model: these figures mean nothing.")
    for name, why in result["failed"].items():
        print(f"\n{name}: {why}", file=sys.stderr)
    print(f"\n{len(result['steps'])} measured, {len(result['failed'])} failed, {len(result['left_out'])} left out.")
    return 1 if result["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
