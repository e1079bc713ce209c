"""One real Kafka broker for the whole session, and topics of its own for every test that asks for them.

A broker that does not start is a failure, never a skip: without it the promises of this package are untested.
"""

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from consumer.local.broker import LocalBroker
from tests.kafka_helpers import Topics

PARTITIONS = 4


def pytest_addoption(parser: pytest.Parser) -> None:
    """Tests that draw at random print their seed; this replays it."""
    parser.addoption("--seed", type=int, default=7, help="seed of everything random in the fault tests (7)")


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
