"""A cascade behind a real Kafka: each review is labelled once, by the model that has to answer it."""

import json
from collections import Counter
from pathlib import Path

import pytest

from consumer.records.messages import Prediction
from tests.kafka_helpers import Topics, produce, read_all
from tests.tiny_cascade import SCALES, answering, write_tiny_cascade
from tests.worker_process import WorkerProcess, wait_until

pytestmark = pytest.mark.broker

SURE, DOUBTFUL = "great great film", "the film"


def test_a_worker_that_is_killed_labels_each_review_once_by_the_right_member(topics: Topics, tmp_path: Path) -> None:
    """Half of the reviews are passed on, then all of them; the worker is killed in between and starts again."""
    # Given a cascade, and reviews of which every other one is passed on
    cascade = write_tiny_cascade(tmp_path / "cascade")
    times = ["--session-timeout-seconds", "6", "--transaction-timeout-seconds", "5"]
    flags = ["--bundle", str(cascade), *topics.flags, *times, "--max-poll-records", "64"]
    texts = {f"{n}": f"{SURE if n % 2 else DOUBTFUL} unheard{n}" for n in range(600)}
    texts |= {f"{n}": f"{DOUBTFUL} unheard{n}" for n in range(600, 1200)}
    values = [json.dumps({"id": id_, "text": text}).encode() for id_, text in texts.items()]
    produce(topics.bootstrap, topics.input, values[:600])
    # When a worker is killed while it labels them
    with WorkerProcess(flags, tmp_path / "first") as first:
        first.wait_ready()
        wait_until(lambda: first.metric("reviews_consumed_total") > 0, 60, "some are labelled")
        produce(topics.bootstrap, topics.input, values[600:])
        assert first.metric("reviews_member_texts_total", member="quick") > 0
        assert first.metric("reviews_member_expected_share", member="quick", end="high") == 0.4
        first.process.kill()
        first.process.wait(10)
    # And another one goes on
    with WorkerProcess([*flags, "--drain"], tmp_path / "second") as second:
        assert second.wait_exit(90) == 0, second.log
    # Then each has one label, and says which member answered
    predictions = [
        Prediction.model_validate_json(each.value or b"") for each in read_all(topics.bootstrap, topics.output)
    ]
    assert Counter(each.id for each in predictions) == Counter(texts.keys())
    members = Counter(each.model.member for each in predictions)
    assert members == {"quick": 300, "thorough": 900}
    for each in predictions:
        assert each.model.member == answering(texts[each.id])
        assert each.model.name == "tiny-cascade"
        assert set(each.probabilities) == {"neg", "pos"}
    assert not read_all(topics.bootstrap, topics.dead_letter)
    assert members.keys() == SCALES.keys()


def test_a_cascade_whose_member_changed_is_refused_at_the_start(topics: Topics, tmp_path: Path) -> None:
    """Exit code 3 before a record is read; the line names the file, and the pinned digest does not help."""
    cascade = write_tiny_cascade(tmp_path / "cascade")
    weights = tmp_path / "thorough/openvino/fp32.bin"
    weights.write_bytes(weights.read_bytes()[:-1] + b"!")
    with WorkerProcess(["--bundle", str(cascade), *topics.flags], tmp_path / "log") as worker:
        assert worker.wait_exit(60) == 3
        assert "thorough/openvino/fp32.bin was changed" in worker.last_line
