"""The oracle fails when it should: a judge that accepts everything would make every fault test pass."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from consumer.local.cluster import LocalCluster
from tests import oracle
from tests.record import Record


class Coordinator(LocalCluster):
    """A cluster that lists one transaction, in each of these states in turn, and then in the last one."""

    def __init__(self, *states: str) -> None:
        self.states = list(states)

    @contextmanager
    def admin(self) -> Iterator[Any]:
        """Answers `list_transactions`."""
        state = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        listed = SimpleNamespace(transactional_id="mine/a", state=SimpleNamespace(value=state))
        other = SimpleNamespace(transactional_id="other/a", state=SimpleNamespace(value="Ongoing"))
        yield SimpleNamespace(list_transactions=lambda: {1: [listed, other]})


@pytest.mark.parametrize("state", ["Ongoing", "PrepareCommit", "PrepareAbort", "PrepareEpochFence"])
def test_a_transaction_that_never_ends_fails_the_test(state: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A coordinator that is stuck while it aborts blocks readers: that is no end."""
    monkeypatch.setattr(oracle, "SETTLE_SECONDS", 0.2)
    with pytest.raises(AssertionError, match=f"every transaction has ended.*mine/a: {state}"):
        oracle._transactions_have_ended(Coordinator(state), "mine")


def test_a_transaction_that_is_being_aborted_is_waited_for() -> None:
    """The markers are written within moments; until then the oracle waits."""
    coordinator = Coordinator("Ongoing", "PrepareAbort", "PrepareAbort", "CompleteAbort")
    oracle._transactions_have_ended(coordinator, "mine")
    assert coordinator.states == ["CompleteAbort"]


def result(partition: int, source: int, offset: int) -> Record:
    """A result in this partition, for that input."""
    headers = (("source-topic", b"t"), ("source-partition", b"%d" % source), ("source-offset", b"%d" % offset))
    return Record(b"", headers=headers, partition=partition)


@pytest.mark.parametrize(
    ("found", "exactly_once", "complaint"),
    [
        ([("t", 0, 1)], True, "1 records lost"),
        ([("t", 0, 1), ("t", 0, 2), ("t", 0, 2)], True, "1 records more than once"),
        ([("t", 0, 1), ("t", 0, 2), ("t", 0, 3)], False, "records that were never produced"),
        ([("t", 0, 1), ("t", 0, 2), ("t", 0, 2)], False, None),
        ([("t", 0, 1), ("t", 0, 2)], True, None),
    ],
)
def test_lost_doubled_and_invented_records_are_found(
    found: list[tuple[str, int, int]], exactly_once: bool, complaint: str | None
) -> None:
    """Each of them fails; a record that comes twice is allowed for at-least-once delivery alone."""
    expected = Counter([("t", 0, 1), ("t", 0, 2)])
    if complaint is None:
        oracle._same(Counter(found), expected, exactly_once)
    else:
        with pytest.raises(AssertionError, match=complaint):
            oracle._same(Counter(found), expected, exactly_once)


def test_records_out_of_order_are_found() -> None:
    """An earlier record behind a later one fails, and so does a source partition that is spread over two."""
    oracle.in_order("out", [result(0, 0, 1), result(0, 1, 5), result(0, 0, 2)])
    with pytest.raises(AssertionError, match="comes after offset 2"):
        oracle.in_order("out", [result(0, 0, 2), result(0, 0, 1)])
    with pytest.raises(AssertionError, match="went to several partitions"):
        oracle.in_order("out", [result(0, 0, 1), result(1, 0, 2)])
