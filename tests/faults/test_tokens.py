"""OAUTHBEARER with a token from a command, against a broker that checks it; and the rack of a client."""

import shlex
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from kafka import TopicPartition

from consumer.local.broker import LocalBroker
from consumer.local.cluster import LocalCluster
from tests.harness import Harness
from tests.live_broker import live_broker
from tests.worker_process import wait_until

pytestmark = [pytest.mark.broker, pytest.mark.timeout(300)]

#: Prints a token that Kafka's validator for tests accepts: a JSON Web Token without a signature.
SCRIPT = """
import base64, json, sys, time

def part(claims):
    return base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")

valid_for = float(sys.argv[1])
for calls in sys.argv[2:]:
    open(calls, "a").write(".")
claims = {"sub": "worker", "iat": time.time() - 100, "exp": time.time() + valid_for}
print(part({"alg": "none"}) + "." + part(claims) + ".")
"""
#: How every such token starts.
TOKEN = "eyJhbGciOiAibm9uZSJ9"


@pytest.fixture(scope="module")
def broker() -> Iterator[LocalBroker]:
    """Lets in whoever has a token."""
    module = "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule"
    jaas = f'{module} required unsecuredLoginStringClaim_sub="broker";'
    with LocalBroker(
        protocol="SASL_PLAINTEXT",
        properties={
            "sasl.enabled.mechanisms": "OAUTHBEARER",
            "listener.name.client.oauthbearer.sasl.jaas.config": jaas,
            # Sessions end with this; the client authenticates again within a connection.
            "listener.name.client.oauthbearer.connections.max.reauth.ms": "3000",
        },
    ) as made:
        yield made


@pytest.fixture
def harness(broker: LocalBroker, harness_on: Callable[..., Harness]) -> Harness:
    """On that broker."""
    return harness_on(broker)


def oauth(tmp_path: Path, *command: str) -> dict[str, object]:
    """Settings of a worker whose tokens come from `command`, or from the script with these arguments."""
    script = tmp_path / "a token.py"
    script.write_text(SCRIPT)
    return {
        "security_protocol": "SASL_PLAINTEXT",
        "sasl_mechanism": "OAUTHBEARER",
        "sasl_token_command": shlex.join([sys.executable, str(script), *command]),
        "start_timeout_seconds": 8,
    }


@pytest.mark.smoke
def test_row_28_a_token_of_a_command_lets_a_worker_in(harness: Harness, tmp_path: Path) -> None:
    """Each record has one result, also after the broker has asked for another token; no token is in the log."""
    # Given a worker with tokens
    harness.produce(100)
    calls = tmp_path / "calls"
    worker = harness.worker(**oauth(tmp_path, "60", str(calls)), log_level="DEBUG")
    harness.await_done()
    # When each of its connections has needed another token
    first = calls.stat().st_size
    wait_until(lambda: calls.stat().st_size >= 2 * first, 60, "every session has ended once")
    harness.produce(100)
    # Then it continues
    assert harness.finish().checked == 200
    assert TOKEN not in worker.log


@pytest.mark.parametrize(
    ("command", "cause"),
    [
        (["-60"], "a token that the broker refuses; check"),
        (["not a number"], "sasl_token_command failed, took too long, or printed no token"),
    ],
)
def test_row_28_a_token_that_is_no_good_is_named(
    harness: Harness, tmp_path: Path, command: list[str], cause: str
) -> None:
    """A token that the broker refuses, or a command that fails, ends the start with its cause and without the token."""
    worker = harness.worker(**oauth(tmp_path, *command))
    assert worker.wait_exit(60) == 4, worker.log
    assert cause in worker.last_line
    assert TOKEN not in worker.log


def test_a_worker_reads_from_the_replica_in_its_rack(harness_on: Callable[..., Harness]) -> None:
    """With `client_rack`, and brokers that allow it, a partition is read from the follower in that rack, completely."""
    # Given three brokers in three racks
    selector = "org.apache.kafka.common.replica.RackAwareReplicaSelector"
    with LocalCluster(3, properties={"replica.selector.class": selector}) as cluster:
        cluster.stop()
        for node in cluster.nodes:
            with node._config.open("a", encoding="utf-8") as properties:
                properties.write(f"broker.rack=rack-{node.node_id}\n")
        cluster.start()
        harness = harness_on(cluster)
        harness.produce(100)
        near = cluster.nodes[1].node_id
        # When a worker of one rack reads
        with live_broker(harness.topics.settings(client_rack=f"rack-{near}")) as (broker, connection):
            consumer = connection.consumer
            read: set[tuple[int, int]] = set()
            sources: dict[TopicPartition, set[int]] = {}

            def has_read() -> bool:
                read.update((record.partition, record.offset) for record in broker.poll(50).records)
                for each in consumer.assignment():
                    # The client returns to the leader after each response of a follower, to ask again.
                    if (source := consumer._subscription.assignment[each].preferred_read_replica()) is not None:
                        sources.setdefault(each, set()).add(source)
                elsewhere = {each for each in consumer.assignment() if leader(each) != near}
                return len(read) == 100 and bool(elsewhere) and elsewhere <= sources.keys()

            def leader(partition: TopicPartition) -> int:
                return int(consumer._client.cluster.leader_for_partition(partition))

            # Then it has read all, and each partition whose leader is elsewhere from the broker in its rack
            wait_until(has_read, 60, "it has read all, from its rack")
            assert all(found == {near} for found in sources.values())
