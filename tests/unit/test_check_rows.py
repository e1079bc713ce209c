"""What the rows of `review-consumer check` say about brokers and groups that these tests cannot make for real."""

from types import SimpleNamespace
from typing import Any

import pytest

from consumer.kafka.tools.check.brokers import BrokerFound
from consumer.kafka.tools.check.group import GroupFound, Member
from consumer.kafka.tools.check.topics import Offsets, PartitionFound, TopicFound
from consumer.settings import WorkerSettings
from consumer.tools.check import brokers, group
from consumer.tools.check.row import Row, Status

WORKER = Member("review-consumer", "10.0.0.1", None)


def seen(*found: BrokerFound, **settings: object) -> Any:
    """What the checks would ask: these brokers, and an input topic of two partitions on brokers 1 and 2."""
    partitions = tuple(PartitionFound(number, 1, (1, 2), (1, 2)) for number in range(2))
    return SimpleNamespace(
        brokers=list(found),
        topics={"input": TopicFound("reviews", partitions)},
        settings=WorkerSettings.model_validate(settings),
        offsets=lambda _: {number: Offsets(0, 10, 10) for number in range(2)},
    )


def rows(context: Any) -> dict[str, Row]:
    """The rows about its brokers."""
    return {row.check: row for row in brokers.reachable(context)}


def broker(node: int, *version: int) -> BrokerFound:
    """One that answers."""
    return BrokerFound(node, f"kafka-{node}:9092", version)


def test_brokers_that_are_too_old_are_red_for_exactly_once_alone() -> None:
    """KIP-447 came with Kafka 2.5; at least once needs nothing of it."""
    old = (broker(1, 2, 4), broker(2, 2, 4))
    assert rows(seen(*old))["versions"].status is Status.FAILED
    assert rows(seen(*old, delivery="at_least_once"))["versions"].status is Status.OK
    assert rows(seen(broker(1, 2, 5), broker(2, 2, 5)))["versions"].status is Status.OK


def test_an_upgrade_that_is_not_finished_is_not_green() -> None:
    """The oldest broker decides."""
    found = rows(seen(broker(1, 4, 2), broker(2, 4, 3)))
    assert {name: row.status for name, row in found.items()} == {"brokers": "ok", "versions": "warning"}
    assert rows(seen(broker(1, 4, 2), broker(2, 2, 4)))["versions"].status is Status.FAILED


def test_a_broker_that_holds_a_replica_and_has_left_the_cluster_is_red() -> None:
    """Seconds after its end it is no longer advertised; topics still name it."""
    row = rows(seen(broker(1, 4, 3)))["brokers"]
    assert row.status is Status.FAILED
    assert "on 2, which is not there" in row.found


@pytest.mark.parametrize(("servers", "status"), [("localhost:9092", "ok"), ("kafka.example:9092", "warning")])
def test_a_connection_that_others_can_read_is_not_green(servers: str, status: str) -> None:
    """Without encryption only on this machine."""
    assert brokers.credentials(WorkerSettings(bootstrap_servers=servers)).status == status


def test_one_bootstrap_address_of_several_that_does_not_work_is_not_green() -> None:
    """A worker starts with one; it needs the others when that one is down."""
    wrong = "b:2 refuses connections; check the port"
    assert brokers.bootstrap({"a:1": "", "b:2": ""}).status is Status.OK
    row = brokers.bootstrap({"a:1": "", "b:2": wrong})
    assert (row.status, row.remedy) == (Status.WARNING, "check the port")
    assert brokers.bootstrap({"b:2": wrong}).status is Status.FAILED


@pytest.mark.parametrize(
    ("found", "status", "words"),
    [
        (GroupFound("Dead", "", ()), "ok", "no members"),
        (GroupFound("Empty", "consumer", ()), "ok", "no members"),
        (GroupFound("Stable", "consumer", (WORKER, WORKER)), "ok", "2 members and is stable"),
        (GroupFound("Stable", "connect", (WORKER,)), "failed", "used by connect"),
        (GroupFound("PreparingRebalance", "consumer", (WORKER,)), "warning", "rebalancing"),
        (GroupFound("Stable", "consumer", (WORKER,) * 3), "warning", "more than there are partitions"),
    ],
)
def test_the_state_of_the_group(found: GroupFound, status: str, words: str) -> None:
    """Another kind of program is red; what passes, or only wastes a worker, is yellow."""
    row = group._members(seen(), found)
    assert row.status == status
    assert words in row.found


def test_late_reviews_are_not_green_if_workers_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before go-live a backlog is normal; with workers, five minutes are the limit of the alert."""
    context = seen()
    monkeypatch.setattr(context, "configs", lambda _: {"retention.ms": "604800000"}, raising=False)
    assert group._age(context, 301, works=False).status is Status.OK
    assert group._age(context, 299, works=True).status is Status.OK
    assert group._age(context, 301, works=True).status is Status.WARNING
