"""`review-consumer check` on real brokers: what is broken turns its row, and looking changes nothing."""

import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import ACLOperation, ConfigResource, ConfigResourceType, ResourceType
from kafka.protocol.admin import DescribeConfigsRequest
from kafka.structs import OffsetAndMetadata

from consumer.kafka import fixes
from consumer.kafka.client import Clients
from consumer.kafka.tools.check.cluster import Cluster
from consumer.local import tools
from consumer.local.broker import LocalBroker
from consumer.local.cluster import LocalCluster
from consumer.settings import WorkerSettings
from tests.check_rows import Checker
from tests.faults.secure import PASSWORD, SecureBroker, rights
from tests.harness import Harness
from tests.kafka_helpers import Record, Topics, committed_offsets, end_offsets, internal, produce
from tests.tiny_bundle import write_tiny_bundle
from tests.worker_process import wait_until

pytestmark = [pytest.mark.broker, pytest.mark.timeout(300)]

DAY_MS = 24 * 60 * 60 * 1000
#: As deploy/kafka/create-topics.sh creates them.
CONFIGS = {
    "input": {"compression.type": "uncompressed", "max.message.bytes": "1048588"},
    "output": {"max.message.bytes": "2097664"},
    "dead-letter": {"max.message.bytes": "2097664"},
}
#: With settings to match.
FLAGS = ("--max-request-bytes", "2097152", "--metrics-port", "0", "--threads", "1")
REVIEW = b'{"id": "1", "text": "good"}'


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    """Three brokers, as in production."""
    with LocalCluster(3, properties={"transaction.max.timeout.ms": "60000"}) as made:
        yield made


