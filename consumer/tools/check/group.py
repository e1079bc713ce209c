"""Rows about the consumer group: its members, and what waits for it."""

import time
from collections.abc import Iterator
from datetime import datetime

from consumer.kafka.tools.check import topics
from consumer.kafka.tools.check.cluster import NotAnswered
from consumer.kafka.tools.check.group import GroupFound, committed, group
from consumer.tools.check.context import INPUT, Context
from consumer.tools.check.row import Row, failed, ok, unknown, warning

#: What the workers call themselves in a group.
CLIENT = "review-consumer"
#: Reviews that wait for longer than this while workers run are late; the alert ReviewsRecordAgeHigh has the same limit.
LATE_SECONDS = 300
GROUP, OFFSETS, LAG, AGE = "group", "committed offsets", "lag", "lag in time"


def rows(context: Context) -> Iterator[Row]:
    """Members, committed offsets, and the lag in records and in seconds."""
    found = None
    try:
        found = group(context.cluster, context.settings.group_id)
        yield _members(context, found)
    except NotAnswered as error:
        yield unknown(GROUP, error)
    try:
        commits, doubtful = committed(context.cluster, context.settings.group_id, context.topic(INPUT))
        offsets = _offsets(context, commits, doubtful)
        positions = _positions(context, commits)
    except NotAnswered as error:
        yield from (unknown(name, error) for name in (OFFSETS, LAG, AGE))
        return
    yield offsets
    yield from _lag(context, positions, works=bool(found and found.members))


def _members(context: Context, found: GroupFound) -> Row:
    name, count = context.settings.group_id, len(found.members)
    if found.kind not in {"", "consumer"}:
        return failed(GROUP, f"{name} is used by {found.kind}, which is no consumer", "set another group_id")
    strangers = sorted({f"{each.client} on {each.host}" for each in found.members if each.client != CLIENT})
    if strangers:
        return failed(
            GROUP,
            f"other programs are in {name} and take partitions from the workers: {', '.join(strangers[:3])}",
            "set another group_id, here or there",
        )
    instance = context.settings.instance_id
    if context.settings.static_membership and instance in {each.instance for each in found.members}:
        remedy = "give each worker an instance_id of its own, or stop that worker first"
        return warning(GROUP, f"{name} has a member called {instance} already, which a new worker fences", remedy)
    if "Rebalance" in found.state:
        return warning(GROUP, f"{name} is rebalancing, with {count} members", "run the check again")
    if count > len(context.topics[INPUT].partitions) > 0:
        return warning(
            GROUP, f"{name} has {count} members, more than there are partitions", "stop workers that are idle"
        )
    if not count:
        return ok(GROUP, f"{name} has no members: no worker runs now")
    return ok(GROUP, f"{name} has {count} members and is {found.state.lower()}")


def _offsets(context: Context, commits: dict[int, int | None], doubtful: set[int]) -> Row:
    offsets = context.offsets(INPUT)
    lost = {
        number: offsets[number].first - offset
        for number, offset in commits.items()
        if offset is not None and offset < offsets[number].first
    }
    if lost:
        return failed(
            OFFSETS,
            f"{sum(lost.values()):,} records of partition {min(lost)}{_more(lost)} were deleted unread",
            "have their producer send them again, and raise retention.ms; a worker resumes at the first record left",
        )
    if beyond := {number for number, offset in commits.items() if offset is not None and offset > offsets[number].end}:
        return failed(
            OFFSETS,
            f"partition {min(beyond)}{_more(beyond)} is committed beyond its end: the topic is new, or lost data",
            f"stop the workers, and move the group: kafka-consumer-groups.sh --bootstrap-server "
            f"{context.settings.bootstrap_servers} --group {context.settings.group_id} --topic "
            f"{context.settings.input_topic} --reset-offsets --to-earliest --execute",
        )
    if doubtful:
        return warning(
            OFFSETS,
            f"an open transaction decides the offset of partition {min(doubtful)}{_more(doubtful)}",
            f"wait {context.settings.transaction_timeout_seconds:g} s and check again; if it stays, see "
            "docs/runbook.md, a transaction that does not end",
        )
    known = sum(offset is not None for offset in commits.values())
    if not known:
        return ok(OFFSETS, f"none: a new group, which begins at start_from ({context.settings.start_from})")
    return ok(OFFSETS, f"of {known} of {len(commits)} partitions")


def _positions(context: Context, commits: dict[int, int | None]) -> dict[int, int]:
    """Where a worker would begin to read each partition whose offset is not in doubt."""
    starts, offsets = _starts(context), context.offsets(INPUT)
    return {
        number: max(offsets[number].first, starts[number] if offset is None else offset)
        for number, offset in commits.items()
    }


def _lag(context: Context, positions: dict[int, int], *, works: bool) -> Iterator[Row]:
    offsets = context.offsets(INPUT)
    waiting = {number: offsets[number].stable - at for number, at in positions.items() if at < offsets[number].stable}
    yield ok(LAG, f"{sum(waiting.values()):,} records wait, on {len(waiting)} of {len(offsets)} partitions")
    if not waiting:
        yield ok(AGE, "nothing waits")
        return
    try:
        written = topics.oldest_ms(
            context.cluster, context.topic(INPUT), [(number, positions[number]) for number in waiting]
        )
    except NotAnswered as error:
        yield unknown(AGE, error)
        return
    if written is None:
        yield unknown(AGE, "the waiting records have no timestamp, or are gone")
        return
    yield _age(context, max(0.0, time.time() - written / 1000), works=works)


def _age(context: Context, seconds: float, *, works: bool) -> Row:
    """Judge how long the oldest unread review has waited."""
    shown = f"the oldest was written {seconds:,.0f} s ago"
    try:
        retention = int(context.configs(INPUT)["retention.ms"]) / 1000
    except NotAnswered:
        retention = -1.0
    if 0 <= retention < 2 * seconds:
        remedy = f"start workers now, and raise retention.ms: {context.alter(INPUT, 'retention.ms=604800000')}"
        return failed(AGE, f"{shown}, and is deleted {retention:,.0f} s after it was written", remedy)
    if works and seconds > LATE_SECONDS:
        return warning(AGE, f"{shown}, although workers run", "see docs/runbook.md, ReviewsRecordAgeHigh")
    return ok(AGE, shown)


def _starts(context: Context) -> dict[int, int]:
    """Where each partition without a committed offset is read first."""
    start, offsets = context.settings.start_from, context.offsets(INPUT)
    if isinstance(start, datetime):
        found = topics.offsets_at(context.cluster, context.topic(INPUT), int(start.timestamp() * 1000))
        return {
            number: each.stable if found[number] is None else found[number] or 0 for number, each in offsets.items()
        }
    return {number: each.first if start == "earliest" else each.stable for number, each in offsets.items()}


def _more(numbers: set[int] | dict[int, int]) -> str:
    return f" and {len(numbers) - 1} more" if len(numbers) > 1 else ""
