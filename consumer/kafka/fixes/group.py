"""Joining the group: what happens when the broker answers between two polls."""

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