@pytest.fixture
def topics(cluster: LocalCluster) -> Topics:
    """Topics as they should be, of two partitions."""
    name = f"c-{uuid.uuid4().hex[:8]}"
    made = Topics(cluster.bootstrap, f"{name}.in", f"{name}.out", f"{name}.dlq", f"{name}.group")
    for topic, role in zip((made.input, made.output, made.dead_letter), CONFIGS, strict=True):
        cluster.create_topics({topic: 2}, CONFIGS[role])
    await_topics(cluster.bootstrap, made.input, made.output, made.dead_letter)
    return made


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle that loads at once."""
    return write_tiny_bundle(tmp_path_factory.mktemp("check") / "bundle")


@pytest.fixture
def check(topics: Topics, tiny: Path, capsys: pytest.CaptureFixture[str]) -> Checker:
    """The command with settings for `topics`."""
    return Checker(capsys, *topics.flags, *FLAGS, "--bundle", str(tiny))


@pytest.fixture
def admin(cluster: LocalCluster) -> Iterator[KafkaAdminClient]:
    """For what is broken here."""
    with KafkaAdminClient(bootstrap_servers=internal(cluster)) as made:
        yield made


def await_topics(bootstrap: str, *names: str) -> None:
    """Wait until every broker knows these topics: the command asks any of them."""
    fixes.apply()
    cluster = Cluster(WorkerSettings(bootstrap_servers=bootstrap), Clients())
    request = DescribeConfigsRequest(
        resources=[(ConfigResourceType.TOPIC, name, ["cleanup.policy"]) for name in names], include_synonyms=False
    )

    def known() -> bool:
        answers = [cluster.ask(request, node) for node in cluster.brokers]
        return not any(each.error_code for answer in answers for each in answer.results)

    try:
        wait_until(known, 30, f"every broker knows {names}")
    finally:
        cluster.close()


def configure(admin: KafkaAdminClient, topic: str, **values: object) -> None:
    """Set the configuration of a topic; `_` in a name stands for a dot."""
    named = {name.replace("_", "."): str(value) for name, value in values.items()}
    admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, named)])


@pytest.mark.smoke
def test_what_is_as_it_should_be_is_green_even_with_strict(check: Checker) -> None:
    """Three brokers, topics of the script that this project ships, an unused group: not one warning."""
    found = check("--strict", "--workers", "2")
    assert found.named("ok") == found.rows.keys()
    assert found.exit_code == 0
    assert len(found.rows) > 45


def test_each_setting_of_a_topic_that_is_wrong_turns_its_row(
    check: Checker, topics: Topics, admin: KafkaAdminClient
) -> None:
    """What stops a worker or loses reviews is red, what weakens a promise is yellow; each with its remedy."""
    # Given topics with everything wrong
    bad = {
        topics.input: {
            "min_insync_replicas": 3,
            "cleanup_policy": "compact",
            "retention_ms": 60_000,
            "max_message_bytes": 9_000_000,
            "compression_type": "producer",
        },
        topics.output: {"min_insync_replicas": 1, "cleanup_policy": "compact", "max_message_bytes": 500_000},
        topics.dead_letter: {
            "cleanup_policy": "compact,delete",
            "retention_ms": DAY_MS,
            "max_message_bytes": 500_000,
            "message_timestamp_before_max_ms": 1000,
        },
    }
    for topic, values in bad.items():
        configure(admin, topic, **values)
    configure(admin, topics.output, message_timestamp_type="LogAppendTime")
    # When they are checked, for more workers than there are partitions
    found = check("--workers", "3", "--output-timestamp", "source")
    # Then these rows, and no others, are no longer green
    assert found.named("failed") == {
        "partitions",
        "input topic: cleanup.policy",
        "output topic: max.message.bytes",
        "dead-letter topic: cleanup.policy",
        "dead-letter topic: max.message.bytes",
        "dead-letter topic: timestamps",
    }
    assert found.named("warning") == {
        "input topic: min.insync.replicas",
        "input topic: retention",
        "input topic: max.message.bytes",
        "input topic: compression.type",
        "output topic: min.insync.replicas",
        "output topic: cleanup.policy",
        "output topic: timestamps",
        "dead-letter topic: retention",
        "dead-letter topic: room for whole records",
    }
    assert found.named("unknown") == set()
    assert all(found.rows[name]["remedy"] for name in found.named("failed", "warning"))
    assert found.exit_code == 1
    assert "--add-config compression.type=uncompressed" in found.rows["input topic: compression.type"]["remedy"]
    # And more replicas in sync than there are is red
    configure(admin, topics.input, min_insync_replicas=4)
    assert check().status("input topic: min.insync.replicas") == "failed"


def test_too_few_replicas_and_missing_topics_are_not_green(
    check: Checker, topics: Topics, admin: KafkaAdminClient
) -> None:
    """Warnings stop a script only if it is strict; a topic that is missing does, and its settings are unknown."""
    single = f"{topics.output}.single"
    configs = {"max.message.bytes": "2097664", "min.insync.replicas": "1"}
    admin.create_topics({single: {"num_partitions": 1, "replication_factor": 1, "configs": configs}})
    await_topics(topics.bootstrap, single)
    found = check("--output-topic", single)
    assert found.named("warning", "failed", "unknown") == {"output topic: replication"}
    assert found.exit_code == 0
    assert check("--output-topic", single, "--strict").exit_code == 1
    found = check("--output-topic", f"{topics.output}.none")
    assert found.named("failed") == {"output topic"}
    assert {"right to write output topic", "output topic: replication", "output topic: settings"} <= found.named(
        "unknown"
    )
    assert not {name for name in found.named("ok") if "output" in name}
    assert found.exit_code == 1


def test_a_broker_that_is_down_is_red(
    check: Checker, topics: Topics, cluster: LocalCluster, admin: KafkaAdminClient
) -> None:
    """Bootstrap still works through the others; its replicas are missed, and a topic that it alone holds is red."""
    down, alone = cluster.nodes[2], f"{topics.input}.alone"
    admin.create_topics({alone: {"num_partitions": -1, "replication_factor": -1, "assignments": {0: [down.node_id]}}})
    await_topics(topics.bootstrap, alone)
    down.kill()
    try:
        assert check().status("brokers") == "failed"
        wait_until(lambda: check().status("input topic") == "warning", 60, "the replicas of the broker are missed")
        found, leaderless = check(), check("--input-topic", alone)
    finally:
        cluster.start(down)
    assert "no leader of partition 0" in leaderless.rows["input topic"]["found"]
    assert leaderless.status("input topic") == "failed"
    assert leaderless.status("right to read input topic") == "unknown"
    assert found.status("brokers") == "failed"
    assert found.status("bootstrap servers") == "warning"
    assert found.exit_code == 1


def test_an_advertised_address_that_leads_nowhere_is_red(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The bootstrap server sends clients on to a dead address: the row says so, and nothing behind it is green."""
    with LocalBroker(advertised="127.0.0.1:9") as kafka:
        found = Checker(capsys, "--bootstrap-servers", kafka.bootstrap, *FLAGS, "--bundle", str(tiny))()
    assert found.status("bootstrap servers") == "ok"
    assert found.status("brokers") == "failed"
    assert "127.0.0.1:9 refuses connections" in found.rows["brokers"]["found"]
    assert {"topics", "rights", "group", "open transactions"} <= found.named("unknown")  # without asking, one by one
    assert not {name for name in found.named("ok") if "topic" in name or "right" in name}
    assert found.exit_code == 1


