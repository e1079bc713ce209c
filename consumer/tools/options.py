"""What every tool that talks to Kafka has in common: the flags, and the settings that come of them."""

import argparse
import logging
import sys

from consumer.flags import add_settings
from consumer.service import logs
from consumer.settings import WorkerSettings
from consumer.settings.connection import KafkaSettings
from consumer.settings.sources import read_settings

log = logging.getLogger(__name__)

EXIT_CODES = (
    "exit codes: 0 done; 2 wrong usage or settings; 4 Kafka cannot be used as configured; 5 failed while running"
)


def add_connection(parser: argparse.ArgumentParser, *fields: str) -> None:
    """Add `--config`, a flag for each setting of the connection, and one for each of `fields`, such as "input_topic".

    The tool reads the same variables, secrets and settings file as `review-consumer run`.
    """
    parser.add_argument("--config", metavar="FILE", help="settings file of the worker, TOML [REVIEWS_CONFIG]")
    add_settings(parser, WorkerSettings, {*KafkaSettings.model_fields, *fields})
    parser.epilog = parser.epilog or EXIT_CODES


def settings_of(arguments: argparse.Namespace) -> WorkerSettings:
    """Read the settings as the worker does, and send log lines to stderr: warnings, as text.

    Raises:
        UsageError: see `read_settings`.
    """
    sourced = read_settings(arguments)
    logs.set_up("text" if sys.stderr.isatty() else sourced.settings.log_format, "WARNING")
    # What kafka-python warns of during an attempt is part of the error that ends it.
    logging.getLogger("kafka").propagate = False
    for warning in sourced.warnings:
        log.warning(warning)
    return sourced.settings
