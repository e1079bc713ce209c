"""Rows about transactions and clocks."""

import time
from collections.abc import Iterator

from consumer.kafka.tools.check.cluster import NotAnswered
from consumer.kafka.tools.check.transactions import Clock, OpenTransaction, aborted_transaction, open_transactions
from consumer.tools.check.context import DEAD, INPUT, OUTPUT, Context
from consumer.tools.check.row import Row, failed, ok, unknown, warning

#: No producer may keep a transaction open for longer, unless the brokers allow it (transaction.max.timeout.ms).
HANGING_SECONDS = 900
#: Default timeout of a transactional producer.
LONG_SECONDS = 60
#: A difference of clocks below this changes nothing that anybody looks at.
SKEW_SECONDS = 5
#: Records with a timestamp that is further in the future are refused, unless the topic allows them.
FUTURE_MS = 3_600_000
OWN, CLOCK = "transactions", "clock"


def own(context: Context) -> Iterator[Row]:
    """A transaction of our own works; it also tells the time of its coordinator."""
    settings = context.settings
    try:
        clock = aborted_transaction(context.cluster, settings)
    except NotAnswered as error:
        if settings.is_exactly_once:
            yield _not_begun(context, error)
        yield unknown(CLOCK, f"no transaction to compare with ({error})")
        return
    if settings.is_exactly_once:
        yield ok(OWN, f"begun and aborted, with a timeout of {settings.transaction_timeout_seconds:g} s")
    yield unknown(CLOCK, "brokers tell their time since Kafka 3.0") if clock is None else _clock(context, clock)


def _not_begun(context: Context, error: NotAnswered) -> Row:
    if error.is_refused:
        return unknown(OWN, error, "grant the rights above")
    if "Timeout" in str(error) and "Invalid" in str(error):
        remedy = "lower transaction_timeout_seconds, or raise transaction.max.timeout.ms of the brokers"
        return failed(OWN, f"a timeout of {context.settings.transaction_timeout_seconds:g} s is refused", remedy)
    return failed(
        OWN,
        f"they do not work: {error}",
        "look at __transaction_state: it needs as many brokers as transaction.state.log.replication.factor and "
        "transaction.state.log.min.isr of the brokers ask for",
    )


def _clock(context: Context, clock: Clock) -> Row:
    off = max(0.0, abs(clock.ahead) - clock.give_or_take)
    direction = "ahead of" if clock.ahead > 0 else "behind"
    found = f"this machine is {off:.1f} s {direction} the broker" if off >= SKEW_SECONDS else f"within {SKEW_SECONDS} s"
    remedy = "synchronise the clocks of this machine and the brokers (NTP)"
    if clock.ahead > 0 and off * 1000 > _future_ms(context):
        return failed(CLOCK, f"{found}: results are refused, because their timestamp is in the future", remedy)
    if off >= SKEW_SECONDS:
        return warning(CLOCK, f"{found}: ages and timestamps of results are off by that", remedy)
    return ok(CLOCK, found)


def _future_ms(context: Context) -> int:
    """How far in the future the timestamp of a result may be."""
    allowed = []
    for role in (OUTPUT, DEAD):
        try:
            allowed.append(int(context.configs(role).get("message.timestamp.after.max.ms", FUTURE_MS)))
        except NotAnswered:
            allowed.append(FUTURE_MS)
    return min(allowed)


def hanging(context: Context) -> Iterator[Row]:
    """No transaction holds up readers of committed records: workers on the input, others on the results."""
    for role in (INPUT, OUTPUT, DEAD):
        name = f"{role} topic: open transactions"
        try:
            held = [number for number, each in context.offsets(role).items() if each.stable < each.end]
            if not held:
                yield ok(name, "none")
                continue
            yield _judged(name, context, role, open_transactions(context.cluster, context.names[role], held))
        except NotAnswered as error:
            remedy = context.acl("Read", f"--topic {context.names[role]}") if error.is_refused else ""
            yield unknown(name, error, remedy)


def _judged(name: str, context: Context, role: str, found: list[OpenTransaction]) -> Row:
    ages = {each: max(0.0, time.time() - each.written_ms / 1000) for each in found}
    old = sorted((each for each in found if ages[each] > LONG_SECONDS), key=lambda each: -ages[each])
    if not old:
        return ok(name, f"{len(found)}, all younger than {LONG_SECONDS} s")
    worst = old[0]
    shown = (
        f"{len(old)} not written to for {LONG_SECONDS} s or more; the one on partition {worst.partition} since offset "
        f"{worst.start_offset} for {ages[worst]:,.0f} s: nothing behind it is read"
    )
    if ages[worst] < HANGING_SECONDS:
        return warning(name, shown, "wait for the timeout of its producer, a minute by default, and check again")
    abort = "; ".join(
        f"kafka-transactions.sh --bootstrap-server {context.settings.bootstrap_servers} abort --topic "
        f"{context.names[role]} --partition {each.partition} --start-offset {each.start_offset}"
        for each in old[:3]
        if ages[each] >= HANGING_SECONDS
    )
    return failed(name, shown, f"make sure that its producer has ended, then: {abort}")
