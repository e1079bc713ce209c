"""`review-consumer dlq ACTION`: what to do with dead letters."""

import argparse
from importlib import import_module
from typing import Any

from consumer.tools.options import EXIT_CODES, add_connection
from consumer.tools.output import add_json

#: Action: what it does. Each is a module of this room with `add_arguments` and `run`.
ACTIONS = {
    "stats": "count them by reason, detail, partition, time and header",
    "list": "list them, one line each",
    "show": "show one of them: reason, coordinates and bytes",
    "replay": "send them to the input topic again, exactly once; only shows what it would do without --send",
    "export": "write them to a CSV, JSON Lines or Parquet file",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """One subcommand for each action."""
    parser.description = (
        "Work with dead letters. All actions only read, except replay with --send. Content of records "
        "(key, value, header values) is printed only if you ask for it."
    )
    parser.epilog = EXIT_CODES
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    for name, text in ACTIONS.items():
        action = actions.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.", epilog=EXIT_CODES)
        _module(name).add_arguments(action)
        if name != "export":
            add_json(action)
        add_connection(action, "dead_letter_topic", *(("input_topic", "group_id") if name == "replay" else ()))


def run(arguments: argparse.Namespace) -> int:
    """Run the action."""
    return int(_module(arguments.action).run(arguments))


def _module(action: str) -> Any:
    return import_module(f"consumer.tools.dlq.{'listing' if action == 'list' else action}")
