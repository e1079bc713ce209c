"""Faults of kafka-python 3.0 and their fixes, applied from outside.

Each fix is one section of one module: the fault, the fix, and the test in tests/faults that fails without it.
`records` is about what a batch holds, `positions` about where a partition is read, `losses` about records that the
topic no longer has, `topics` about their configuration, `group` about membership, `sending` and `transactions` about
the producer, `refusals` about what it could not deliver, `network` about connections.

A process that creates clients calls `apply` once, before the first one. Some fixes patch the library; the others are
functions that this room calls instead of the library's own.

Tied to kafka-python 3.0 by the bound in pyproject.toml.
"""

from functools import cache

from consumer.kafka.fixes import group, losses, network, positions, records, transactions

#: In the order of the sections of each module.
PATCHES = (
    records.keep_header_names,
    records.skip_emptied_markers,
    positions.start_from_commits,
    positions.log_no_unstable_offsets,
    positions.keep_leader_epochs,
    positions.note_ends,
    positions.return_known_offsets,
    positions.count_turns,
    losses.note_out_of_range,
    losses.note_cut_off,
    group.keep_rejoining,
    group.take_join_answers,
    group.wait_for_heartbeats,
    group.note_rebalances,
    transactions.forget_refused_offsets,
    transactions.note_repeated_requests,
    transactions.keep_unsent_requests,
    network.deliver_data_before_close,
    network.log_no_cancelled_refresh,
)


@cache  # a second call does nothing
def apply() -> None:
    """Patch kafka-python for every client that this process creates from now on."""
    for patch in PATCHES:
        patch()


def require() -> None:
    """Check that the library is patched.

    Raises:
        RuntimeError: a client is about to be created in a process that has not called `apply`.
    """
    if not apply.cache_info().currsize:
        raise RuntimeError("call consumer.kafka.fixes.apply() once, before this process creates its first Kafka client")
