"""What a replay remembers: never a dead letter too few or too many, in as little room as a commit has."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.errors import GaveUp
from consumer.tools.dlq.ledger import MAX_BYTES, Ledger

CAUSES = ("invalid_text/missing@reviews", "not_json/truncated@reviews", "tombstone@reviews")


@given(
    causes=st.lists(st.sampled_from(CAUSES), max_size=60),
    runs=st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60), st.sets(st.sampled_from(CAUSES))), max_size=6),
    deleted=st.integers(0, 20),
)
def test_each_dead_letter_is_sent_once(causes: list[str], runs: list[tuple[int, int, set[str]]], deleted: int) -> None:
    """Whatever is selected in whatever order, and whatever retention deletes, the ledger knows what was sent."""
    text = ""
    sent: set[int] = set()
    for number, (first, stop, selected) in enumerate([*runs, (0, 99, set(CAUSES))]):
        ledger = Ledger(text)
        for offset, cause in enumerate(causes):
            if number and offset < deleted:  # gone after the first run
                continue
            known = ledger.has(cause, offset)
            assert known == (offset in sent)
            if offset < first:  # this run begins later
                continue
            sends = not known and offset < stop and cause in selected
            ledger.note(cause, offset, known or sends)
            sent |= {offset} if sends else set()
        text = ledger.encode()
    assert sent >= set(range(deleted if runs else 0, len(causes)))


def test_whole_reasons_take_one_range_each() -> None:
    """A million mixed dead letters that were sent reason by reason fit easily."""
    draw = random.Random(7)
    causes = [draw.choice(CAUSES) for _ in range(20_000)]
    text = ""
    for wanted in CAUSES:
        ledger = Ledger(text)
        for offset, cause in enumerate(causes):
            ledger.note(cause, offset, ledger.has(cause, offset) or cause == wanted)
        text = ledger.encode()
    assert len(text) < 300
    assert all(Ledger(text).has(cause, offset) for offset, cause in enumerate(causes))


def test_what_does_not_fit_is_refused() -> None:
    """A commit that the broker would refuse is not begun; the message says what to do instead."""
    draw = random.Random(7)
    ledger = Ledger()
    for offset in range(20_000):
        ledger.note(CAUSES[0], offset, draw.random() < 0.5)
    with pytest.raises(GaveUp, match="select whole reasons"):
        ledger.encode()
    assert MAX_BYTES < 4096


@pytest.mark.parametrize("text", ["lineage=0123456789abcdef offset=7", "replay=1 !", "replay=1 abcde", "x"])
def test_commits_of_others_are_refused(text: str) -> None:
    """A group that holds something else is not taken for the progress of replays."""
    with pytest.raises(GaveUp, match="not those of a replay"):
        Ledger(text)
