"""Reviews a second and accuracy of each engine beside its peers and the limit, and whether the goals are reached.

    python -m tests.bench.engines --data test.xlsx --also bundles/student-imdb --also bundles/cascade-imdb

Engines in this process and workers behind a real broker read the same texts in turns, so that whatever else the machine
does hits all alike. The table shows medians of the rounds, what they are times `pipeline(batch_size=32)`, and the share
of the limit: the speed at which the cores multiply large matrices in the same precision, measured in the same rounds.
With --data, each engine also labels the same rows of the file, and --picture draws accuracy over throughput. About 25
minutes on two cores; progress is on stderr.
"""

import argparse
import json
import math
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path

from consumer.demo import sample
from consumer.errors import BundleError, GaveUp, UsageError
from consumer.local.broker import LocalBroker
from consumer.model.engines.cores import available_cores
from consumer.model.texts.encoder import Encoder
from tests.bench.accuracy import draw_rows
from tests.bench.contestants import Contestant, Run, numbered
from tests.bench.end_to_end import EndToEnd
from tests.bench.limit import Multiplication, flop_per_review
from tests.bench.line_up import LineUp, cleaner, load_line_up
from tests.bench.report import Found, ask_all, draw_picture, print_report
from tests.bench.rounds import SEED, commit, load_before, measure, processor
from training.data.reviews import Reviews, read_reviews
from training.io.output import check_file, write_text

#: The sample, this many times, is read by who gains from many texts at once, and waits in the topic at once.
BACKLOG = 4
#: Steady arrivals come at this share of the speed found.
STEADY_SHARE = 0.5
#: A pause before each measurement, in seconds: the threads of the one before go to sleep.
SETTLE = 0.5
#: A measurement repeats the texts for at least this long by default: a small model reads them in a fraction of it. A
#: backlog is made for three times as long.
LEAST_SECONDS = 2.0
#: Texts that an engine warms up on.
WARMING = 32


def texts_of(reviews: Reviews | None, count: int) -> list[str]:
    """`count` texts drawn from labelled reviews, or from the sample that the demo sends."""
    if reviews:
        texts = list(reviews.texts)
    else:
        texts = [str(record.review["text"]) for record in sample.load() if record.review]
    return random.Random(SEED).sample(texts, min(count, len(texts)))


def timed(run: Run, texts: Sequence[str], least_seconds: float) -> float:
    """Texts a second, measured for at least `least_seconds`."""
    time.sleep(min(SETTLE, least_seconds))
    started, seconds, read = time.perf_counter(), 0.0, 0
    while not read or seconds < least_seconds:
        run(texts)
        read += len(texts)
        seconds = time.perf_counter() - started
    return read / seconds


def reviews_of(flop: float, multiplication: Multiplication, products: int) -> float:
    """Reviews of `flop` a second that bare products of matrices would allow."""
    return multiplication.flop_per_second(products) / flop


class Backlogs:
    """A worker that gets backlogs of `texts`: as many times as it reads them in `seconds`, at least `BACKLOG` times."""

    def __init__(self, texts: Sequence[str], seconds: float, backlog: Callable[[Sequence[str]], float]) -> None:
        self._texts = list(texts)
        self._seconds = seconds
        self._backlog = backlog
        self._times = BACKLOG

    def warm(self) -> float:
        """Find out how fast it is."""
        speed = self()
        self._times = max(BACKLOG, math.ceil(speed * self._seconds / len(self._texts)))
        return speed

    def __call__(self) -> float:
        """Reviews a second."""
        return self._backlog(self._texts * self._times)


