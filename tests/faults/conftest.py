"""Brokers to break, and a harness on each."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from consumer.kafka import fixes
from consumer.local.broker import LocalBroker
from consumer.local.cluster import LocalCluster
from tests.harness import Harness
from tests.proxy import Proxy


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Connections fail on purpose here, and kafka-python leaves the socket of a failed one to the garbage collector."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"))


@pytest.fixture(scope="session", autouse=True)
def _patched_as_in_a_worker() -> None:
    """Some tests drive a worker's `Broker` in this process. What judges it reads with another client."""
    fixes.apply()


@pytest.fixture
def harness(kafka: LocalBroker, tmp_path: Path, seed: int) -> Iterator[Harness]:
    """On the broker that all tests share: for faults of workers and records."""
    with Harness(kafka, tmp_path, seed) as made:
        yield made


@pytest.fixture
def harness_on(tmp_path: Path, seed: int) -> Iterator[Callable[..., Harness]]:
    """Makes a harness on another cluster."""
    with ExitStack() as ending:

        def make(kafka: LocalCluster, **options: Any) -> Harness:
            return ending.enter_context(Harness(kafka, tmp_path, seed, **options))

        yield make


@pytest.fixture
def broker() -> Iterator[LocalBroker]:
    """A broker of this test alone."""
    with LocalBroker() as made:
        yield made


@pytest.fixture(scope="module")
def proxied() -> Iterator[tuple[LocalBroker, Proxy]]:
    """A broker whose clients all come through a proxy."""
    with Proxy() as proxy, LocalBroker(advertised=proxy.address) as made:
        proxy.target_port = made.port
        yield made, proxy