def test_lag_is_shown_in_records_and_seconds_and_red_before_it_is_deleted(
    check: Checker, topics: Topics, admin: KafkaAdminClient
) -> None:
    """Records wait for five of the seven days after which they are deleted; deleted ones are counted."""
    now = int(time.time() * 1000)
    produce(topics.bootstrap, topics.input, [Record(REVIEW, partition=0, timestamp_ms=now - 100_000)] * 3)
    found = check()
    assert found.rows["lag"]["found"].startswith("3 records wait, on 1 of 2 partitions")
    waited = found.rows["lag in time"]["found"]
    assert 100 <= int(waited.removeprefix("the oldest was written ").split()[0]) < 200
    assert found.named("ok") == found.rows.keys()
    # When there are older ones on the other partition
    produce(topics.bootstrap, topics.input, [Record(REVIEW, partition=1, timestamp_ms=now - 5 * DAY_MS)] * 2)
    assert check().named("failed") == {"lag in time"}
    # When these are committed, the others are left
    place = TopicPartition(topics.input, 1)
    admin.alter_group_offsets(topics.group, {place: OffsetAndMetadata(2, "", -1)})
    assert check().named("ok") == found.rows.keys()
    # When some are deleted that the group has not read
    admin.alter_group_offsets(topics.group, {place: OffsetAndMetadata(0, "", -1)})
    admin.delete_records({place: 2})
    found = check()
    assert found.named("failed") == {"committed offsets"}
    assert "2 records of partition 1 were deleted unread" in found.rows["committed offsets"]["found"]
    # When the group is ahead of the topic
    admin.alter_group_offsets(topics.group, {place: OffsetAndMetadata(99, "", -1)})
    assert check().named("failed") == {"committed offsets"}
    # A new group that begins at the end, or at a time, has another lag
    assert check("--group-id", "new", "--start-from", "latest").rows["lag"]["found"].startswith("0 records")
    since = ("--start-from", time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - DAY_MS / 1000)))
    assert check("--group-id", "new", *since).rows["lag"]["found"].startswith("3 records")


def test_a_stranger_in_the_group_is_red(check: Checker, topics: Topics) -> None:
    """Another program under the same group id takes partitions and labels nothing."""
    consumer = KafkaConsumer(topics.input, bootstrap_servers=topics.bootstrap, group_id=topics.group, client_id="other")
    try:
        wait_until(lambda: bool(consumer.poll(100) or consumer.assignment()), 60, "the stranger has partitions")
        found = check()
    finally:
        consumer.close()
    assert found.named("failed") == {"group"}
    assert "other on " in found.rows["group"]["found"]


@pytest.mark.smoke
def test_a_worker_in_the_group_is_fine_unless_it_has_the_same_name(check: Checker, topics: Topics) -> None:
    """With static membership, a second worker of one name would fence the first."""
    consumer = KafkaConsumer(
        topics.input,
        bootstrap_servers=topics.bootstrap,
        group_id=topics.group,
        client_id="review-consumer",
        group_instance_id="one",
    )
    try:
        wait_until(lambda: bool(consumer.poll(100) or consumer.assignment()), 60, "the worker has partitions")
        found = check("--instance-id", "two", "--static-membership")
        assert found.rows["group"]["found"].endswith("has 1 members and is stable")
        assert check("--instance-id", "one", "--static-membership").named("warning") == {"group"}
    finally:
        consumer.close()


def test_a_hanging_transaction_is_red_and_the_command_of_its_row_ends_it(
    check: Checker, topics: Topics, cluster: LocalCluster
) -> None:
    """A young one is fine, an old one is not: the remedy, run as it is printed, makes the row green again."""
    producer = KafkaProducer(bootstrap_servers=topics.bootstrap, transactional_id=topics.input)
    name = "input topic: open transactions"
    with ExitStack() as ending:
        ending.callback(producer.close, timeout=5)
        producer.init_transactions()
        producer.begin_transaction()
        producer.send(topics.input, REVIEW, partition=1).get(timeout=30)
        young = check()
        assert young.named("ok") == young.rows.keys()
        assert young.rows[name]["found"].startswith("1, all younger")
        long_ago = int(time.time() * 1000) - 1_200_000
        producer.send(topics.input, REVIEW, partition=1, timestamp_ms=long_ago).get(timeout=30)
        found = check()
        assert found.named("failed") == {name}
        # When the printed command is run
        command = found.rows[name]["remedy"].rpartition("kafka-transactions.sh ")[2].split()
        assert "abort" in command
        ended = subprocess.run(tools.tool("transactions", command), capture_output=True, text=True, check=False)
        assert ended.returncode == 0, ended.stderr
        # Then readers are no longer held up
        assert check().status(name) == "ok"


