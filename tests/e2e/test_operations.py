"""The page about a day in operations: each of its commands, on the services of the compose file."""

import json
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.native_compose import NativeCompose
from tests.observed import RULES, quickened
from tests.pages import ROOT, Shell, steps
from tests.worker_process import wait_until

pytestmark = pytest.mark.broker

PAGE = "docs/operations.md"
#: How long a reader looks again until what the page says is there.
PATIENCE_S = 60


@dataclass
class Day:
    """A reader who follows the page in a checkout."""

    compose: NativeCompose
    checkout: Path
    #: What the page has from its own day and is otherwise here, such as the place of a dead letter.
    other: dict[str, str] = field(default_factory=dict)

    def run(self, step: str) -> str:
        """What a step of the page prints."""
        path = f"{self.compose.tools}:{os.environ['PATH']}"
        return Shell(self.checkout, self.compose.replaced | self.other, PATH=path).run(step)


Holds = Callable[[Day, str], None]


class Step(NamedTuple):
    """How a step of the page is known, what holds after it, and whether a reader may have to look again."""

    part: str
    holds: Holds
    again: bool


STEPS: list[Step] = []


def _step(part: str, again: bool) -> Callable[[Holds], Holds]:
    def mark(holds: Holds) -> Holds:
        STEPS.append(Step(part, holds, again))
        return holds

    return mark


def does(part: str) -> Callable[[Holds], Holds]:
    """The next step of the page changes something; it has `part` in it."""
    return _step(part, again=False)


def shows(part: str) -> Callable[[Holds], Holds]:
    """The next step of the page shows something, perhaps not at once."""
    return _step(part, again=True)


def rows(printed: str) -> list[dict[str, Any]]:
    """The JSON lines that a command of ours prints in a pipe."""
    found = [json.loads(line) for line in printed.splitlines() if line.startswith("{")]
    assert found, printed
    return found


def samples(printed: str) -> dict[str, float]:
    """What promtool prints: values by series."""
    return {name: float(value) for name, value in re.findall(r"^(.*) => (\S+) @\[", printed, re.MULTILINE)}


@does("docker compose up --build --detach --wait")
def _(day: Day, _printed: str) -> None:
    assert all(each.is_healthy() for each in day.compose.containers("worker"))
    assert [each.status for each in day.compose.containers("producer")] == ["Up"]


@shows("review-consumer check")
def _(_day: Day, printed: str) -> None:
    found = {row["check"]: row for row in rows(printed)}
    warnings = {name for name, row in found.items() if row["status"] == "warning"}
    topics = ("input", "output", "dead-letter")
    assert warnings == {"metrics port", *(f"{each} topic: replication" for each in topics)}
    assert "failed" not in {row["status"] for row in found.values()}
    assert found["bundle"]["found"].startswith("cascade-imdb")


@shows("review-consumer tail --from 5m")
def _(_day: Day, printed: str) -> None:
    assert {row["label"] for row in rows(printed)} <= {"pos", "neg"}
    assert len(rows(printed)) == 3


@shows("sum(rate(reviews_consumed_total[1m]))")
def _(_day: Day, printed: str) -> None:
    (rate,) = samples(printed).values()
    assert 1 < rate < 10


@does("docker compose stop worker")
def _(day: Day, _printed: str) -> None:
    assert [each.status for each in day.compose.containers("worker")] == ["Exited (0)"]


@shows("/api/v1/alerts")
def _(_day: Day, printed: str) -> None:
    assert re.search(
        r'"ReviewsWorkerDown",\s+"runbook": "docs/runbook.md#reviewsworkerdown",\s+"summary": "A worker cannot be '
        r'scraped, or there is none at all"\s+"state": "firing"',
        printed,
    )


@shows("docker compose ps --all worker")
def _(_day: Day, printed: str) -> None:
    assert re.search(r"^reviews-worker-1 .*Exited \(0\)", printed)


@shows("docker compose logs --tail 1 worker")
def _(_day: Day, printed: str) -> None:
    assert '"message": "stopped: ' in printed


def lag(printed: str) -> int:
    """What waits in `reviews`, by Kafka's own tool."""
    found = re.findall(r"^review-consumer +reviews +\d+ +\d+ +\d+ +(\d+)", printed, re.MULTILINE)
    assert len(found) == 4, printed
    return sum(map(int, found))


