"""The flags of `review-consumer demo`, and its exit codes. Quick to import, for --help."""

import argparse
import logging
from contextlib import ExitStack
from pathlib import Path

from consumer.errors import BundleError, UsageError
from consumer.model.bundle.embedded import STUDENT, default, located
from consumer.model.bundle.manifest import MANIFEST

DEFAULT_RATE = 20.0
MAX_RATE = 10_000.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of the demo."""
    parser.description = (
        "Start a real Kafka and a worker on this machine, send a sample of reviews through them, show the outcomes, "
        "check that every record has exactly one, and leave nothing behind. Exit codes: 0 the check passed; 1 it "
        "failed; 2 wrong usage, or Java or Kafka cannot be downloaded; 3 bundle refused; 4 or 5 the exit code of the "
        "worker; 130 Ctrl-C."
    )
    parser.add_argument(
        "--bundle",
        type=Path,
        metavar="DIR",
        help="directory of the model bundle, or the name of one that comes with the program (default: "
        f"bundles/cascade-imdb if it is there, else {STUDENT})",
    )
    parser.add_argument(
        "--rate",
        type=float,
        default=DEFAULT_RATE,
        metavar="R",
        help="records sent per second; 0 sends all at once (default: %(default)g)",
    )
    parser.add_argument(
        "--produce-to",
        metavar="HOST:PORT",
        help="start nothing: send the sample in a loop to the Kafka at this address (no encryption), until Ctrl-C",
    )
    parser.add_argument(
        "--keep-running",
        action="store_true",
        help="after the check, keep Kafka and the worker running until Ctrl-C, to look at /metrics or to send reviews",
    )
    parser.add_argument("--svg", type=Path, metavar="FILE", help="write the output, shortened, to FILE as a picture")


def run(arguments: argparse.Namespace) -> int:
    """Run the demo; returns its exit code.

    Raises:
        ReviewsError: the demo could not run, the worker ended, or the check failed.
    """
    from consumer.demo.course import demo
    from consumer.demo.produce import produce
    from consumer.kafka import fixes
    from consumer.local.interrupts import Interrupts

    if not 0 <= arguments.rate <= MAX_RATE:
        raise UsageError(f"--rate must be from 0 to {MAX_RATE:.0f} records per second")
    bundle = (located(arguments.bundle) if arguments.bundle else default()).resolve()
    if not arguments.produce_to and not (bundle / MANIFEST).is_file():
        raise BundleError(
            f"there is no model bundle in {bundle}; set --bundle to the directory of one, or to {STUDENT}, which comes "
            "with the program"
        )
    fixes.apply()  # before the first Kafka client of this process
    logging.getLogger("kafka").setLevel(logging.CRITICAL)  # what matters is raised as an exception
    with Interrupts() as interrupts:
        try:
            with ExitStack() as stack:
                if arguments.produce_to:
                    produce(interrupts, arguments.produce_to, arguments.rate)
                else:
                    demo(
                        stack,
                        interrupts,
                        bundle,
                        rate=arguments.rate,
                        keep_running=arguments.keep_running,
                        svg=arguments.svg,
                    )
        except KeyboardInterrupt:
            print("interrupted; nothing is left running")  # noqa: T201
            return interrupts.exit_code
    return 0
