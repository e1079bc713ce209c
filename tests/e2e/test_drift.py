"""Behind a real Kafka: a worker with a shipped bundle notices that its reviews are not what the model was made for."""

import json
from pathlib import Path

import pytest

from tests.kafka_helpers import Topics, produce
from tests.other_texts import german_reviews
from tests.worker_process import WorkerProcess, wait_until

pytestmark = pytest.mark.broker

BUNDLE = Path(__file__).parents[2] / "bundles/student-imdb"


def test_german_reviews_are_loud_in_the_metrics(topics: Topics, tmp_path: Path) -> None:
    """The last of them too, although nothing follows; what the limit is comes from the profile in the bundle."""
    reviews = german_reviews(120, 7)
    flags = ["--bundle", str(BUNDLE), "--max-poll-records", "50", *topics.flags]
    with WorkerProcess(flags, tmp_path / "log") as worker:
        worker.wait_ready()
        assert worker.metric("reviews_drift_window_reviews") == 0
        assert "reviews_drift{" not in worker.get("/metrics")[1]
        produce(topics.bootstrap, topics.input, [json.dumps({"text": text}).encode() for text in reviews])
        wait_until(lambda: worker.metric("reviews_drift_window_reviews") == 120, 60, "all are labelled")
        wait_until(lambda: "reviews_drift{" in worker.get("/metrics")[1], 30, "they are compared")
        assert worker.metric("reviews_drift", feature="language") > 0.9
        assert worker.metric("reviews_drift_limit", feature="language") == 0.02
        assert worker.metric("reviews_languages_total", language="de") == 120
        assert not any(text in worker.log for text in reviews)
    assert "drift: the last 1000 reviews are compared with a profile of 10000 reviews of test.xlsx" in worker.log
