"""Reviews a second of training beside its peers: `python -m tests.bench.training --train train.xlsx --base DIR`.

Forward, backward and optimiser step on reviews drawn from the file, one pass each, in turns in one process. Before
anything is timed, every contestant takes the same few steps in fp32 and without dropout, and has to have the same loss
at each; every timed pass has to have read each review once and to have taken the same number of steps.
"""

import argparse
import json
import random
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from consumer.errors import ReviewsError, UsageError
from consumer.model.texts.encoder import Encoder
from consumer.tables.options import count
from tests.bench.limit import flop_per_review
from tests.bench.peers import KTRAIN_MAXLEN
from tests.bench.rounds import SEED, load_before, measure, processor, tell_load
from tests.bench.trainers import TRAINER, Contestant, make_contestants
from tests.bench.training_limit import FORWARD_AND_BACKWARD, Products, data_sheet
from tests.bench.training_task import Task, check_same_losses, check_same_work
from training.data.reviews import Reviews, read_reviews
from training.encoders.base import Base, find_base, load_classifier, quiet_transformers
from training.encoders.device import best_device, computes_in_bf16, device_name
from training.loop.step import TrainingRows
from training.settings import Precision, StepSettings

BUNDLE = Path("bundles/distilbert-imdb")
LIMIT = "limit"
#: Reviews of one pass where none are asked for; a GPU needs more of them to be timed.
CPU_ROWS, GPU_ROWS = 128, 4096
#: What we want to be times the Trainer, and times padding to a fixed length.
AIMS = (2.0, 4.0)
EPOCHS = 2


def sized_like_distilbert(directory: Path) -> Base:
    """Random weights in the size of DistilBERT: what it learns is nothing, its speed is right."""
    from transformers import DistilBertConfig, DistilBertModel

    tokenizer = (BUNDLE / "tokenizer.json").read_text(encoding="utf-8")
    (directory / "tokenizer.json").write_text(tokenizer, encoding="utf-8")
    words = len(json.loads(tokenizer)["model"]["vocab"])
    torch.manual_seed(SEED)
    DistilBertModel(DistilBertConfig(vocab_size=words)).save_pretrained(directory)
    return find_base(str(directory))


def drawn(path: Path, count: int, batch_size: int) -> tuple[Reviews, int]:
    """About `count` reviews of a file, in whole batches, and how many usable ones the file has.

    Raises:
        UsageError: the file cannot be read, or has too few.
    """
    reviews = read_reviews(path)
    whole = min(count, len(reviews)) // batch_size * batch_size
    if not whole:
        raise UsageError(
            f"{count} rows of the {len(reviews)} in {path} fill no batch of {batch_size}: lower --batch-size"
        )
    return reviews.only(random.Random(SEED).sample(range(len(reviews)), whole)), len(reviews)


def task_of(arguments: argparse.Namespace, reviews: Reviews, base: Base) -> Task:
    """What all contestants do, as `fit` would do it."""
    settings = StepSettings(batch_size=arguments.batch_size, train_max_length=arguments.max_tokens, seed=SEED)
    encoder = Encoder(base.tokenizer_json, settings.reading)
    rows = TrainingRows.encode(reviews, reviews.label_names, encoder)
    return Task(base, reviews.label_names, rows, settings, best_device())


def timed(contestant: Contestant, task: Task) -> float:
    """Reviews a second."""
    trained = contestant(task)
    check_same_work(task, trained)
    return len(task.rows.labels) / trained.seconds


def checked(contestants: dict[str, Contestant], task: Task) -> tuple[dict[str, list[float]], float]:
    """The losses of every contestant, step by step, and their largest difference, which is next to nothing."""
    task, losses = task.for_checking(), {}
    for name, contestant in contestants.items():
        trained = contestant(task)
        check_same_work(task, trained)
        losses[name] = trained.losses
        print(f"check: {name}: loss {trained.losses[0]:.5f} to {trained.losses[-1]:.5f}", file=sys.stderr, flush=True)
    return losses, check_same_losses(losses)


