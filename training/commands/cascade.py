"""`review-training cascade`: several models as one, at a fraction of the cost of the best."""

import argparse
from pathlib import Path

from consumer.errors import UsageError
from consumer.tables.options import count
from training.commands.options import DATA_HELP, add_data_options, amount, read_data_options


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Members, data, output and what may be lost."""
    parser.add_argument(
        "--member",
        type=Path,
        action="append",
        required=True,
        metavar="DIR",
        help="a bundle beside --out; give two or more, the cheapest first. Each answers what it is sure of, and the "
        "last one answers the rest",
    )
    parser.add_argument(
        "--choose",
        type=Path,
        required=True,
        metavar="FILE",
        help="labelled reviews that choose the thresholds and calibrate the members; no member may have been trained "
        "on this file. If some of its texts are in --test as well, these do not measure",
    )
    parser.add_argument("--test", type=Path, required=True, metavar="FILE", help=f"what measures; {DATA_HELP}")
    parser.add_argument(
        "--train", type=Path, metavar="FILE", help="what the members were trained on: check --choose for leaks"
    )
    parser.add_argument(
        "--max-loss",
        type=float,
        default=0.2,
        metavar="POINTS",
        help="accuracy, in percentage points, that may be lost against the last member alone; nothing is written if "
        "more is lost on --test (default: %(default)s)",
    )
    parser.add_argument(
        "--precision",
        type=float,
        default=0.98,
        metavar="SHARE",
        help="accuracy wanted among the predictions that are not marked unsure (default: %(default)s)",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="the bundle; an older one is replaced")
    parser.add_argument("--name", metavar="NAME", help="name of the model (default: the name of --out)")
    parser.add_argument(
        "--keep-answers",
        type=Path,
        metavar="DIR",
        help="keep the members' answers in DIR, without the texts, as evaluate does: the same command resumes after a "
        "kill, and with other options it asks no member twice",
    )
    parser.add_argument(
        "--speed-rows",
        type=amount,
        default=1000,
        metavar="N",
        help="time members and cascade on N rows of --test, drawn with a fixed seed, in three rounds; 0: no times "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--threads", type=count, metavar="N", help="threads to time with (default: one for each available core)"
    )
    add_data_options(parser, leaks=True)


def run(arguments: argparse.Namespace) -> None:
    """Choose, measure, write, and print the result."""
    if len(arguments.member) < 2:
        raise UsageError("give --member at least twice: a cascade has two models or more")
    if not 0 < arguments.precision < 1:
        raise UsageError("--precision is a share between 0 and 1, such as 0.98")
    if not 0 <= arguments.max_loss <= 100:
        raise UsageError("--max-loss is in percentage points, from 0 to 100")
    from training.cascade import Order, cascade
    from training.io.output import check_directory

    if arguments.keep_answers:
        check_directory("--keep-answers", arguments.keep_answers)
    order = Order(
        members=tuple(arguments.member),
        choose=arguments.choose,
        test=arguments.test,
        train=arguments.train,
        out=arguments.out,
        name=arguments.name,
        max_loss=arguments.max_loss,
        precision=arguments.precision,
        keep=arguments.keep_answers,
        speed_rows=arguments.speed_rows,
        threads=arguments.threads,
        options=read_data_options(arguments),
    )
    print(cascade(order))  # noqa: T201
