"""`review-consumer produce` that is killed, overtaken or left alone by its broker: each row is sent once."""

import os
import random
import subprocess
import time
from pathlib import Path

import pytest

from consumer.local.broker import LocalBroker
from tests.kafka_helpers import Topics
from tests.producing import check_once, command, ends, produce, write_lines
from tests.worker_process import wait_until

pytestmark = pytest.mark.broker

#: So many rows that a run can be killed several times.
MANY = 20_000


@pytest.mark.smoke
@pytest.mark.timeout(180)
def test_a_killed_command_resumes_without_sending_a_row_twice(topics: Topics, tmp_path: Path, seed: int) -> None:
    """Killed again and again at random moments, the same command sends each row once and keeps the order of keys."""
    print(f"seed {seed}")
    draw = random.Random(seed)
    file = write_lines(tmp_path / "r.jsonl", MANY)
    flags = ("--key-column", "film")
    kills, before = 0, 0
    while kills < 4:
        pace = ("--rate", 20_000) if kills % 2 else ()
        with subprocess.Popen(
            command(file, topics, *flags, *pace), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as process:
            while (found := ends(topics)) <= before and process.poll() is None:
                time.sleep(0.01)
            time.sleep(draw.uniform(0, 0.3))  # somewhere between two transactions, or within one
            process.kill()
        if process.returncode == 0:
            break
        kills, before = kills + 1, max(found, ends(topics))
    assert kills >= 2
    code, lines, said = produce(file, topics, *flags)
    assert code == 0, said
    print(f"{kills} kills; the last run found {lines[-1]['before']} records")
    check_once(topics, MANY)
    code, lines, _ = produce(file, topics, *flags)
    assert (code, lines[-1]["sent"], lines[-1]["before"]) == (0, 0, MANY)


def test_two_commands_at_once_send_each_row_once(topics: Topics, tmp_path: Path) -> None:
    """The one that starts later takes over; the other ends with exit code 5 and says so."""
    file = write_lines(tmp_path / "r.jsonl", 2_000)
    flags = ("--key-column", "film", "--rate", 200)
    first = subprocess.Popen(command(file, topics, *flags), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_until(lambda: ends(topics) > 0, 60, "records arrive")
    code, lines, said = produce(file, topics, "--key-column", "film")
    _, error = first.communicate(timeout=60)
    assert (code, first.returncode) == (0, 5), said + error
    assert "started again elsewhere" in error
    assert 0 < lines[-1]["before"] < 2_000
    check_once(topics, 2_000)


@pytest.mark.timeout(180)
def test_a_broker_that_freezes_ends_the_sending_with_a_message(tmp_path: Path) -> None:
    """It waits no longer than its limits, ends with exit code 5, and the same command sends the rest."""
    file = write_lines(tmp_path / "r.jsonl", 2_000)
    with LocalBroker() as kafka:
        topics = Topics(kafka.bootstrap, "reviews", "", "", "g")
        kafka.create_topics({"reviews": 2})
        limits = {"REVIEWS_MAX_POLL_INTERVAL_SECONDS": "12", "REVIEWS_REQUEST_TIMEOUT_SECONDS": "2"}
        limits |= {"REVIEWS_TRANSACTION_TIMEOUT_SECONDS": "3"}
        flags = ("--key-column", "film", "--rate", 1_000)
        process = subprocess.Popen(
            command(file, topics, *flags),
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | limits,
            stdout=subprocess.DEVNULL,
        )
        wait_until(lambda: ends(topics) > 0, 60, "records arrive")
        kafka.pause()
        try:
            _, said = process.communicate(timeout=60)
        finally:
            kafka.resume()
        assert process.returncode == 5, said
        assert "the same command sends the rest" in said
        assert "Traceback" not in said
        wait_until(lambda: ends(topics) > 0, 60, "the broker answers")
        code, _, said = produce(file, topics, "--key-column", "film")
        assert code == 0, said
        check_once(topics, 2_000)
