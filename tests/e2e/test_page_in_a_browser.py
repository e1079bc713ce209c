"""The page of a real worker in a real browser: complete, without a complaint, on a desk, on a phone, in the dark."""

from pathlib import Path

import pytest

from tests.browser import browser
from tests.kafka_helpers import Topics, produce
from tests.tiny_bundle import write_tiny_bundle
from tests.worker_process import WorkerProcess, wait_until

pytestmark = pytest.mark.broker

#: A word of each record that the page must not show.
CONTENT = "xylophonist"
REVIEWS = [b'{"text": "the film was good, %s"}' % CONTENT.encode(), f"no JSON at all, {CONTENT}".encode()]
#: Width and height in pixels.
PHONE, DESK = (390, 844), (1200, 900)
SECTIONS = ["Work", "Partitions", "Dead letters", "Last warnings and errors", "Trouble", "Model", "Read on", "Settings"]


def test_the_page_of_a_worker_in_a_browser(topics: Topics, tmp_path: Path) -> None:
    """Everything is on it, nothing of a review is, it fits every screen, and loads nothing but itself again and again.

    A page that its own policy kept from being drawn would show in the console, and in the colours.
    """
    bundle = write_tiny_bundle(tmp_path / "bundle")
    # Given a worker that has labelled a review and rejected a record
    with WorkerProcess([*topics.flags, "--bundle", str(bundle)], tmp_path / "log") as worker:
        worker.wait_ready()
        produce(topics.bootstrap, topics.input, REVIEWS)
        wait_until(lambda: worker.metric("reviews_consumed_total") == len(REVIEWS), 60, "both are committed")
        wait_until(lambda: "dead letter" in worker.log, 30, "the dead letter is logged")
        with browser() as tab:
            # When a person looks at its page on a desk
            tab.open(f"{worker.url}/", DESK)
            # Then every section is there, with what the worker has done, and no word of a record
            assert tab.evaluate("[...document.querySelectorAll('h2')].map(each => each.innerText)") == SECTIONS
            text = tab.evaluate("document.body.innerText")
            assert "Ready: reviews are being consumed" in text
            assert "not_json\t1" in text
            assert "1 dead letter: 1 not_json" in text
            assert bundle.name in text
            assert CONTENT not in text
            light = tab.evaluate("getComputedStyle(document.body).backgroundColor")
            desk = tab.screenshot(tmp_path / "desk.png")
            # And it refreshes itself
            tab.wait_for("Page.loadEventFired")
            # When it is dark, the page is
            tab.open(f"{worker.url}/", DESK, scheme="dark")
            dark = tab.evaluate("getComputedStyle(document.body).backgroundColor")
            assert (light, dark) == ("rgb(255, 255, 255)", "rgb(13, 17, 23)")
            # And on a phone, it needs no scrolling to the side, and nothing is too small to read
            tab.open(f"{worker.url}/", PHONE, is_phone=True)
            assert tab.evaluate("document.documentElement.scrollWidth") <= PHONE[0]
            assert tab.evaluate("parseFloat(getComputedStyle(document.body).fontSize)") >= 16
            assert len(tab.screenshot(tmp_path / "phone.png")) > 10_000
            assert len(desk) > 10_000
            # And without its style, it is still a page with a heading and tables
            tab.evaluate("document.querySelector('style').remove()")
            assert tab.evaluate("document.querySelectorAll('h1, th[scope]').length") > 50
            # And the browser refused nothing, and asked for nothing else
            assert tab.complaints == []
            assert set(tab.requested) == {f"{worker.url}/"}
            assert len(tab.requested) >= 4
            # But what is smuggled in, it refuses: this test would see it
            tab.evaluate(
                "document.body.insertAdjacentHTML('beforeend', "
                '\'<p id=planted style="color: red" onclick="document.title = 1">x</p><img src=/live>\')'
            )
            tab.evaluate("document.querySelector('#planted').click()")
            assert tab.evaluate("document.title") != "1"
            for kind in ("style-src", "img-src", "script-src"):
                assert any(kind in each for each in tab.complaints), (kind, tab.complaints)
        assert worker.stop() == 0
