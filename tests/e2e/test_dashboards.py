"""Every query of the dashboards, and the alerts, on a real Prometheus that watches real workers."""

import json
import math
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import pytest

from consumer.local.broker import LocalBroker
from deploy.grafana import picture
from deploy.grafana.figures import named
from deploy.grafana.queries import Board, Panel, Prometheus, boards
from tests.dashboard_pictures import Traffic
from tests.fake_bundle import write_bundle
from tests.fake_worker import Script
from tests.harness import FakeWorker
from tests.kafka_helpers import Record, Topics, produce
from tests.observed import RULES, PrometheusProcess, at_ports, free_ports, quickened
from tests.tiny_cascade import seal, write_tiny_cascade
from tests.worker_process import WorkerProcess, wait_until

pytestmark = pytest.mark.broker

BOARDS = boards()
PANELS = [pytest.param(board, panel, id=f"{board.name}: {panel.title}") for board in BOARDS for panel in board.panels]
JOB, STUCK = "review-consumer", "stuck/review-consumer"
#: What this traffic has to raise, and what nothing here may.
EXPECTED = {
    ("ReviewsDeadLetters", "ticket", JOB),
    ("ReviewsLabelledLate", "page", JOB),
    ("ReviewsLabelledLate", "ticket", JOB),
    ("ReviewsRecordAgeHigh", "ticket", JOB),
    ("ReviewsMixedModels", "ticket", JOB),
    ("ReviewsDrift", "ticket", JOB),
    ("ReviewsWaitingTooLong", "page", STUCK),
    ("ReviewsCommitsStale", "ticket", STUCK),
}
NEVER = {"ReviewsModelErrors", "ReviewsDeletedUnread", "ReviewsCommitsLost"}
HOUR_MS = 3_600_000
PROFILE = Path(__file__).parents[2] / "bundles/student-imdb/profile.json"


@dataclass(frozen=True)
class Scene:
    """What the tests of this file look at, after everything has happened."""

    prometheus: PrometheusProcess
    fired: set[tuple[str, str, str]]
    source: Prometheus


def batch(number: int) -> list[Record]:
    """Reviews, of which a cascade passes on some, the cache knows some, some are late or too long; dead letters."""
    texts = ["great great film", "the film", f"the film unheard{number}", f"great great film unheard{number}"]
    texts += ["the film was great " * 20, f"bad unheard{number}"]
    values: list[bytes | None] = [json.dumps({"text": text}).encode() for text in texts]
    values += [b"no JSON", None, b'{"text": " "}'] if number % 2 else []
    late = int(time.time() * 1000) - HOUR_MS
    return [
        Record(value, b"key %d" % place, timestamp_ms=late if place < 3 else None) for place, value in enumerate(values)
    ] * 4


def make_topics(kafka: LocalBroker, name: str) -> Topics:
    """Empty topics, with two partitions each."""
    made = Topics(kafka.bootstrap, f"{name}.input", f"{name}.output", f"{name}.dead-letter", f"{name}.group")
    kafka.create_topics(dict.fromkeys((made.input, made.output, made.dead_letter), 2))
    return made