def main() -> int:
    """Print the tables in Markdown; `--json` keeps everything that was measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, default=Path("bundles/distilbert-imdb"), help="the large model")
    parser.add_argument(
        "--also", type=Path, action="append", default=[], metavar="BUNDLE", help="another bundle to compare; may repeat"
    )
    parser.add_argument("--checkpoint", type=Path, help="Hugging Face directory for the peers (the bundle's weights)")
    parser.add_argument("--data", type=Path, help="xlsx or csv with the columns Reviews and Sentiment (demo's sample)")
    parser.add_argument("--reviews", type=int, default=128, help="that are timed (128)")
    parser.add_argument("--accuracy-rows", type=int, default=1000, help="of --data that each engine labels (1000)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=LEAST_SECONDS, help="of each measurement, at least (2)")
    parser.add_argument("--products", type=int, default=Multiplication.REPEATS, help="of matrices, for the limit (24)")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="PNG of accuracy over throughput; needs --data")
    parser.add_argument("--json", type=Path, metavar="FILE")
    arguments = parser.parse_args()
    if arguments.picture and not arguments.data:
        parser.error("--picture needs --data: accuracy is measured on labelled reviews")

    before = load_before()
    try:
        for option, path in (("--picture", arguments.picture), ("--json", arguments.json)):
            if path:
                check_file(option, path)
        reviews = read_reviews(arguments.data, learned=False) if arguments.data else None
    except UsageError as error:
        parser.error(str(error))
    texts = texts_of(reviews, arguments.reviews)
    with ExitStack() as running:
        scratch = Path(running.enter_context(tempfile.TemporaryDirectory()))
        try:
            line_up = load_line_up(arguments.bundle, arguments.also, arguments.checkpoint, texts, scratch)
        except (BundleError, UsageError, ValueError) as error:
            parser.error(str(error))
        found = bench(line_up, texts, arguments, running)
        if reviews:
            rows, labels = draw_rows(reviews, arguments.accuracy_rows)
            ask_all(line_up, found, rows, labels)
    found.machine = {
        "processor": processor(),
        "cores": available_cores(),
        "load_before": before,
        "commit": commit(),
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
    }
    # In this order: the file keeps everything, and what cannot be written must not take the rest with it.
    return keep(
        *([partial(write_json, line_up, found, arguments.json)] if arguments.json else []),
        partial(print_report, line_up, found),
        *([partial(draw_picture, line_up, found, arguments.picture)] if arguments.picture else []),
    )


def write_json(line_up: LineUp, found: Found, path: Path) -> None:
    """Write everything that was measured to `path`."""
    versions = {name: version(name) for name in ("openvino", "torch", "transformers", "tokenizers", "onnxruntime")}
    write_text(path, json.dumps({"versions": versions, **found.as_json(line_up)}, indent=1) + "\n")


def keep(*writers: Callable[[], None]) -> int:
    """Call each of them, whatever becomes of the others; returns the exit code."""
    code = 0
    for write in writers:
        try:
            write()
        except GaveUp as error:
            print(error, file=sys.stderr)
            code = error.exit_code
    return code


def bench(line_up: LineUp, texts: Sequence[str], arguments: argparse.Namespace, running: ExitStack) -> Found:
    """Measure everything but accuracy; what is started ends with `running`."""
    manifest = line_up.bundle.manifest
    encoded = Encoder(line_up.bundle.tokenizer_json, manifest.reading).encode(numbered(texts))
    windows = [len(window) for text in encoded for window in text.windows]
    flop = flop_per_review(line_up.model, windows) * len(windows) / len(texts)
    multiplications = {each: Multiplication(each, available_cores()) for each in ("fp32", "bf16", "int8")}
    cleaned = list(map(cleaner(line_up.bundle), texts))

    def of(contestant: Contestant) -> list[str]:
        each = cleaned if contestant.is_peer else list(texts)
        return numbered(each * BACKLOG if contestant.reads_all else each)

    kafka = running.enter_context(LocalBroker())
    workers = {row: running.enter_context(EndToEnd(path, kafka)) for row, path in line_up.workers.items()}
    backlogs = {row: Backlogs(texts, 3 * arguments.seconds, worker.backlog) for row, worker in workers.items()}
    half = f"{line_up.default}, half of the reviews seen before"
    backlogs[half] = Backlogs(texts, 3 * arguments.seconds, workers[line_up.default].half_known)
    starting = dict.fromkeys([line_up.main, line_up.default])
    measured = measure(
        {
            **{each.name: partial(timed, each.run, of(each), arguments.seconds) for each in line_up.contestants},
            **{
                f"limit {name}": partial(reviews_of, flop, each, arguments.products)
                for name, each in multiplications.items()
            },
            **backlogs,
            **{f"seconds to ready: {row}": workers[row].ready_seconds for row in starting},
        },
        arguments.rounds,
        {
            **{each.name: partial(timed, each.run, of(each)[:WARMING], 0.0) for each in line_up.contestants},
            **{row: each.warm for row, each in backlogs.items()},
            **{f"seconds to ready: {row}": partial(getattr, workers[row], "start_seconds") for row in starting},
        },
    )
    profiles = {row: (worker.profile(), worker.passed_on()) for row, worker in workers.items()}
    steady = statistics.median(measured[line_up.main]) * STEADY_SHARE
    age, oldest = workers[line_up.main].ages(texts, steady)
    return Found(
        measured=measured,
        half=half,
        lengths=[text.tokens for text in encoded],
        flop=flop,
        limits={name: max(measured[f"limit {name}"]) for name in multiplications},
        profiles=profiles,
        steady={"reviews_per_second": steady, "age_p50_seconds": age, "age_p99_seconds": oldest},
        peak_mib={row: worker.peak_mib for row, worker in workers.items()},
        ready={line_up.count[row]: measured[f"seconds to ready: {row}"] for row in starting},
    )


if __name__ == "__main__":
    sys.exit(main())
