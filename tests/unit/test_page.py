"""The page at `/` says what a person wants to know, and nothing of a review or a secret; no value becomes markup."""

import logging
import re
import time
import urllib.request
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
from pydantic import SecretStr

from consumer.model.bundle.profile import Answered
from consumer.records.fault import Reason
from consumer.records.messages import Model
from consumer.records.poll import Obstacle
from consumer.records.progress import Progress
from consumer.service.health import STALLED, Health
from consumer.service.metrics import Metrics
from consumer.service.page import manual
from consumer.service.page.figures import duration
from consumer.service.page.page import Page
from consumer.service.page.readings import WINDOW_SECONDS, Changes
from consumer.service.page.recent import LINES, RecentLines
from consumer.service.server import CACHE_SECONDS, HealthServer
from consumer.settings import WorkerSettings
from tests.drifting import outcome
from tests.unit.test_profile import profile

#: What must never become markup, wherever it comes from.
HOSTILE = "<script>alert(1)</script>\"'><img src=x>&\u202e\x1b[2J"
PASSWORD = "correct-horse-battery"
MODEL = Model(name="student", version="7", digest="a" * 64, variant="int8")


class Shown(HTMLParser):
    """The text of a page, its tags, and the rows of its tables."""

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.rows: list[list[str]] = []
        self._pieces: list[str] = []
        self._in_table = False
        self.feed(page.decode())
        self.text = " ".join(" ".join(self._pieces).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note the tag."""
        self.tags.append(tag)
        self._in_table |= tag == "table"
        if tag == "tr":
            self.rows.append([])
        elif tag in {"td", "th"}:
            self.rows[-1].append("")
        elif tag == "a":
            self.links.append(dict(attrs)["href"] or "")

    def handle_data(self, data: str) -> None:
        """Note the text, unless it is the style."""
        if self.get_starttag_text() == "<style>":
            return
        self._pieces.append(data)
        if self._in_table and self.rows[-1]:
            self.rows[-1][-1] += data

    def handle_endtag(self, tag: str) -> None:
        """Note the end of a table."""
        self._in_table &= tag != "table"

    def row(self, head: str) -> list[str]:
        """The cells after `head`."""
        (found,) = [row[1:] for row in self.rows if row and row[0] == head]
        return found


@pytest.fixture
def health() -> Health:
    """A worker that has not started."""
    return Health(60)


@pytest.fixture
def metrics() -> Metrics:
    """What it counts."""
    return Metrics()


@pytest.fixture
def recent() -> Iterator[RecentLines]:
    """The last lines of its log."""
    with RecentLines() as recent:
        yield recent


@pytest.fixture
def page(health: Health, metrics: Metrics, recent: RecentLines) -> Page:
    """Its page."""
    return Page(WorkerSettings(), health, metrics.registry, recent)


def test_the_state_and_what_it_waits_for_come_first(page: Page, health: Health) -> None:
    """The page says in each state what /ready says."""
    assert "Not ready: starting" in Shown(page.render()).text
    health.starting("topic reviews does not exist")
    assert "Not ready: topic reviews does not exist" in Shown(page.render()).text
    health.answered(Obstacle.OUTSIDE)
    assert f"Not ready: {Obstacle.OUTSIDE.value}" in Shown(page.render()).text
    health.unanswered("kafka:9092")
    assert "Not ready: no answer from kafka:9092" in Shown(page.render()).text
    health.answered(None)
    assert "Ready: reviews are being consumed" in Shown(page.render()).text
    health._last_turn -= 61
    assert f"Stalled: {STALLED}" in Shown(page.render()).text


def test_a_worker_that_has_done_nothing_has_a_page(page: Page) -> None:
    """Nothing is missing before the model is loaded, and what is not known is not shown as a number."""
    shown = Shown(page.render())
    for sentence in ("Not loaded yet.", "None assigned.", "None since the start."):
        assert sentence in shown.text
    assert shown.row("records") == ["-", "0.0", "0"]


def test_it_shows_model_partitions_counts_and_reasons(page: Page, metrics: Metrics) -> None:
    """Everything comes from the registry."""
    metrics.note_model(MODEL, ["neg", "pos"])
    metrics.consumed.inc(12_345)
    metrics.labelled.labels("pos").inc(3)
    metrics.labelled.labels("neg").inc(1)
    metrics.dead_lettered.labels(Reason.NOT_JSON.value).inc(2)
    metrics.not_published.inc(5)
    metrics.note_lag({3: Progress(position=10, end=1510), 11: Progress(position=None, end=7)})
    shown = Shown(page.render())
    assert shown.row("digest") == [MODEL.digest]
    assert shown.row("name") == ["student"]
    assert shown.row("records")[-1] == "12,345"
    assert shown.row("3")[0] == "1,500"
    assert shown.row("not_json") == ["2"]
    assert "empty_text" not in {row[0] for row in shown.rows if row}
    assert shown.row("polls whose results could not be published, and were retried") == ["5"]
    assert "Labels: neg 25.0%, pos 75.0%." in shown.text


def test_partitions_are_in_the_order_of_their_numbers(page: Page, metrics: Metrics) -> None:
    """10 comes after 9."""
    metrics.note_lag({number: Progress(position=0, end=0) for number in (10, 9, 0, 2)})
    shown = [row[0] for row in Shown(page.render()).rows if row and row[0].isdigit()]
    assert shown == ["0", "2", "9", "10"]


def test_rates_are_those_of_the_last_minute() -> None:
    """What happened before the window counts no more; a single look gives no rate."""
    now = 100.0
    changes = Changes(lambda: now)
    changes.look({"records": 1000.0})
    assert changes.rate("records") is None
    now += 10
    changes.look({"records": 1200.0})
    assert changes.rate("records") == pytest.approx(20)
    now += WINDOW_SECONDS - 5
    changes.look({"records": 1310.0})
    assert changes.rate("records") == pytest.approx(110 / (WINDOW_SECONDS - 5))
    now += 10 * WINDOW_SECONDS  # nobody has looked for a while
    changes.look({"records": 9999.0})
    assert changes.rate("records") is None


def test_no_value_becomes_markup(health: Health, metrics: Metrics, recent: RecentLines) -> None:
    """Labels, log lines, reasons of the state and settings are shown as they are, invisible characters as escapes."""
    settings = WorkerSettings(group_id=re.sub(r"\s", "", HOSTILE), text_field="<b>")
    metrics.note_model(MODEL.model_copy(update={"name": HOSTILE, "version": HOSTILE}), [HOSTILE])
    metrics.labelled.labels(HOSTILE).inc()
    health.starting(HOSTILE)
    logging.getLogger("consumer.worker").error("%s", HOSTILE)
    rendered = Page(settings, health, metrics.registry, recent).render()
    shown = Shown(rendered)
    assert not {"script", "img", "b", "iframe", "link"} & set(shown.tags) - {"link"}
    assert shown.tags.count("link") == 1
    assert shown.text.count("<script>alert(1)</script>") >= 5
    assert b"\x1b" not in rendered
    assert "\u202e" not in rendered.decode()


def test_no_secret_is_on_the_page(health: Health, metrics: Metrics, recent: RecentLines) -> None:
    """Of passwords, the user name and the token command it says that they are set; other settings have their value."""
    settings = WorkerSettings(
        security_protocol="SASL_SSL",
        sasl_username="a-user-of-ours",
        sasl_password=SecretStr(PASSWORD),
        bundle_digest="b" * 64,
        drain=True,
    )
    shown = Shown(Page(settings, health, metrics.registry, recent).render())
    assert PASSWORD not in shown.text
    assert "a-user-of-ours" not in shown.text
    assert shown.row("sasl_password") == shown.row("sasl_username") == ["set"]
    assert shown.row("ssl_key_password") == ["none"]
    assert shown.row("drain") == ["true"]
    assert shown.row("bundle_digest") == ["b" * 64]
    assert {row[0] for row in shown.rows if row} >= WorkerSettings.model_fields.keys()
    token = WorkerSettings(
        security_protocol="SASL_SSL", sasl_mechanism="OAUTHBEARER", sasl_token_command=f"echo {PASSWORD}"
    )
    assert PASSWORD not in Shown(Page(token, health, metrics.registry, recent).render()).text


def test_the_last_lines_are_ours_and_few(page: Page, recent: RecentLines) -> None:
    """Warnings and errors, newest first; those of libraries, which may hold anything, stay in the log."""
    logging.getLogger("kafka").error("a line of the client")
    logging.getLogger("consumer.worker").info("nothing to worry about")
    for number in range(LINES + 3):
        logging.getLogger("consumer.worker").warning("line %s, partition 3, offset %s", number, "x" * 1000)
    shown = Shown(page.render())
    assert "a line of the client" not in shown.text
    assert "nothing to worry about" not in shown.text
    lines = [row[2] for row in shown.rows if len(row) == 3 and row[1] == "WARNING"]
    assert [line.split(",")[0] for line in lines] == [f"line {number}" for number in range(LINES + 2, 2, -1)]
    assert max(map(len, lines)) <= 500


def test_lines_are_no_longer_kept_after_the_end() -> None:
    """A second worker in the same process does not hold on to the first."""
    before = list(logging.getLogger("consumer").handlers)
    with RecentLines():
        assert len(logging.getLogger("consumer").handlers) == len(before) + 1
    assert logging.getLogger("consumer").handlers == before


def test_its_links_lead_somewhere(page: Page, health: Health, metrics: Metrics) -> None:
    """The other paths of the port, and the pages of the documentation, which the port serves as text."""
    server = HealthServer("127.0.0.1", 0, health, metrics.registry, page.render)
    try:
        links = Shown(page.render()).links
        assert {"/metrics", "/live", "/ready", "/docs", "/docs/runbook"} <= set(links)
        health.answered(None)
        for link in links:
            with urllib.request.urlopen(server.url + link) as answer:  # noqa: S310 - our own address
                assert answer.status == 200
                assert answer.headers["X-Content-Type-Options"] == "nosniff"
                body = answer.read().decode()
                if link == "/docs/runbook":
                    assert body == manual.pages()["runbook"].read_text("utf-8")
                    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    finally:
        server.close()


def test_the_documentation_is_a_closed_set() -> None:
    """The pages of docs/ and no other file."""
    assert {"runbook", "settings", "metrics"} <= manual.pages().keys()
    docs = Path(__file__).parents[2] / "docs"
    assert set(manual.pages().values()) == set(docs.glob("*.md"))


def test_the_headers_forbid_everything_else(page: Page, health: Health, metrics: Metrics) -> None:
    """No script, nothing loaded, sent, framed or kept, and the style only as it was written."""
    server = HealthServer("127.0.0.1", 0, health, metrics.registry, page.render)
    try:
        with urllib.request.urlopen(server.url) as answer:  # noqa: S310 - our own address
            headers, body = dict(answer.headers), answer.read()
    finally:
        server.close()
    policy = dict(part.strip().split(" ", 1) for part in headers["Content-Security-Policy"].split(";"))
    assert policy.pop("style-src").startswith("'sha256-")
    nothing = dict.fromkeys(("default-src", "base-uri", "form-action", "frame-ancestors"), "'none'")
    assert policy == nothing | {"img-src": "data:"}
    assert headers["Cache-Control"] == "no-store"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Content-Type"] == "text/html; charset=utf-8"
    assert b'<meta http-equiv="refresh"' in body
    assert "style=" not in body.decode()


def test_an_open_page_costs_less_than_a_hundredth_of_a_core(page: Page, metrics: Metrics) -> None:
    """With a hundred partitions, one rendering a second, which is the most there are, takes less than 10 ms."""
    metrics.note_model(MODEL, ["neg", "pos"])
    metrics.note_lag({number: Progress(position=0, end=number) for number in range(100)})
    costs = []
    for _ in range(20):
        started = time.thread_time()
        page.render()
        costs.append(time.thread_time() - started)
    assert sorted(costs)[len(costs) // 2] < 0.01


def test_a_crowd_of_viewers_renders_it_rarely(health: Health, metrics: Metrics) -> None:
    """A hundred looks within a moment are answered from a rendering that is shared."""
    times = 0

    def render() -> bytes:
        nonlocal times
        times += 1
        return b"page"

    server = HealthServer("127.0.0.1", 0, health, metrics.registry, render)
    try:
        started = time.monotonic()
        for _ in range(100):
            with urllib.request.urlopen(server.url) as answer:  # noqa: S310 - our own address
                assert answer.read() == b"page"
        assert 1 <= times <= 1 + (time.monotonic() - started) / CACHE_SECONDS
    finally:
        server.close()


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0.42, "0.4 s"), (59.9, "59.9 s"), (60, "1 min"), (3599.7, "1 h"), (200, "3 min 20 s"), (187_200, "2 d 4 h")],
)
def test_durations_are_readable(seconds: float, shown: str) -> None:
    """Two units at most."""
    assert duration(seconds) == shown


def test_drift_has_a_row_for_each_feature(page: Page, metrics: Metrics) -> None:
    """The worst one first, with its limit; no table before there is something to compare."""
    assert "against the profile" not in Shown(page.render()).text
    metrics.note_model(MODEL, ("neg", "pos"))
    metrics.note_profile(profile(), 200)
    metrics.note_commit([outcome(Answered("neg", 0.7, 50, "de", 0.0))] * 100)
    shown = Shown(page.render())
    assert shown.row("last 100 reviews against the profile") == ["bits", "limit", ""]
    assert shown.row("language") == ["1.000", "0.050", "drifts"]
    assert shown.row("unknown") == ["0.052", "0.050", "drifts"]
    heads = [row[0] for row in shown.rows if row]
    assert heads.index("language") < heads.index("score") < heads.index("unknown")