@pytest.fixture(scope="module")
def scene(kafka: LocalBroker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """Two workers with two models, one of them restarted; a third one, of another installation, is stuck in a poll."""
    directory = tmp_path_factory.mktemp("dashboards")
    topics, other = make_topics(kafka, f"d-{directory.name}"), make_topics(kafka, f"s-{directory.name}")
    first, second, stuck = free_ports(3)
    models = [write_tiny_cascade(directory / version / "cascade", version=version) for version in ("1", "2")]
    for model in models:
        # These texts are not like the film reviews of a shipped model.
        shutil.copy(PROFILE, model)
        seal(model)
    fake = write_bundle(directory / "fake")

    def flags(port: int, bundle: Path, of: Topics) -> list[str]:
        return [*of.flags, "--bundle", str(bundle), "--metrics-port", str(port), "--max-poll-records", "50"]

    with ExitStack() as ending:
        jobs = {JOB: [first, second], STUCK: [stuck]}
        prometheus = ending.enter_context(
            PrometheusProcess(directory / "prometheus", at_ports(jobs), quickened(RULES.read_text()))
        )
        old = [Record(b'{"text": "x %d"}' % n, timestamp_ms=int(time.time() * 1000) - HOUR_MS) for n in range(1200)]
        produce(other.bootstrap, other.input, old)
        ending.enter_context(
            FakeWorker(
                flags(stuck, fake, other),
                directory / "stuck",
                Script(points={"inferred:7": "pause"}, seconds_per_poll=1),
            )
        )
        one = ending.enter_context(WorkerProcess(flags(first, models[0], topics), directory / "one"))
        traffic = Traffic(topics, map(batch, count()), every_s=0.3)
        traffic.start()
        ending.callback(traffic.stop)
        one.wait_ready()
        ending.enter_context(WorkerProcess(flags(second, models[1], topics), directory / "two")).wait_ready()
        wait_until(lambda: one.metric("reviews_rebalance_seconds_count") >= 2, 30, "a rebalance")
        # Prometheus looks for its targets every five seconds: what it never saw, no dashboard can show.
        wait_until(lambda: prometheus.scrapes(first) >= 2, 30, "Prometheus has seen the first worker")
        assert one.stop() == 0
        seen = prometheus.scrapes(first)
        ending.enter_context(WorkerProcess(flags(first, models[0], topics), directory / "again")).wait_ready()
        wait_until(lambda: prometheus.scrapes(first) >= seen + 2, 30, "Prometheus has seen it restarted")
        fired: set[tuple[str, str, str]] = set()

        def all_fired() -> bool:
            fired.update(prometheus.firing())
            return fired >= EXPECTED

        try:
            wait_until(all_fired, 40, "the alerts fire", every_s=0.5)
        except AssertionError:
            raise AssertionError(f"did not fire: {EXPECTED - fired}") from None
        yield Scene(prometheus, fired, prometheus.until_now())


def test_alerts_fire_in_a_real_prometheus(scene: Scene) -> None:
    """Late reviews, mixed models, dead letters, a stuck worker and what waits for it are reported."""
    assert scene.fired >= EXPECTED
    assert not {name for name, _, _ in scene.fired} & NEVER
    assert ("ReviewsCommitsStale", "ticket", JOB) not in scene.fired


#: What right means: the unit that fits an expression, the first rule that matches counts.
UNITS = (
    (r"ALERTS|^count|reviews_ready|reviews_model_info|reviews_build_info", "short"),
    (r"histogram_quantile\(.*_seconds_bucket", "s"),
    (r"histogram_quantile\(.*reviews_text_characters_bucket", "suffix: characters"),
    (r"histogram_quantile\(.*reviews_score_bucket", "percentunit"),
    (r"_seconds_sum.* / .*_seconds_count", "s"),
    (r"(_poll_records_sum.* / .*_poll_records_count|_labelled_total.* / .*_model_batches_total)", "short"),
    (r" / |reviews_member_expected_share", "percentunit"),
    (r"increase\(|changes\(", "short"),
    # Seconds per second are a share of the time, but those of a processor are cores.
    (r"rate\(process_cpu_seconds_total", "suffix: cores"),
    (r"avg.*rate\(\w+_seconds_(total|sum)", "percentunit"),
    (r"rate\(reviews_(consumed|labelled|languages)_total", "suffix: reviews/s"),
    (r"rate\(reviews_dead_lettered_total", "suffix: records/s"),
    (r"rate\(reviews_poll_ends_total", "suffix: polls/s"),
    (r"rate\(reviews_model_tokens_total", "suffix: tokens/s"),
    (r"rate\(reviews_member_texts_total", "suffix: texts/s"),
    (r"rate\(reviews_transactions_total", "suffix: transactions/s"),
    (r"reviews_oldest_waiting_seconds|time\(\) - \w+_timestamp_seconds", "s"),
    (r"_bytes\b", "bytes"),
    (r"reviews_lag|reviews_assigned_partitions|reviews_poll_limit_records", "short"),
)
#: The least and the most that a value of a panel may be here, and what its highest one reaches.
PLAUSIBLE = {
    "Workers ready": (1, 3, 3),
    "Reviews per second": (0, 2000, 5),
    "Oldest record waiting": (3600, 3900, 3600),
    "Labelled in time": (0.2, 0.9, 0.2),
    "Dead letters": (0.05, 0.4, 0.1),
    "Last commit": (3, 300, 3),
    "Records waiting, by partition": (0, 5000, 1),
    "Oldest record waiting, by partition": (0, 3900, 3600),
    "Record age": (0, 14_400, 3600),
    "Alerts that fire": (1, 10, 1),
    "Dead letters, by reason": (0, 500, 1),
    "Events that should be rare": (0, 20, 1),
    "Idle, waiting, computing": (0, 1.5, 0.2),
    "Where the time goes": (0, 1.5, 0.2),
    "Processor": (0, 16, 0.05),
    "Poll and batch size": (0, 4096, 10),
    "Why polls end": (0, 500, 0.5),
    "Duration of a step, p99": (0, 60, 0.001),
    "Tokens through the model": (0, 1e5, 100),
    "Saved and wasted": (0, 1, 0.1),
    "Memory": (50e6, 2e9, 100e6),
    "Transactions": (0, 500, 0.5),
    "Rebalances of the last 15 minutes": (0, 60, 0.01),
    "Partitions, by worker": (0, 2, 2),
    "Model served": (1, 1, 1),
    "Build of the worker": (3, 3, 3),
    "Labelled, by label": (0, 2000, 5),
    "Probability of the label": (0.4, 1, 0.6),
    "Quality of the answers": (0, 1, 0.1),
    "Length of a review": (1, 1000, 100),
    "Records that cannot be labelled": (0, 0.5, 0.05),
    "Languages": (0, 2000, 5),
    "Drift, of its limit": (0, 60, 1),
    "Passed on": (0, 1, 0.2),
    "Texts of each model": (0, 1000, 1),
    "Time of each model": (0, 1, 0.0001),
}


@pytest.mark.parametrize(("board", "panel"), PANELS)
def test_each_query_of_each_panel_has_a_plausible_answer(scene: Scene, board: Board, panel: Panel) -> None:
    """A result for every query, in the unit of the panel, within bounds, with a legend that has no gap."""
    known = scene.source.everything(board)
    values = []
    for query in panel.queries:
        assert next(unit for rule, unit in UNITS if re.search(rule, query.expression)) == panel.unit
        if query.instant:
            answers = [(labels, [(0.0, value)]) for labels, value in scene.source.now(query, known)]
        else:
            answers = scene.source.over_time(query, known)
        assert answers, query.expression
        for labels, points in answers:
            values += [value for _, value in points]
            legend = named(query.legend, labels)
            assert legend == legend.strip()
            assert set(panel.columns) <= labels.keys() | {"Value"}
    assert all(map(math.isfinite, values))
    least, most, reached = PLAUSIBLE[panel.title]
    assert least <= min(values), min(values)
    assert reached <= max(values) <= most, max(values)


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.name)
def test_variables_and_annotations_find_what_happened(scene: Scene, board: Board) -> None:
    """Jobs, workers, four starts, both models and the rebalances are found."""
    known = scene.source.everything(board)
    assert known["job"] == f"({JOB}|{STUCK})".replace("-", r"\\-")
    assert known["instance"].count("127") == 3
    events = {name: scene.source.over_time(query, known) for name, query in board.events.items()}
    assert set(events) == {"Starts", "Model changes", "Rebalances"}
    starts = [value / 1000 for _, points in events["Starts"] for value in {value for _, value in points}]
    assert len(starts) == 4
    assert all(scene.source.start - 60 < start < scene.source.end for start in starts)
    assert {labels["version"] for labels, _ in events["Model changes"] if labels["name"] != "fake"} == {"1", "2"}
    assert {labels["job"] for labels, _ in events["Rebalances"]} >= {JOB}
    assert all(value >= 0.1 for _, points in events["Rebalances"] for _, value in points)