def test_offsets_that_an_open_transaction_decides_are_not_green(check: Checker, topics: Topics) -> None:
    """A worker that ended in the middle of a commit: its successor waits for the transaction."""
    producer = KafkaProducer(bootstrap_servers=topics.bootstrap, transactional_id=topics.input)
    with ExitStack() as ending:
        ending.callback(producer.close, timeout=5)
        producer.init_transactions()
        producer.begin_transaction()
        producer.send_offsets_to_transaction(
            {TopicPartition(topics.input, 0): OffsetAndMetadata(0, "", -1)}, topics.group
        )
        found = check()
        assert found.status("committed offsets") == "warning"
        producer.abort_transaction()
    wait_until(lambda: check().status("committed offsets") == "ok", 30, "the offset is known again")


def test_transactions_that_do_not_work_are_red(check: Checker) -> None:
    """A timeout that the brokers do not allow: the row names both settings."""
    found = check("--transaction-timeout-seconds", "100", "--stall-timeout-seconds", "400")
    assert found.named("failed") == {"transactions"}
    assert "transaction.max.timeout.ms" in found.rows["transactions"]["remedy"]


def test_looking_changes_nothing(
    check: Checker, topics: Topics, cluster: LocalCluster, harness_on: Callable[..., Harness]
) -> None:
    """A live worker of the same group and instance id is neither fenced nor rebalanced, and no offset moves."""
    # Given an idle topic, checked several times
    for _ in range(2):
        assert check("--instance-id", "one").exit_code == 0
    # Then nothing was written, not even a marker of a transaction
    for topic in (topics.input, topics.output, topics.dead_letter):
        assert set(end_offsets(internal(cluster), topic).values()) == {0}
    assert set(committed_offsets(cluster, topics.group, topics.input).values()) == {0}
    assert check().rows["committed offsets"]["found"].startswith("none")
    # Given a worker at work
    harness = harness_on(cluster, partitions=2)
    worker = harness.worker(instance_id="one")
    harness.produce(20)
    harness.await_done()
    before = worker.log.count("partitions")
    # When its group is checked with its own id, while it works
    flags = (*harness.topics.flags, "--instance-id", "one", "--max-request-bytes", "1048576")
    assert check(*flags).status("group") == "ok"
    harness.produce(20)
    assert check(*flags).exit_code in {0, 1}
    # Then it has gone on, and each record has one result
    assert harness.finish().checked == 40
    assert len(harness.workers) == 1
    assert worker.log.count("partitions") == before
    assert "enced" not in worker.log


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureBroker]:
    """TLS, SCRAM, an authorizer."""
    with SecureBroker(tmp_path_factory.mktemp("secure")) as made:
        yield made


