"""Rows about the topics: that they are there, and what each is configured to be."""

from collections.abc import Callable, Iterator

from consumer.kafka.fixes.topics import UNCOMPRESSED
from consumer.kafka.tools.check.cluster import NotAnswered
from consumer.records.outgoing import RECORD_OVERHEAD_BYTES
from consumer.settings import OutputTimestamp
from consumer.tools.check.context import DEAD, INPUT, OUTPUT, Context
from consumer.tools.check.row import Row, failed, ok, unknown, warning

ROLES = (INPUT, OUTPUT, DEAD)
_DAY_MS = 24 * 60 * 60 * 1000
#: Shortest retention without a warning: input and output survive a day without workers or readers; people need longer
#: to look at dead letters.
SHORTEST_MS = {INPUT: _DAY_MS, OUTPUT: _DAY_MS, DEAD: 7 * _DAY_MS}
#: Replicas with which a broker may fail while another is restarted.
REPLICAS = 3


def there(context: Context) -> Iterator[Row]:
    """Each topic exists, and each of its partitions has a leader and all its replicas."""
    for role, topic in context.topics.items():
        name = f"{role} topic"
        if not topic.partitions:
            yield failed(
                name,
                f"{topic.name} does not exist, or this user may not see it",
                "create it with deploy/kafka/create-topics.sh; or " + context.acl("Describe", f"--topic {topic.name}"),
            )
        elif lost := [each.number for each in topic.partitions if each.leader is None]:
            yield failed(
                name, f"{topic.name}: no leader of partition {_listed(lost)}", "start the brokers that hold it"
            )
        elif behind := [each.number for each in topic.partitions if len(each.in_sync) < len(each.replicas)]:
            yield warning(
                name,
                f"{topic.name}: replicas of partition {_listed(behind)} are not in sync",
                "look for a broker that is down, slow or out of disk space",
            )
        else:
            yield ok(name, f"{topic.name}, {len(topic.partitions)} partitions, all replicas in sync")


def partitions(context: Context) -> Iterator[Row]:
    """As many partitions as workers: more workers than partitions are idle."""
    name, count, workers = "partitions", len(context.topic(INPUT).partitions), context.workers
    if workers is None:
        yield ok(name, f"{count}: at most {count} workers have work (--workers N compares)")
    elif workers > count:
        yield failed(
            name,
            f"{count} for {workers} workers: {workers - count} would be idle",
            f"start at most {count} workers, or add partitions before go-live: kafka-topics.sh --bootstrap-server "
            f"{context.settings.bootstrap_servers} --alter --topic {context.names[INPUT]} --partitions {workers}",
        )
    else:
        least, more = divmod(count, workers)
        shares = f"{least} or {least + 1} each" if more else f"{least} each"
        yield ok(name, f"{count} for {workers} workers: {shares}")


def replication(context: Context) -> Iterator[Row]:
    """Three replicas on a cluster that has three brokers."""
    for role in ROLES:
        name = f"{role} topic: replication"
        try:
            replicas = min(len(each.replicas) for each in context.topic(role).partitions)
        except NotAnswered as error:
            yield unknown(name, error)
            continue
        found = f"{replicas} replica{'s' if replicas > 1 else ''}"
        if replicas >= REPLICAS:
            yield ok(name, found)
            continue
        lost = (
            "a broker that loses its disk loses the records" if replicas == 1 else "no broker may fail during a restart"
        )
        enough = len(context.brokers) >= REPLICAS
        remedy = f"use {REPLICAS} replicas" + ("" if enough else f", which takes {REPLICAS} brokers")
        yield warning(name, f"{found}: {lost}", f"{remedy} (kafka-reassign-partitions.sh)")


def configured(context: Context) -> Iterator[Row]:
    """Each setting of each topic that matters to the worker."""
    for role in ROLES:
        judges = [(f"{role} topic: {setting}", judge) for setting, judge, roles in _SETTINGS if role in roles]
        try:
            context.configs(role)
        except NotAnswered as error:
            settings = ", ".join(setting for setting, _, roles in _SETTINGS if role in roles)
            remedy = context.acl("DescribeConfigs", f"--topic {context.names[role]}") if error.is_refused else ""
            yield unknown(f"{role} topic: settings", f"{error}; {settings}", remedy)
            continue
        for name, judge in judges:
            try:
                yield judge(name, context, role)
            except NotAnswered as error:  # it depends on another topic
                yield unknown(name, error)
            except (KeyError, ValueError):
                yield unknown(name, "this broker does not show the setting")


def _min_in_sync(name: str, context: Context, role: str) -> Row:
    needed = int(context.configs(role)["min.insync.replicas"])
    replicas = min(len(each.replicas) for each in context.topic(role).partitions)
    remedy = context.alter(role, f"min.insync.replicas={max(1, replicas - 1)}")
    if needed > replicas:
        return failed(name, f"{needed} of {replicas} replicas: nothing can be written", remedy)
    if needed == replicas > 1:
        return warning(name, f"{needed} of {replicas} replicas: one broker that restarts stops every write", remedy)
    if needed == 1 < replicas:
        found = f"1 of {replicas} replicas: a record may be acknowledged and lost with one broker"
        return warning(name, found, context.alter(role, "min.insync.replicas=2"))
    return ok(name, f"{needed} of {replicas} replicas")


