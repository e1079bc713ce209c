"""Whatever a producer sends ends once, as a prediction or as a dead letter with its bytes unchanged."""

import json
from collections import Counter
from pathlib import Path

import pytest

from consumer.records.fault import Detail
from consumer.records.messages import DeadLetter, Prediction
from tests.hostile import hostile
from tests.kafka_helpers import Record, Topics, produce, read_all
from tests.worker_process import WorkerProcess, wait_until

pytestmark = pytest.mark.broker

SEED, COUNT = 20261123, 10_000


def coordinates(record: Record) -> tuple[str, int, int]:
    """Where a record came from; the worker's headers are the last ones of their name."""
    headers = dict(record.headers)
    topic, partition, offset = (headers[f"source-{name}"] or b"" for name in ("topic", "partition", "offset"))
    return topic.decode(), int(partition), int(offset)


@pytest.mark.timeout(600)
def test_ten_thousand_hostile_records(topics: Topics, bundle: Path, tmp_path: Path) -> None:
    """Each of 10,000 hostile records has exactly one outcome, its key, headers and bytes kept, without a restart."""
    print(f"seed {SEED}")
    sent = {
        (topics.input, record.partition, record.offset): record
        for record in produce(topics.bootstrap, topics.input, hostile(SEED, COUNT))
    }
    with WorkerProcess(["--bundle", str(bundle), "--drain", *topics.flags], tmp_path / "log") as worker:
        assert worker.wait_exit(540) == 0, worker.log
    predictions = read_all(topics.bootstrap, topics.output)
    dead = read_all(topics.bootstrap, topics.dead_letter)

    checked, details = Counter[str](), Counter[str]()
    for record in predictions:
        source = sent.pop(coordinates(record))
        assert (record.key, record.headers[: len(source.headers)]) == (source.key, source.headers)
        prediction = Prediction.model_validate_json(record.value or b"")
        assert prediction.label in prediction.probabilities
        checked["predictions"] += 1
    for record in dead:
        source = sent.pop(coordinates(record))
        assert (record.key, record.value) == (source.key, source.value)
        kept, added = record.headers[: len(source.headers)], record.headers[len(source.headers) :]
        assert kept == source.headers
        letter = DeadLetter.model_validate({name: (value or b"").decode() for name, value in added})
        checked[letter.reason] += 1
        details[(letter.detail or "none").partition(" ")[0]] += 1
    assert not sent
    assert checked.total() == COUNT
    assert len(checked) == 7, checked  # predictions, and every reason that a value within the broker's limit can cause
    assert set(Detail) <= details.keys(), set(Detail) - details.keys()
    assert checked["predictions"] > COUNT / 20, checked
    assert "Traceback" not in worker.log


def test_no_word_of_a_review_leaves_through_logs_or_metrics(topics: Topics, bundle: Path, tmp_path: Path) -> None:
    """A marker in texts, ids, keys and headers, good and bad, is found in no log line and no metric."""
    marker = "zqxmarkerzqx"
    values = [json.dumps({"text": f"a {marker} film", "id": f"{marker}-{number}"}).encode() for number in range(20)] + [
        f'{{"text":"{marker}'.encode(),
        marker.encode(),
        json.dumps({"text": marker, "id": f"{marker}\r\n"}).encode(),
    ]
    produce(
        topics.bootstrap,
        topics.input,
        [Record(value, marker.encode(), [(marker, marker.encode())]) for value in values],
    )
    with WorkerProcess(["--bundle", str(bundle), "--log-level", "DEBUG", *topics.flags], tmp_path / "log") as worker:
        worker.wait_ready()
        wait_until(lambda: worker.metric("reviews_consumed_total") == len(values), 60, "all consumed")
        metrics = worker.get("/metrics")[1]
        assert worker.stop() == 0
    assert marker not in worker.log
    assert marker not in metrics
    assert 450 < metrics.count("\n") < 650
