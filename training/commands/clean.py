"""`review-training clean`: remove what finished runs keep beside their bundles."""

import argparse
from pathlib import Path

from consumer.errors import UsageError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which runs, and whether to remove anything."""
    parser.epilog = (
        "Nothing is removed without --yes. Only files that a run wrote are removed, never the bundle. A run that is "
        "active is refused"
    )
    parser.add_argument(
        "out",
        type=Path,
        nargs="+",
        metavar="OUT",
        help="the --out of a run, or its --checkpoints or --teacher-cache directory",
    )
    parser.add_argument("--yes", action="store_true", help="remove; without it, only show what would be removed")
    parser.add_argument(
        "--unfinished", action="store_true", help="also remove runs that have no bundle yet; their work is lost"
    )


def run(arguments: argparse.Namespace) -> None:
    """Show, check all, and only then remove."""
    from training.commands.leftovers import check_unused, in_units, leftovers_of, remove

    found = list({left.directory.resolve(): left for path in arguments.out for left in leftovers_of(path)}.values())
    for left in found:
        print(left.as_line)  # noqa: T201
    for left in found if arguments.yes else ():
        check_unused(left)
    unfinished = [left for left in found if not left.finished]
    if arguments.yes and unfinished and not arguments.unfinished:
        raise UsageError(
            f"{unfinished[0].directory} is of a run that has not finished, and nothing is removed: finish it with the "
            "same command, or add --unfinished to lose its work"
        )
    total = in_units(sum(left.size for left in found))
    if not arguments.yes:
        print(f"{total} in all; nothing was removed: add --yes to remove it" if found else "nothing to remove")  # noqa: T201
        return
    for left in reversed(found):  # the lock of a run last
        remove(left)
    print(f"{total} removed")  # noqa: T201
