"""Tests do not depend on their order: what one of them does to the process is undone before the next."""

import logging
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from consumer.service import logs

BEFORE: list[object] = []


def state() -> list[object]:
    """What a test could leave behind."""
    root, kafka = logging.getLogger(), logging.getLogger("kafka")
    handlers = [kind for kind in map(type, root.handlers) if not kind.__module__.startswith("_pytest")]
    return [
        *(handlers, root.level, kafka.level, kafka.propagate, kafka.disabled, logging.Logger.manager.disable),
        *(signal.getsignal(signal.SIGTERM), os.environ.get("REVIEWS_CONFIG"), os.environ.get("PATH"), Path.cwd()),
    ]


@pytest.fixture(scope="module", autouse=True)
def _noted() -> Iterator[None]:
    """The state before the first test of this module, and after its last one."""
    before = state()
    yield
    assert state() == before


@pytest.mark.parametrize("time", [1, 2])
def test_a_test_that_changes_the_process_is_cleaned_up_after(time: int, tmp_path: Path) -> None:
    """Logging, a signal handler, our own variables, others that were changed, the directory: as before, twice."""
    BEFORE[:] = BEFORE or state()
    assert state() == BEFORE, time
    logs.set_up("json", "DEBUG")
    logging.getLogger("kafka").propagate = False
    logging.getLogger("kafka").disabled = True
    logging.disable(logging.ERROR)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.environ["REVIEWS_CONFIG"], os.environ["PATH"] = "/nowhere", "/nowhere"
    os.chdir(tmp_path)
    assert state() != BEFORE
