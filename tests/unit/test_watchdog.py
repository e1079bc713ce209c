"""A hanging worker ends, whoever reads its log."""

import subprocess
import sys

import pytest

from consumer.errors import GaveUp

HANGS = """
import logging, time
from consumer import logs
from consumer.watchdog import Watchdog
logs.set_up("json", "INFO")
Watchdog(0.2)
time.sleep(30)
"""


@pytest.mark.parametrize("is_read", [True, False])
def test_a_hang_ends_the_process(is_read: bool) -> None:
    """Exit code 5, and a line that says why; also where stderr is a broken pipe."""
    with subprocess.Popen([sys.executable, "-c", HANGS], stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        if not is_read:
            process.stderr.close()
        assert process.wait(60) == GaveUp.exit_code
        if is_read:
            first, *stacks = process.stderr.read().splitlines()
            assert '"level": "CRITICAL"' in first
            assert "no turn of the loop within 0.2 s" in first
            assert any("Thread" in line for line in stacks)
