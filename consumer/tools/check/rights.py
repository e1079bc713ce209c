"""Rows about the rights of this user. Each is probed by a request that changes nothing."""

from collections.abc import Callable, Iterator

from consumer.kafka.tools.check import rights
from consumer.kafka.tools.check.cluster import NotAnswered
from consumer.tools.check.context import DEAD, INPUT, OUTPUT, Context
from consumer.tools.check.row import Row, failed, ok, unknown, warning


def needed(context: Context) -> Iterator[Row]:
    """The rights without which a worker does not start, or stops."""
    cluster, settings = context.cluster, context.settings
    yield _needed(
        "right to read input topic",
        lambda: rights.may_read(cluster, context.topic(INPUT)),
        context.acl("Read", f"--topic {settings.input_topic}"),
    )
    for role in (OUTPUT, DEAD):
        yield _needed(
            f"right to write {role} topic",
            lambda role=role: rights.may_write(cluster, context.topic(role)),  # type: ignore[misc]
            context.acl("Write", f"--topic {context.names[role]}"),
        )
    yield _needed(
        "right to be in the group",
        lambda: rights.may_join(cluster, settings),
        context.acl("Read", f"--group {settings.group_id}"),
    )
    if settings.is_exactly_once:
        yield _needed(
            "right to transactions",
            lambda: rights.may_transact(cluster, settings),
            context.acl("Write", f"--transactional-id {settings.group_id} --resource-pattern-type prefixed"),
        )
    else:
        yield _needed(
            "right to number batches",
            lambda: rights.may_number(cluster),
            context.acl("IdempotentWrite", "--cluster"),
        )


def helpful(context: Context) -> Iterator[Row]:
    """The rights without which a worker works, but looks after less."""
    for role in (OUTPUT, DEAD):
        name = f"right to read {role} topic"
        try:
            if rights.may_read(context.cluster, context.topic(role)):
                yield ok(name, "given")
            else:
                yield warning(
                    name,
                    "missing: commits that the brokers lose are not noticed",
                    context.acl("Read", f"--topic {context.names[role]}"),
                )
        except NotAnswered as error:
            yield unknown(name, error)
    for role in (INPUT, OUTPUT, DEAD):
        name = f"right to see settings of {role} topic"
        try:
            context.configs(role)
            yield ok(name, "given")
        except NotAnswered as error:
            if not error.is_refused:
                yield unknown(name, error)
                continue
            yield warning(
                name,
                "missing: the settings of this topic cannot be checked",
                context.acl("DescribeConfigs", f"--topic {context.names[role]}"),
            )


def _needed(name: str, probe: Callable[[], bool], remedy: str) -> Row:
    try:
        return ok(name, "given") if probe() else failed(name, "missing", remedy)
    except NotAnswered as error:
        return unknown(name, error)