def test_each_panel_has_its_bounds() -> None:
    """The three dashboards have at most 12 panels each, and none is left out here."""
    assert [board.name for board in BOARDS] == ["model", "overview", "performance"]
    assert all(8 <= len(board.panels) <= 12 for board in BOARDS)
    assert sorted(panel.title for board in BOARDS for panel in board.panels) == sorted(PLAUSIBLE)


def test_each_panel_is_described_and_leads_to_the_runbook() -> None:
    """Rows ask a question; panels have a unit and a description, and a link to a section that exists; none overlap."""
    runbook = (Path(__file__).parents[2] / "docs/runbook.md").read_text("utf-8")
    sections = {
        re.sub(r"[^\w-]", "", title.lower().replace(" ", "-")) for title in re.findall(r"(?m)^#+ (.+)$", runbook)
    }
    for board in BOARDS:
        assert all(row.title.endswith("?") for row in board.rows)
        assert len(board.rows) >= 3
        cells = [
            (x, y)
            for panel in (*board.panels, *board.rows)
            for x in range(panel.x, panel.x + panel.width)
            for y in range(panel.y, panel.y + panel.height)
        ]
        assert len(cells) == len(set(cells))
        assert max(x for x, _ in cells) == 23
        for panel in board.panels:
            assert len(panel.about.partition("\n")[0]) > 15
            (link,) = panel.links
            assert link.startswith("${runbook:raw}#")
            assert link.partition("#")[2] in sections, panel.title
            assert panel.kind != "stat" or panel.steps


def test_a_picture_of_each_dashboard_is_drawn_from_any_prometheus(
    scene: Scene, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`python -m deploy.grafana.picture` needs an address alone; one that does not answer is named, without a stack."""
    assert picture.main([scene.prometheus.url, "--out", str(tmp_path / "new"), "--minutes", "1", "--scrape", "1"]) == 0
    drawn = sorted((tmp_path / "new").iterdir())
    assert [path.name for path in drawn] == [f"dashboard-{board.name}.png" for board in BOARDS]
    assert all(path.read_bytes().startswith(b"\x89PNG") and path.stat().st_size > 40_000 for path in drawn)
    assert capsys.readouterr().out.split() == [str(path) for path in drawn]
    (port,) = free_ports(1)
    assert picture.main([f"http://127.0.0.1:{port}", "--out", str(tmp_path)]) == 1
    assert f"http://127.0.0.1:{port} cannot be asked: " in capsys.readouterr().err