def main(command: Sequence[str] | None = None) -> int:
    """Print the table in Markdown; `--json` keeps everything that was measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", type=Path, required=True, help="labelled reviews, as `fit` reads them")
    parser.add_argument("--base", help="directory or hub name of an encoder (random weights in DistilBERT's size)")
    parser.add_argument("--rows", type=count, help=f"reviews of one pass ({CPU_ROWS}, on a GPU {GPU_ROWS})")
    parser.add_argument("--rounds", type=count, default=3)
    parser.add_argument("--batch-size", type=count, default=32)
    parser.add_argument("--max-tokens", type=int, default=KTRAIN_MAXLEN, help="kept of a review, by all (%(default)s)")
    parser.add_argument("--pad-to", type=int, default=KTRAIN_MAXLEN, help="the fixed length (%(default)s, as ktrain)")
    parser.add_argument("--json", type=Path, metavar="FILE")
    arguments = parser.parse_args(command)
    load = load_before()
    quiet_transformers()
    if not 8 <= arguments.max_tokens <= arguments.pad_to:
        parser.error("--max-tokens has to be 8 to --pad-to, for all read the same tokens")
    if torch.cuda.device_count() > 1:
        parser.error("the Trainer would use every GPU: set CUDA_VISIBLE_DEVICES to one of them")
    try:
        with tempfile.TemporaryDirectory() as directory:
            base = find_base(arguments.base) if arguments.base else sized_like_distilbert(Path(directory))
            rows = arguments.rows or (GPU_ROWS if torch.cuda.is_available() else CPU_ROWS)
            reviews, whole_file = drawn(arguments.train, rows, arguments.batch_size)
            result = run(task_of(arguments, reviews, base), arguments.rounds, arguments.pad_to, whole_file)
    except ReviewsError as error:
        parser.error(str(error))
    tell(result, load)
    if arguments.json:
        result["machine"]["load_before"] = load
        arguments.json.write_text(json.dumps(result, indent=1) + "\n")
    return 0


def run(task: Task, rounds: int, fixed: int, whole_file: int) -> dict[str, Any]:
    """Check, then measure in the precision that `fit` chooses and, where that is bf16, in fp32, as the peers come.

    `whole_file` is the number of rows that an epoch would have.
    """
    contestants = make_contestants(task, fixed)
    losses, difference = checked(contestants, task)
    lengths = [review.tokens for review in task.rows.reviews]
    model = load_classifier(task.base, task.labels, SEED)
    flop = FORWARD_AND_BACKWARD * flop_per_review(model, lengths)
    bf16 = computes_in_bf16(task.device, task.settings.precision)
    precisions: dict[Precision, torch.dtype] = {"bf16": torch.bfloat16} if bf16 else {}
    precisions["fp32"] = torch.float32
    runs: dict[str, Callable[[], float]] = {}
    for precision, dtype in precisions.items():
        runs |= {
            f"{name}, {precision}": partial(timed, contestant, task.in_precision(precision))
            for name, contestant in contestants.items()
        }
        runs[f"{LIMIT}, {precision}"] = partial(limit, Products(task.device, dtype), flop)
    measured = measure(runs, rounds)
    sheet = data_sheet(device_name(task.device)) if bf16 else None
    return {
        "machine": {"processor": processor(), "device": device_name(task.device)},
        "versions": {name: version(name) for name in ("torch", "transformers", "accelerate", "tokenizers")},
        "base": {"name": task.base.name, "sha256": task.base.sha256},
        "sample": {"rows": len(lengths), "rows_of_file": whole_file, "tokens": lengths, "seed": SEED},
        "settings": task.settings.model_dump(mode="json"),
        "fixed_length": fixed,
        "flop_per_review": flop,
        "losses": losses,
        "largest_difference": difference,
        "precisions": {
            precision: compared(
                {name: measured[f"{name}, {precision}"] for name in contestants},
                limit=max(measured[f"{LIMIT}, {precision}"]),
                whole_file=whole_file,
                data_sheet_reviews=sheet / flop if sheet and precision == "bf16" else None,
            )
            for precision in precisions
        },
        "measured": measured,
    }


def limit(products: Products, flop: float) -> float:
    """Reviews of `flop` that the bare products of matrices would allow a second."""
    return products.flop_per_second() / flop


def compared(
    measured: dict[str, list[float]], *, limit: float, whole_file: int, data_sheet_reviews: float | None
) -> dict[str, Any]:
    """The contestants of one precision beside each other; the last one pads to a fixed length."""
    medians = {name: statistics.median(speeds) for name, speeds in measured.items()}
    trainer, padded = medians[TRAINER], list(medians.values())[-1]
    return {
        "limit": limit,
        "rows": [
            {
                "name": name,
                "median": median,
                "min": min(measured[name]),
                "max": max(measured[name]),
                "times_trainer": median / trainer,
                "times_fixed": median / padded,
                "of_limit": median / limit,
                "model_flops_utilisation": median / data_sheet_reviews if data_sheet_reviews else None,
                "two_epochs_seconds": EPOCHS * whole_file / median,
            }
            for name, median in medians.items()
        ],
    }


def tell(result: dict[str, Any], load: float) -> None:
    """Print the result."""
    sample, settings = result["sample"], result["settings"]
    print(
        f"{sample['rows']} reviews, {statistics.fmean(sample['tokens']):.0f} tokens on average, cut to "
        f"{settings['train_max_length']}; {settings['batch_size']} a step; {result['machine']['device']}; "
        f"{result['flop_per_review'] / 1e9:.3g} GFLOP a review, forward and backward, without padding."
    )
    steps = len(next(iter(result["losses"].values())))
    print(
        f"Checked: the same loss in {steps} steps (fp32, no dropout, largest relative difference "
        f"{result['largest_difference']:.1e}); each review once, and as many steps, in every timed pass."
    )
    tell_load(load)
    counted = len(next(iter(result["measured"].values())))
    for precision, found in result["precisions"].items():
        with_sheet = found["rows"][0]["model_flops_utilisation"] is not None
        sheet = " of the data sheet (MFU) |" if with_sheet else ""
        print(f"\nIn {precision}; limit {found['limit']:.1f} reviews/s.\n")
        print(
            f"| | reviews/s (min-max of {counted}) | x Trainer | x padded to {result['fixed_length']} | of the limit |"
            f"{sheet} {EPOCHS} epochs of {sample['rows_of_file']} |"
        )
        print("|---|---|---|---|---|---|" + "---|" * with_sheet)
        for line in found["rows"]:
            mfu = f" {line['model_flops_utilisation']:.1%} |" if with_sheet else ""
            print(
                f"| {line['name']} | **{line['median']:.1f}** ({line['min']:.1f}-{line['max']:.1f}) "
                f"| {line['times_trainer']:.2f} | {line['times_fixed']:.2f} | {line['of_limit']:.0%} |{mfu} "
                f"{line['two_epochs_seconds']:,.0f} s |"
            )
    print()
    chosen = next(iter(result["precisions"]))
    us = result["precisions"][chosen]["rows"][0]["median"]
    for peer, row, aim in (("the Trainer", 1, AIMS[0]), ("fixed padding", -1, AIMS[1])):
        for precision, found in result["precisions"].items():
            ratio = us / found["rows"][row]["median"]
            reached = "reached" if ratio >= aim else "not reached"
            print(f"Aim: {aim:g} x {peer}; fit in {chosen} beside it in {precision}: {ratio:.2f} x, {reached}.")


if __name__ == "__main__":
    sys.exit(main())
