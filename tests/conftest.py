"""One real Kafka broker for the whole session, topics for every test that asks for them, and no traces between tests.

A broker that does not start is a failure, never a skip: without it the promises of this package are untested.
"""

import logging
import os
import signal
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TypeGuard

import hypothesis
import pytest

from consumer.local.broker import LocalBroker
from tests.kafka_helpers import Topics

PARTITIONS = 4

# How long an example takes says something about the machine, not about the code.
hypothesis.settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("any machine")


# Started by `nohup` or in the background of a script, this process ignores signals, and what a test starts would, too.
signal.signal(signal.SIGHUP, signal.SIG_DFL)
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Tests that draw at random print their seed; this replays it."""
    parser.addoption("--seed", type=int, default=7, help="seed of everything random in the fault tests (7)")


@pytest.fixture(autouse=True)
def _no_traces() -> Iterator[None]:
    """No test sees what another one did to the process: logging, signals, environment, working directory.

    Variables that a library sets when it is first imported stay, since no other test imports it again. So do filters:
    `consumer.kafka.fixes` adds one, once for the process.
    """
    loggers = [logging.getLogger(), *(each for each in logging.Logger.manager.loggerDict.values() if _is_logger(each))]
    levels = [(each, each.level, each.propagate, each.disabled, list(each.handlers)) for each in loggers]
    disabled = logging.Logger.manager.disable
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    environment, directory = dict(os.environ), Path.cwd()
    yield
    for logger, level, propagate, is_disabled, of_logger in levels:
        if logger.level != level:
            logger.setLevel(level)  # it also clears the cache of what is enabled
        logger.propagate, logger.disabled, logger.handlers = propagate, is_disabled, of_logger
    logging.disable(disabled)
    for number, handler in handlers.items():
        if signal.getsignal(number) is not handler:
            signal.signal(number, handler)
    for name in os.environ.keys() - environment.keys():
        if name.startswith("REVIEWS_"):
            del os.environ[name]
    os.environ.update({name: value for name, value in environment.items() if os.environ.get(name) != value})
    os.chdir(directory)


def _is_logger(each: object) -> TypeGuard[logging.Logger]:
    return isinstance(each, logging.Logger)


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    """Of everything random in a test; `pytest --seed N` replays."""
    return int(request.config.getoption("--seed"))


@pytest.fixture(scope="session")
def kafka() -> Iterator[LocalBroker]:
    """A running broker, shared by all tests: break a broker of your own, not this one."""
    with LocalBroker() as broker:
        yield broker


@pytest.fixture(scope="session")
def bundle() -> Path:
    """The model bundle that this project ships; REVIEWS_TEST_BUNDLE names another one."""
    path = Path(os.environ.get("REVIEWS_TEST_BUNDLE", Path(__file__).parents[1] / "bundles/distilbert-imdb"))
    assert path.is_dir(), f"{path} is missing"
    return path


@pytest.fixture
def topics(kafka: LocalBroker) -> Topics:
    """Empty topics (input with 4 partitions, output with 4, dead letters with 4) and an unused group id."""
    name = f"t-{uuid.uuid4().hex[:12]}"
    made = Topics(kafka.bootstrap, f"{name}.input", f"{name}.output", f"{name}.dead-letter", f"{name}.group")
    kafka.create_topics(dict.fromkeys((made.input, made.output, made.dead_letter), PARTITIONS))
    return made
