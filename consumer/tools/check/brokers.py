"""Rows about the brokers: addresses, credentials, versions."""

from collections.abc import Iterator, Mapping

from consumer.flags import version
from consumer.kafka.start import EXACTLY_ONCE_SINCE
from consumer.kafka.tools.check.brokers import BrokerFound
from consumer.settings import WorkerSettings
from consumer.tools.check.context import Context
from consumer.tools.check.row import Row, failed, ok, warning

BOOTSTRAP, CREDENTIALS, BROKERS, VERSIONS = "bootstrap servers", "credentials", "brokers", "versions"


def bootstrap(problems: Mapping[str, str]) -> Row:
    """Whether the addresses of the settings lead to brokers: one is enough to start, all of them to start any time."""
    wrong = [problem for problem in problems.values() if problem]
    if not wrong:
        return ok(BOOTSTRAP, ", ".join(problems))
    # Each problem ends in what to do about it.
    found, _, remedy = "; ".join(wrong).partition("; ")
    if len(wrong) == len(problems):
        return failed(BOOTSTRAP, found, remedy or "check the address and that Kafka runs there")
    return warning(BOOTSTRAP, f"{len(wrong)} of {len(problems)} do not work: {found}", remedy or "correct the address")


def credentials(settings: WorkerSettings) -> Row:
    """How this user got in, and whether others can listen."""
    found: str = settings.security_protocol
    if settings.security_protocol.startswith("SASL_"):
        found += f", {settings.sasl_mechanism}"
        found += f", user {settings.sasl_username}" if settings.sasl_username else ", a token"
    if settings.ssl_certfile:
        found += ", client certificate"
    if not settings.security_protocol.endswith("SSL") and not settings.on_this_machine:
        return warning(CREDENTIALS, f"{found}: not encrypted", "set security_protocol to SASL_SSL or SSL")
    return ok(CREDENTIALS, f"{found}, accepted")


def reachable(context: Context) -> Iterator[Row]:
    """Whether every broker answers at the address that it advertises, over a connection with the credentials."""
    found = context.brokers
    if silent := [each.problem for each in found if each.problem]:
        yield failed(
            BROKERS,
            f"{len(silent)} of {len(found)} cannot be reached: {'; '.join(silent)}",
            "clients connect to the addresses that brokers advertise: start these brokers, correct their "
            "advertised.listeners, or the names, routes and firewalls of this machine",
        )
    elif missing := _missing(context):
        # Seconds after a broker has ended, the cluster no longer advertises it.
        listed = ", ".join(map(str, sorted(missing)))
        yield failed(BROKERS, f"replicas of the topics are on {listed}, which is not there", "start these brokers")
    else:
        yield ok(BROKERS, ", ".join(f"{each.node} at {each.address}" for each in found))
    yield from _versions(context, [each for each in found if each.version])


def _missing(context: Context) -> set[int]:
    """Brokers that should hold a replica, and that the cluster does not list."""
    partitions = (each for topic in context.topics.values() for each in topic.partitions)
    return {node for each in partitions for node in each.replicas} - {each.node for each in context.brokers}


def _versions(context: Context, found: list[BrokerFound]) -> Iterator[Row]:
    versions = sorted({each.version for each in found if each.version})
    if not versions:
        return
    named = ", ".join(".".join(map(str, each)) for each in versions)
    shown = f"brokers speak as Kafka {named}; review-consumer {version()}"
    since = ".".join(map(str, EXACTLY_ONCE_SINCE))
    if context.settings.is_exactly_once and versions[0] < EXACTLY_ONCE_SINCE:
        yield failed(
            VERSIONS, shown, f"exactly-once delivery needs Kafka {since}: upgrade, or set delivery to at_least_once"
        )
    elif len(versions) > 1:
        yield warning(VERSIONS, shown, "finish the upgrade of the brokers")
    else:
        yield ok(VERSIONS, shown)