@pytest.fixture
def secured(
    secure: SecureBroker, tiny: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> tuple[Topics, Checker]:
    """Topics on the secured broker, for a user with no right yet, and the command for them."""
    monkeypatch.setenv("REVIEWS_SASL_PASSWORD", PASSWORD)
    name = f"s-{uuid.uuid4().hex[:8]}"
    made = Topics(secure.kafka.bootstrap, f"{name}.in", f"{name}.out", f"{name}.dlq", f"{name}.group")
    secure.kafka.create_topics(dict.fromkeys((made.input, made.output, made.dead_letter), 1))
    flags = [word for key, value in secure.settings().items() for word in (f"--{key.replace('_', '-')}", str(value))]
    return made, Checker(capsys, *made.flags, *flags, *FLAGS, "--bundle", str(tiny))


#: The row of each of the least rights of a worker.
RIGHTS = {
    "input": ("right to read input topic", ACLOperation.READ),
    "output": ("right to write output topic", ACLOperation.WRITE),
    "dead letters": ("right to write dead-letter topic", ACLOperation.WRITE),
    "group": ("right to be in the group", ACLOperation.READ),
    "transactions": ("right to transactions", ACLOperation.WRITE),
}
#: What the documented least rights leave out, and what each would show.
HELPFUL = {
    *(f"right to read {role} topic" for role in ("output", "dead-letter")),
    *(f"right to see settings of {role} topic" for role in CONFIGS),
}


def test_the_least_rights_are_enough_and_what_they_hide_is_not_green(
    secure: SecureBroker, secured: tuple[Topics, Checker]
) -> None:
    """All rights that a worker needs are green; the others warn, and settings that cannot be seen are unknown."""
    topics, check = secured
    secure.allow(topics)
    found = check()
    assert {found.status(row) for row, _ in RIGHTS.values()} == {"ok"}
    assert found.named("failed") == set()
    assert found.named("unknown") == {f"{role} topic: settings" for role in CONFIGS}
    assert found.named("warning") == HELPFUL | {f"{role} topic: replication" for role in CONFIGS}
    assert found.exit_code == 0
    assert found.status("transactions") == "ok"
    assert "user worker" in found.rows["credentials"]["found"]
    # And without a transaction, the right to write is enough to number batches
    assert check("--delivery", "at_least_once").status("right to number batches") == "ok"


@pytest.mark.parametrize("missing", RIGHTS)
def test_each_right_that_is_missing_is_red(secure: SecureBroker, secured: tuple[Topics, Checker], missing: str) -> None:
    """Denied alone, with everything else allowed: its row is red, no other right is, and the remedy grants it."""
    topics, check = secured
    secure.allow(topics)
    row, operation = RIGHTS[missing]
    secure.deny(next(right for right in rights(topics)[missing] if right[2] is operation))
    found = check()
    assert {row} == {name for name in found.named("failed") if "right" in name}
    assert found.exit_code == 1
    remedy = found.rows[row]["remedy"]
    assert "--allow-principal User:worker" in remedy
    assert f"--operation {operation.name.title()}" in remedy
    # And nothing was written to find out
    for topic in (topics.input, topics.output, topics.dead_letter):
        assert set(end_offsets(internal(secure.kafka), topic).values()) == {0}


def test_without_any_right_nothing_of_kafka_is_green_but_the_way_in(
    secure: SecureBroker, secured: tuple[Topics, Checker]
) -> None:
    """What a missing right hides is unknown, never good."""
    _, check = secured
    found = check()
    of_machine = {"settings", "bundle", "threads", "memory", "precision", "golden texts"}
    assert found.named("ok") - of_machine == {"bootstrap servers", "credentials", "brokers", "versions"}
    assert {f"{role} topic" for role in CONFIGS} <= found.named("failed")


def test_optional_rights_that_are_given_make_everything_visible(
    secure: SecureBroker, secured: tuple[Topics, Checker]
) -> None:
    """With DESCRIBE_CONFIGS and READ, no row is unknown."""
    topics, check = secured
    secure.allow(topics)
    for topic in (topics.input, topics.output, topics.dead_letter):
        rights = (ACLOperation.DESCRIBE_CONFIGS, ACLOperation.READ)
        secure.grant([(ResourceType.TOPIC, topic, right) for right in rights])
    found = check()
    assert found.named("unknown") == set()
    assert {found.status(row) for row in HELPFUL} == {"ok"}


def test_wrong_credentials_are_red_and_never_printed(
    secured: tuple[Topics, Checker], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The row of the credentials says what to check, and everything behind it is unknown."""
    _, check = secured
    monkeypatch.setenv("REVIEWS_SASL_PASSWORD", "wrong-and-secret")
    found = check()
    assert found.named("failed") == {"credentials"}
    assert "wrong user name or password" in found.rows["credentials"]["found"]
    assert "wrong-and-secret" not in str(found.rows) + found.stderr
    assert found.exit_code == 1


def test_encryption_that_does_not_fit_the_port_is_red(check: Checker, secure: SecureBroker) -> None:
    """TLS against a plaintext port, and the reverse: the address is red, and says which setting is wrong."""
    found = check("--security-protocol", "SSL")
    assert found.status("bootstrap servers") == "failed"
    assert "does not speak TLS" in found.rows["bootstrap servers"]["found"]
    found = check("--bootstrap-servers", secure.kafka.bootstrap)
    assert found.status("bootstrap servers") == "failed"
    assert "security_protocol to SASL_SSL" in found.rows["bootstrap servers"]["remedy"]
