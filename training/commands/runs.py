"""What `fit` and `distil` share on the command line, besides their options."""

import argparse
import shlex
from typing import TYPE_CHECKING

from training.commands.options import read_data_options
from training.settings import PackageSettings

if TYPE_CHECKING:
    from training.plan import Job, Made


def job_of(arguments: argparse.Namespace, packaging: PackageSettings) -> "Job":
    """Where the bundle and the state of the run go, and how files are read, as given on the command line."""
    from training.plan import Job

    return Job(
        out=arguments.out,
        packaging=packaging,
        checkpoints=arguments.checkpoints,
        checkpoint_minutes=arguments.checkpoint_minutes,
        data_options=read_data_options(arguments),
        report_to=arguments.report_to,
    )


def show(arguments: argparse.Namespace, made: "Made | None") -> None:
    """Print how good the bundle is that was `made`; the processes of torchrun after the first have none."""
    if made:
        from training.measure.evaluate import as_text

        print(as_text(made.evaluation))  # noqa: T201
        manifest = made.manifest
        print(f"{arguments.out}: {manifest.name} {manifest.version}, serves {manifest.served}")  # noqa: T201
        tell_leftovers(arguments)


def tell_leftovers(arguments: argparse.Namespace) -> None:
    """Say what the run keeps, for a resume or another packaging, and how to remove it; it may have made no bundle."""
    from training.commands.leftovers import in_units, leftovers_of
    from training.io.progress import say

    elsewhere = [path for path in (arguments.checkpoints, getattr(arguments, "teacher_cache", None)) if path]
    paths = [arguments.out, *elsewhere] if arguments.out.exists() or not elsewhere else elsewhere
    found = {left.directory: left for path in paths for left in leftovers_of(path)}
    for left in found.values():
        say(f"{left.directory} keeps {in_units(left.size)}: {left.what}")
    if found:
        say(f"remove it with: review-training clean --yes {shlex.join(map(str, paths))}")
