"""Grouping by length and padding, for any lengths and any policy."""

import heapq

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from consumer.model.inference.batching import BatchPolicy, pad, plan, rounded

MAX_LENGTH = 512
LENGTHS = st.lists(st.integers(1, MAX_LENGTH), max_size=300)
POLICIES = st.builds(
    BatchPolicy,
    token_budget=st.integers(1, 20_000),
    max_rows=st.integers(1, 100),
    round_to=st.sampled_from([1, 8, 16, 64]),
    parallel=st.integers(1, 8),
)


@given(LENGTHS, POLICIES)
def test_every_text_is_in_exactly_one_batch(lengths: list[int], policy: BatchPolicy) -> None:
    """No text is lost and none is computed twice."""
    batches = plan(lengths, policy, MAX_LENGTH)
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))


@given(LENGTHS, POLICIES)
def test_a_batch_keeps_to_budget_and_rows_unless_it_is_one_text(lengths: list[int], policy: BatchPolicy) -> None:
    """What a batch costs is bounded; a text longer than the budget is a batch of its own."""
    for batch in plan(lengths, policy, MAX_LENGTH):
        width = rounded(max(lengths[index] for index in batch), policy, MAX_LENGTH)
        assert len(batch) == 1 or width * len(batch) <= policy.token_budget
        assert 1 <= len(batch) <= policy.max_rows


@given(LENGTHS, POLICIES)
def test_batches_are_computed_longest_first(lengths: list[int], policy: BatchPolicy) -> None:
    """Read in the order of the batches, no text is longer than the one before it."""
    in_order = [lengths[index] for batch in plan(lengths, policy, MAX_LENGTH) for index in batch]
    assert in_order == sorted(lengths, reverse=True)


@given(LENGTHS, POLICIES)
def test_padding_is_what_rounding_costs_and_at_most_one_step_of_length(lengths: list[int], policy: BatchPolicy) -> None:
    """Batches follow each other in length, so all of it adds up to less than one batch of the longest texts."""
    batches = plan(lengths, policy, MAX_LENGTH)
    widths = [rounded(max(lengths[index] for index in batch), policy, MAX_LENGTH) for batch in batches]
    computed = sum(width * len(batch) for width, batch in zip(widths, batches, strict=True))
    alone = sum(rounded(length, policy, MAX_LENGTH) for length in lengths)
    largest = max(map(len, batches), default=0)
    assert computed - alone <= largest * MAX_LENGTH


@given(st.integers(0, MAX_LENGTH), POLICIES, st.integers(1, MAX_LENGTH))
def test_a_width_holds_its_text_and_never_passes_the_last_position(
    length: int, policy: BatchPolicy, max_length: int
) -> None:
    """Rounded up to the multiple, but not above what the model has positions for."""
    width = rounded(min(length, max_length), policy, max_length)
    assert min(length, max_length) <= width <= max_length
    assert width % policy.round_to == 0 or width == max_length
    assert width > 0


@given(LENGTHS, POLICIES)
@example([16] * 300, BatchPolicy(token_budget=512, max_rows=256, parallel=8))
def test_no_stream_ends_later_than_the_others_by_more_than_one_text(lengths: list[int], policy: BatchPolicy) -> None:
    """Each stream takes the next batch when it is free; the last to end is at most the longest text above the mean."""
    batches = plan(lengths, policy, MAX_LENGTH)
    widths = [rounded(lengths[batch[0]], policy, MAX_LENGTH) for batch in batches]
    costs = [width * len(batch) for width, batch in zip(widths, batches, strict=True)]
    streams = [0] * policy.parallel
    for cost in costs:
        heapq.heapreplace(streams, streams[0] + cost)
    assert max(streams) <= sum(costs) / policy.parallel + max(widths, default=0) + 1


def test_few_texts_are_spread_over_all_streams() -> None:
    """Two texts and two streams make two batches, although one would hold both."""
    policy = BatchPolicy(token_budget=2048, max_rows=64, parallel=2)
    assert plan([100, 100], policy, MAX_LENGTH) == [[0], [1]]


def test_nothing_to_plan() -> None:
    """No texts, no batches."""
    assert plan([], BatchPolicy(2048, 64), MAX_LENGTH) == []


@given(st.lists(st.lists(st.integers(1, 9), max_size=12), min_size=1, max_size=9))
def test_padding_adds_nothing_that_the_mask_shows(texts: list[list[int]]) -> None:
    """The mask gives back each text exactly; the rest is the padding id."""
    batch = pad([np.array(text, dtype=np.int32) for text in texts], 12, pad_id=77)
    assert batch.ids.shape == batch.mask.shape == (len(texts), 12)
    assert batch.ids.dtype == batch.mask.dtype == np.int64
    for text, ids, mask in zip(texts, batch.ids, batch.mask, strict=True):
        assert ids[mask == 1].tolist() == text
        assert set(ids[mask == 0].tolist()) <= {77}
