"""`dlq replay` that is killed, overtaken or cut short: each dead letter is sent again once, and labelled once."""

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.fake_worker import Script
from tests.harness import Harness
from tests.kafka_helpers import Record, internal, read_all
from tests.worker_process import wait_until

pytestmark = [pytest.mark.broker, pytest.mark.timeout(300)]

#: `review-consumer`, whose publisher follows the script of a fake worker.
SCRIPTED = """
import json, os, sys
from consumer.cli import main
from consumer.kafka.publisher import Publisher
from tests.fake_worker import VARIABLE, Script, hook
init, at = Publisher.__init__, hook(Script(**json.loads(os.environ[VARIABLE])))
Publisher.__init__ = lambda self, settings, outlet, _, *more: init(self, settings, outlet, at, *more)
sys.exit(main(sys.argv[1:]))
"""


def replay(harness: Harness, directory: Path, *flags: str, **points: str) -> subprocess.Popen[str]:
    """Start `dlq replay --send`; `points` as in a `Script`, such as sent_2="kill"."""
    directory.mkdir()
    script = Script({name.replace("__", ":"): action for name, action in points.items()}, str(directory))
    topics = harness.topics
    words = ["dlq", "replay", "--send", *flags, "--bootstrap-servers", topics.bootstrap, "--group-id", topics.group]
    words += ["--dead-letter-topic", topics.dead_letter, "--input-topic", topics.input]
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPTED, *words],
        env=script.environment() | {"PYTHONPATH": os.getcwd()},  # noqa: PTH109
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def dead_letters(harness: Harness, count: int) -> None:
    """Produce good reviews for a worker that looks for their text in another field."""
    made = harness.produce(count)
    harness.dead |= {(each.topic, each.partition or 0, each.offset) for each in made}
    harness.worker(text_field="body")
    harness.await_done()
    harness.stop()
    assert len(read_all(internal(harness.kafka), harness.topics.dead_letter)) == count


def sent_again(harness: Harness) -> list[Record]:
    """What is in the input topic beside what was produced; each record of that is there once."""
    produced = {(each.partition, each.offset) for each in harness.produced}
    everything = read_all(internal(harness.kafka), harness.topics.input)
    again = [each for each in everything if (each.partition, each.offset) not in produced]
    origins = Counter((each.header("replay-of") or b"").decode() for each in again)
    assert origins == Counter(f"{each.topic}-{each.partition}-{each.offset}" for each in harness.produced)
    return again


@pytest.mark.smoke
def test_a_replay_that_is_killed_at_any_step_sends_each_dead_letter_once(harness: Harness, tmp_path: Path) -> None:
    """SIGKILL at each step of a commit and at a random moment; run again until done, and everything is labelled."""
    # Given dead letters whose cause is fixed
    dead_letters(harness, 400)
    harness.watch()
    # When a replay is killed again and again
    for step in ("begun", "sent", "offsets_sent", "committed"):
        process = replay(harness, tmp_path / step, "--rate", "100", **{f"{step}__2": "kill"})
        process.communicate(timeout=60)
        assert process.returncode == -9
    process = replay(harness, tmp_path / "anywhere", "--rate", "100", begun__1="pause")
    wait_until((tmp_path / "anywhere" / "begun:1").exists, 60, "the first transaction begins")
    (tmp_path / "anywhere" / "begun:1.go").touch()
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(harness.random.uniform(0.1, 0.8))
    process.kill()
    process.communicate()
    # And the last one runs to its end
    process = replay(harness, tmp_path / "last")
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert '"already_sent": 0' not in output
    # Then each record was sent again once, and each has one result
    harness.produced += sent_again(harness)
    harness.worker()
    verdict = harness.finish()
    assert (verdict.checked, verdict.predicted, verdict.dead) == (800, 400, 400)


def test_the_older_of_two_replays_is_fenced(harness: Harness, tmp_path: Path) -> None:
    """One that is paused within a commit while another one runs ends with code 5; nothing is sent twice."""
    # Given a replay that pauses within its second transaction
    dead_letters(harness, 200)
    older = replay(harness, tmp_path / "older", sent__2="pause")
    wait_until((tmp_path / "older" / "sent:2").exists, 60, "the older one has sent")
    # When another one does the work
    newer = replay(harness, tmp_path / "newer")
    _, errors = newer.communicate(timeout=60)
    assert newer.returncode == 0, errors
    # Then the older one ends without a result
    (tmp_path / "older" / "sent:2.go").touch()
    _, errors = older.communicate(timeout=60)
    assert older.returncode == 5
    assert "another replay of this topic has started" in errors
    harness.produced += sent_again(harness)
    harness.worker()
    assert harness.finish().predicted == 200
