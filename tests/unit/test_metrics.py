"""Metrics that exist before anything has happened, and a reference that lists them in order."""

import re
import runpy
from pathlib import Path

import pytest

from consumer.records.fault import Reason
from consumer.records.messages import Model
from consumer.service.metrics import Metrics
from consumer.service.stopwatch import Activity, Stage
from consumer.service.table import LOOKUP_RESULTS, TOKEN_KINDS, TRANSACTION_RESULTS, MetricTable, PollEnd, SwapEnd

ROOT = Path(__file__).parents[2]


def series(metrics: Metrics, name: str) -> dict[str, float]:
    """The value of each series of this metric, by its one label."""
    return {
        "".join(sample.labels.values()): sample.value
        for family in metrics.registry.collect()
        for sample in family.samples
        if sample.name == name
    }


def test_every_series_of_a_closed_set_exists_from_the_start() -> None:
    """An alert sees an increase from 0, and a dashboard no gap."""
    metrics = Metrics()
    assert series(metrics, "reviews_dead_lettered_total") == dict.fromkeys(map(str, Reason), 0)
    assert series(metrics, "reviews_stage_seconds_count") == dict.fromkeys(map(str, Stage), 0)
    assert series(metrics, "reviews_time_seconds_total") == dict.fromkeys(map(str, Activity), 0)
    assert series(metrics, "reviews_poll_ends_total") == dict.fromkeys(map(str, PollEnd), 0)
    assert series(metrics, "reviews_model_tokens_total") == dict.fromkeys(TOKEN_KINDS, 0)
    assert series(metrics, "reviews_transactions_total") == dict.fromkeys(TRANSACTION_RESULTS, 0)
    assert series(metrics, "reviews_cache_lookups_total") == dict.fromkeys(LOOKUP_RESULTS, 0)
    assert series(metrics, "reviews_model_swaps_total") == dict.fromkeys(map(str, SwapEnd), 0)
    assert len(series(metrics, "reviews_build_info")) == 1
    assert series(metrics, "reviews_labelled_total") == {}
    model = Model(name="m", version="1", digest="0" * 64, variant="int8")
    metrics.note_model(model, ("negative", "positive"))
    assert series(metrics, "reviews_labelled_total") == {"negative": 0, "positive": 0}
    assert list(series(metrics, "reviews_model_info").values()) == [1]


def test_the_stages_are_those_that_the_code_measures() -> None:
    """No stage is measured that does not exist from the start, and none exists that is not measured."""
    code = "".join(path.read_text("utf-8") for path in (ROOT / "consumer").rglob("*.py") if path.stem != "stopwatch")
    assert set(re.findall(r"\bStage\.([A-Z]+)\b", code)) == set(Stage.__members__)
    assert set(re.findall(r'tokens\.labels\("(\w+)"\)', code)) == set(TOKEN_KINDS)


def test_the_reference_is_sorted_and_complete(monkeypatch: pytest.MonkeyPatch) -> None:
    """docs/metrics.md has each metric once, in the order of the alphabet, and is what the code says."""
    rows = re.findall(r"^\| `(reviews_\w+)`", (ROOT / "docs/metrics.md").read_text("utf-8"), re.MULTILINE)
    assert rows == sorted(set(rows))
    assert len(rows) == len(vars(MetricTable())) - 1
    generated = runpy.run_path(str(ROOT / "docs/generate.py"))
    monkeypatch.setattr("sys.argv", ["generate.py", "--check"])
    assert generated["main"]() == 0