def _cleanup(name: str, context: Context, role: str) -> Row:
    policy = context.configs(role)["cleanup.policy"]
    if "compact" not in policy:
        return ok(name, policy or "none")
    remedy = context.alter(role, "cleanup.policy=delete")
    if role == INPUT:
        return failed(name, f"{policy}: a review is deleted unread when the next one has its key", remedy)
    if role == DEAD:
        return failed(name, f"{policy}: a bad record without a key is refused, and holds up its partition", remedy)
    found = f"{policy}: a review without a key is refused and holds up its partition; older labels of a key are deleted"
    return warning(name, found, remedy)


def _retention(name: str, context: Context, role: str) -> Row:
    configs = context.configs(role)
    retention, size = int(configs["retention.ms"]), int(configs["retention.bytes"])
    found = "unlimited" if retention < 0 else _duration(retention)
    if size >= 0:
        found += f", and at most {size:,} bytes a partition, whatever their age"
    if 0 <= retention < SHORTEST_MS[role]:
        what = "reviews are deleted unread" if role == INPUT else "results are deleted unread"
        found += f": {what} if nobody reads them for that long"
        return warning(name, found, context.alter(role, f"retention.ms={7 * _DAY_MS}"))
    return ok(name, found)


def _largest(name: str, context: Context, role: str) -> Row:
    most = int(context.configs(role)["max.message.bytes"])
    settings = context.settings
    if role != INPUT:
        found = f"{most:,}; the worker writes at most {settings.max_request_bytes:,} (max_request_bytes)"
        if settings.max_request_bytes > most:
            larger = context.alter(role, f"max.message.bytes={settings.max_request_bytes}")
            return failed(
                name,
                f"{found}: a larger result is refused, and holds up its partition",
                f"set max_request_bytes to {most}, or {larger}",
            )
        return ok(name, found)
    found = f"{most:,}; the worker reads values up to {settings.max_record_bytes:,} (max_record_bytes)"
    if most > settings.max_record_bytes + RECORD_OVERHEAD_BYTES:
        smaller = context.alter(INPUT, f"max.message.bytes={settings.max_record_bytes}")
        return warning(
            name, f"{found}: larger ones become dead letters", f"set max_record_bytes to {most}, or {smaller}"
        )
    return ok(name, found)


def _whole(name: str, context: Context, _role: str) -> Row:
    largest = int(context.configs(INPUT)["max.message.bytes"]) + 2 * RECORD_OVERHEAD_BYTES
    if context.settings.max_request_bytes >= largest:
        return ok(name, "the largest bad record fits whole")
    return warning(
        name,
        f"bad records near {context.settings.max_request_bytes:,} bytes are cut, and cannot be replayed",
        f"set max_request_bytes to {largest} or more, and max.message.bytes of {context.names[OUTPUT]} and "
        f"{context.names[DEAD]} to at least that",
    )


def _compression(name: str, context: Context, role: str) -> Row:
    kind = context.configs(role)["compression.type"]
    if kind == UNCOMPRESSED:
        return ok(name, kind)
    found = f"{kind}: a batch of a few kB can unpack to a gigabyte and end a worker"
    return warning(name, found, context.alter(role, f"compression.type={UNCOMPRESSED}"))


def _timestamps(name: str, context: Context, role: str) -> Row:
    configs = context.configs(role)
    if context.settings.output_timestamp is not OutputTimestamp.SOURCE:
        return ok(name, "the time at which a result is written")
    if configs["message.timestamp.type"] != "CreateTime":
        remedy = context.alter(role, "message.timestamp.type=CreateTime")
        return warning(name, "the topic replaces the timestamps that output_timestamp=source gives", remedy)
    before = int(configs["message.timestamp.before.max.ms"])
    oldest = int(context.configs(INPUT)["retention.ms"])
    if before < oldest or (oldest < 0 and before < 2**62):
        return failed(
            name,
            f"results of reviews older than {_duration(before)} are refused, and hold up their partition",
            context.alter(role, f"message.timestamp.before.max.ms={2**63 - 1}"),
        )
    return ok(name, "those of the reviews (output_timestamp=source)")


_Judge = Callable[[str, Context, str], Row]
_SETTINGS: tuple[tuple[str, _Judge, tuple[str, ...]], ...] = (
    ("min.insync.replicas", _min_in_sync, ROLES),
    ("cleanup.policy", _cleanup, ROLES),
    ("retention", _retention, ROLES),
    ("max.message.bytes", _largest, ROLES),
    ("room for whole records", _whole, (DEAD,)),
    ("compression.type", _compression, (INPUT,)),
    ("timestamps", _timestamps, (OUTPUT, DEAD)),
)


def _listed(numbers: list[int]) -> str:
    return ", ".join(map(str, numbers[:5])) + (f" and {len(numbers) - 5} more" if len(numbers) > 5 else "")


def _duration(milliseconds: int) -> str:
    hours = milliseconds / 3_600_000
    return (
        f"{hours / 24:.1f} days" if hours >= 48 else f"{hours:.1f} h" if hours >= 1 else f"{milliseconds / 1000:.0f} s"
    )