@shows("kafka-consumer-groups.sh")
def _(_day: Day, printed: str) -> None:
    assert "has no active members" in printed
    assert lag(printed) > 0


@does("docker compose up --detach --wait worker")
def _(day: Day, _printed: str) -> None:
    assert [each.status for each in day.compose.containers("worker")] == ["Up"]


@shows("sum(reviews_lag)")
def _(day: Day, printed: str) -> None:
    assert samples(printed) == {"{}": 0}
    assert "ReviewsWorkerDown" not in day.compose.firing()


@does("kafka-console-producer.sh")
def _(day: Day, printed: str) -> None:
    assert not printed.strip(">\n"), printed


@shows("/api/v1/alerts")
def _(_day: Day, printed: str) -> None:
    found = re.search(
        r'"ReviewsDeadLetters",\s+"runbook": "docs/runbook.md#reviewsdeadletters",\s+"summary": "([\d.]+)% of the '
        r'records are dead letters"\s+"state": "firing"',
        printed,
    )
    assert found, printed
    assert float(found[1]) > 20  # the sample alone has 5%


@shows("review-consumer dlq stats")
def _(_day: Day, printed: str) -> None:
    counts = {row["value"]: row["count"] for row in rows(printed) if row.get("by") == "detail"}
    assert counts["not_json/schema_registry_framing"] == 200
    assert len(counts) > 1


@shows("review-consumer dlq list")
def _(day: Day, printed: str) -> None:
    (row,) = rows(printed)
    assert (row["reason"], row["detail"]) == ("not_json", "schema_registry_framing")
    day.other["dlq show 2:10"] = f"dlq show {row['partition']}:{row['offset']}"


@shows("review-consumer dlq show 2:10")
def _(_day: Day, printed: str) -> None:
    (row,) = rows(printed)
    assert row["value"].startswith('\0\0\0\0\7{"id": "north-')


@does("REVIEWS_VALUE_FRAMING")
def _(day: Day, _printed: str) -> None:
    (worker,) = day.compose.containers("worker")
    assert worker.environment["REVIEWS_VALUE_FRAMING"] == "schema_registry"


@shows("dlq replay --detail schema_registry_framing")
def _(_day: Day, printed: str) -> None:
    assert rows(printed)[0]["would_send"] == 200


@does("dlq replay --detail schema_registry_framing --send")
def _(day: Day, printed: str) -> None:
    assert rows(printed)[0]["sent"] == 200
    again = "docker compose exec worker review-consumer dlq replay --detail schema_registry_framing --send"
    (row,) = rows(day.run(again))
    assert (row["sent"], row["already_sent"]) == (0, 200)


@shows("tail --from 1h --no-follow --field shop=north | wc -l")
def _(_day: Day, printed: str) -> None:
    assert printed.split() == ["200"]


@does("--scale worker=3")
def _(day: Day, _printed: str) -> None:
    assert [each.name for each in day.compose.containers("worker")] == ["worker-1", "worker-2", "worker-3"]


@shows("reviews_assigned_partitions")
def _(_day: Day, printed: str) -> None:
    assert sorted(samples(printed).values()) == [1, 1, 2]


@does("REVIEWS_RELOAD_BUNDLE")
def _(day: Day, _printed: str) -> None:
    (worker,) = day.compose.containers("worker")
    assert worker.environment["REVIEWS_BUNDLE"] == str(day.checkout / "models/current")
    assert worker.environment["REVIEWS_VALUE_FRAMING"] == "schema_registry"


def served(printed: str) -> str:
    """The name of the one model that is served."""
    (name,) = {name for name, value in samples(printed).items() if value == 1}
    return str(re.findall(r'\bname="([^"]+)"', name)[0])


@does("ln -s v2 models/next && mv -T models/next models/current")
def _(day: Day, _printed: str) -> None:
    assert (day.checkout / "models/current").readlink() == Path("v2")


@shows("reviews_model_info")
def _(_day: Day, printed: str) -> None:
    assert served(printed) == "distilbert-imdb"


@shows("takes the place of")
def _(_day: Day, printed: str) -> None:
    assert re.search(r"model distilbert-imdb .*takes the place of student-imdb ", printed)


