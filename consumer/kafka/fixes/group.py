"""Membership in the group: joining it, and waiting while the coordinator is silent."""

import time
from typing import Any

from kafka.coordinator.consumer import ConsumerCoordinator
from kafka.structs import MemberState

# --- A leader that rejoins -------------------------------------------------------------------------------------------


def keep_rejoining() -> None:
    """Keep a member rejoining until it has joined.

    Fault: a leader that rejoins because partitions were added forgets about it between two polls. It keeps its old
        partitions under the new generation, which the broker does not reject, so two workers label the same records.
    Fix: a member that is rejoining still needs to rejoin.
    Shown by: test_row_22_a_leader_takes_part_in_a_rebalance_that_ends_between_its_polls
    """
    need_rejoin = ConsumerCoordinator.need_rejoin
    ConsumerCoordinator.need_rejoin = lambda coordinator: coordinator.rejoining or need_rejoin(coordinator)


# --- An answer that comes between two polls --------------------------------------------------------------------------


def take_join_answers() -> None:
    """Use the answer to a join request that came between two polls.

    Fault: the client ignores it and asks again, so every other member has to rejoin as well.
    Fix: the next poll takes the answer, as in Kafka's own client.
    Shown by: test_row_22_a_leader_takes_part_in_a_rebalance_that_ends_between_its_polls
    """
    join = ConsumerCoordinator.join_group_async

    async def take_or_join(coordinator: Any, timeout_ms: Any = None) -> bool:
        answer = coordinator._join_task
        if answer is None or not answer.succeeded() or coordinator.state is not MemberState.REBALANCING:
            return bool(await join(coordinator, timeout_ms))
        # The end of `join_group_async`, as if it had still waited.
        coordinator._join_task = None
        with coordinator._lock:
            coordinator.rejoining = coordinator.rejoin_needed = False
            coordinator.state = MemberState.STABLE
            coordinator._enable_heartbeat()
        joined = coordinator._generation
        await coordinator._on_join_complete_async(joined.generation_id, joined.member_id, joined.protocol, answer.value)
        return True

    ConsumerCoordinator.join_group_async = take_or_join


# --- A coordinator that does not answer ------------------------------------------------------------------------------

#: A poll waits this long even if a heartbeat is due: the client's network thread sends it.
WAIT_SECONDS = 0.1


def wait_for_heartbeats() -> None:
    """Let a poll wait while a heartbeat is unanswered.

    Fault: `poll` waits for records at most until the next heartbeat is due. While one is unanswered that moment is in
        the past, so an idle consumer spins, and each turn adds another callback to the pending fetch. A broker frozen
        for 60 s took 16 s of processor time and 170 MB, which are not given back.
    Fix: wait at least `WAIT_SECONDS`.
    Shown by: test_row_06_a_silent_broker_costs_an_idle_worker_nothing
    """
    time_to_next_poll = ConsumerCoordinator.time_to_next_poll
    ConsumerCoordinator.time_to_next_poll = lambda coordinator: max(WAIT_SECONDS, time_to_next_poll(coordinator))


# --- Rebalances ------------------------------------------------------------------------------------------------------


def note_rebalances() -> None:
    """Note when this member begins to join its group, for `rebalance_seconds`.

    Fault: the client tells only by a listener, and one that is set keeps the client from handing out records that it
        has fetched.
    Fix: note the time when the client prepares to join.
    Shown by: test_rebalances_and_transactions_are_counted
    """
    prepare = ConsumerCoordinator._on_join_prepare_async

    async def note_and_prepare(coordinator: Any, *arguments: Any, **options: Any) -> Any:
        if getattr(coordinator, "rebalancing_since", None) is None:  # an attempt that fails is followed by others
            coordinator.rebalancing_since = time.monotonic()
        return await prepare(coordinator, *arguments, **options)

    ConsumerCoordinator._on_join_prepare_async = note_and_prepare


def rebalance_seconds(consumer: Any) -> float | None:
    """How long the rebalance took that has ended since the last call; None if none has."""
    coordinator = consumer._coordinator
    since: float | None = getattr(coordinator, "rebalancing_since", None)
    if since is None or coordinator.state is not MemberState.STABLE or coordinator.rejoining:
        return None
    coordinator.rebalancing_since = None
    return time.monotonic() - since