@does("cp -r models/v1 models/v3")
def _(day: Day, _printed: str) -> None:
    assert (day.checkout / "models/v3/tokenizer.json").stat().st_size == 0


@does("ln -s v3 models/next && mv -T models/next models/current")
def _(day: Day, _printed: str) -> None:
    assert (day.checkout / "models/current").readlink() == Path("v3")


@shows('ALERTS{alertname="ReviewsModelRefused"}')
def _(day: Day, printed: str) -> None:
    assert [name for name in samples(printed) if 'alertstate="firing"' in name]
    assert [each.status for each in day.compose.containers("worker")] == ["Up"]


@shows("the bundle at .* is refused")
def _(_day: Day, printed: str) -> None:
    assert re.search(r"is refused, and distilbert-imdb .* stays: .*tokenizer\.json", printed)


@does("ln -s v2 models/next && mv -T models/next models/current")
def _(day: Day, _printed: str) -> None:
    assert (day.checkout / "models/current").readlink() == Path("v2")


@shows("max(reviews_bundle_refused)")
def _(_day: Day, printed: str) -> None:
    assert samples(printed) == {"{}": 0}


DRIFT = "max by (feature) (reviews_drift / reviews_drift_limit)"


@shows(DRIFT)
def _(_day: Day, printed: str) -> None:
    assert len(samples(printed)) == 5
    assert samples(printed)['{feature="language"}'] < 10


@does("Der Film war")
def _(_day: Day, printed: str) -> None:
    assert not printed.strip(">\n"), printed


@shows(DRIFT)
def _(_day: Day, printed: str) -> None:
    assert samples(printed)['{feature="language"}'] > 20


@shows("sum by (language) (reviews_languages_total)")
def _(_day: Day, printed: str) -> None:
    found = samples(printed)
    assert found.keys() == {'{language="de"}', '{language="en"}'}
    assert found['{language="de"}'] >= 300


@does("docker compose down --volumes")
def _(day: Day, _printed: str) -> None:
    assert day.compose.is_down
    assert not {"models", "docker-compose.override.yml"} & {path.name for path in day.checkout.iterdir()}


@pytest.fixture
def day(tmp_path: Path) -> Iterator[Day]:
    """A checkout and the services of its compose file, not started yet; alerts wait for seconds."""
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    for name in ("bundles", "deploy", "docker-compose.yml"):
        (checkout / name).symlink_to(ROOT / name)
    # Long enough for a reader who looks on a slow machine.
    rules = quickened(RULES.read_text()).replace("[8s", "[30s")
    with NativeCompose(checkout, tmp_path / "state", rules) as compose:
        yield Day(compose, checkout)


def test_each_step_of_the_page_has_an_assertion() -> None:
    """A command that is added to the page, taken out or moved needs the same here."""
    named = [step.part for step in STEPS]
    found = steps(PAGE)
    assert [part for part, step in zip(named, found, strict=False) if part not in step] == []
    assert len(named) == len(found) >= 30


def follow(day: Day, script: str, step: Step) -> None:
    """Run a step of the page, and see that what the page says of it holds."""
    why: Exception | None = None

    def holds() -> bool:
        nonlocal why
        try:
            step.holds(day, day.run(script))
        except (AssertionError, ValueError) as error:
            if not step.again:
                raise
            why = error
            return False
        return True

    try:
        wait_until(holds, PATIENCE_S, script, every_s=0.3)
    except AssertionError as error:
        raise AssertionError(f"{script}\n{why or error}") from why


@pytest.mark.timeout(600)
def test_a_day_in_operations(day: Day) -> None:
    """Who follows the page sees what it says: alerts fire, the runbook leads to the cause, and the fixes fix it."""
    for script, step in zip(steps(PAGE), STEPS, strict=True):
        follow(day, script, step)
    assert len(day.compose.commands) >= len(STEPS)


@pytest.mark.parametrize(
    "words", ["compose pull", "compose up --detach --wait nginx", "compose restart worker", "compose up", "run worker"]
)
def test_a_command_without_a_translation_fails(day: Day, words: str) -> None:
    """A page cannot tell its readers to run what was never tried."""
    with pytest.raises(AssertionError, match="ended with 125"):
        day.run(f"docker {words}")
