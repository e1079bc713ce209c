"""The local broker is a real Kafka that is ready when it says so."""

import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from kafka import KafkaProducer
from kafka.admin import ConfigResource
from kafka.errors import KafkaTimeoutError

from consumer.errors import KafkaUnusable, UsageError
from consumer.local import tools
from consumer.local.broker import LocalBroker
from consumer.local.node import HOST, Ports
from tests.kafka_helpers import Record, Topics, end_offsets, produce, read_all

# Each test starts brokers of its own; a machine that is busy besides needs its time.
pytestmark = [pytest.mark.broker, pytest.mark.timeout(300)]


def test_what_was_produced_is_read_back_with_key_headers_and_order(topics: Topics) -> None:
    """Records come back as they were sent, in order per partition."""
    # Given ten records in one partition, one of them a tombstone
    sent = [Record(b"%d" % n if n else None, b"key", [("trace", b"a")], 1) for n in range(10)]
    # When they are produced and the topic is read to its end
    acknowledged = produce(topics.bootstrap, topics.input, sent)
    read = read_all(topics.bootstrap, topics.input)
    # Then they are the same, and the other partitions are empty
    assert [(r.value, r.key, list(r.headers), r.partition) for r in read] == [
        (r.value, r.key, list(r.headers), 1) for r in sent
    ]
    assert [r.offset for r in read] == [r.offset for r in acknowledged] == list(range(10))
    assert end_offsets(topics.bootstrap, topics.input) == {0: 0, 1: 10, 2: 0, 3: 0}


def test_a_reader_of_committed_records_does_not_see_an_aborted_transaction(topics: Topics) -> None:
    """Transactions work: what was aborted is invisible to `read_committed` and visible without."""
    # Given an aborted and a committed transaction
    producer = KafkaProducer(bootstrap_servers=topics.bootstrap, transactional_id=topics.group)
    producer.init_transactions()
    for value, finish in ((b"aborted", producer.abort_transaction), (b"committed", producer.commit_transaction)):
        producer.begin_transaction()
        producer.send(topics.input, value=value, partition=0)
        producer.flush()
        finish()
    producer.close()
    # Then only the committed one is seen by a reader of committed records
    assert [r.value for r in read_all(topics.bootstrap, topics.input)] == [b"committed"]
    assert [r.value for r in read_all(topics.bootstrap, topics.input, committed=False)] == [b"aborted", b"committed"]


def test_topics_are_created_with_the_configuration_asked_for(kafka: LocalBroker, topics: Topics) -> None:
    """Partitions and topic configuration are those that were asked for."""
    name = f"{topics.group}.configured"
    # When a topic is created with a limit of its own
    kafka.create_topics({name: 3}, {"max.message.bytes": "12345"})
    # Then the cluster reports it, and asking again with exist_ok changes nothing
    kafka.create_topics({name: 7}, exist_ok=True)
    with kafka.admin() as admin:
        (described,) = admin.describe_topics([name])
        configs = admin.describe_configs([ConfigResource("topic", name, ["max.message.bytes"])])
    assert len(described["partitions"]) == 3
    assert "12345" in str(configs)


def test_kafkas_own_console_producer_is_a_foreign_client(topics: Topics) -> None:
    """The tools among the jars talk to the broker, with their own arguments, input and exit code."""
    tool = [sys.executable, "-m", "consumer", "kafka", "--tool", "console-producer"]
    arguments = ["--bootstrap-server", topics.bootstrap, "--topic", topics.input]
    # When lines are piped into Kafka's console producer
    done = subprocess.run(
        [*tool, *arguments], input="one\ntwo\n", text=True, check=False, capture_output=True, timeout=60
    )
    # Then each is a record
    assert done.returncode == 0, done.stderr
    assert sorted(r.value or b"" for r in read_all(topics.bootstrap, topics.input)) == [b"one", b"two"]
    # And what it refuses ends with its own exit code
    refused = subprocess.run(
        tools.tool("console-producer", ["--nonsense"]), check=False, capture_output=True, timeout=60
    )
    assert refused.returncode == 1


def test_a_port_that_is_taken_is_wrong_usage(kafka: LocalBroker, tmp_path: Path) -> None:
    """A fixed port that is in use gives one line and exit code 2, and leaves nothing behind."""
    with pytest.raises(UsageError, match=f"port {kafka.port} .* is in use"), LocalBroker(port=kafka.port):
        pass
    done = subprocess.run(
        [sys.executable, "-m", "consumer", "kafka", "--port", str(kafka.port)],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert not list(tmp_path.iterdir())


def test_data_outlives_kill_stop_and_a_new_start_in_the_same_directory(tmp_path: Path) -> None:
    """A broker comes back on its port with its records: after SIGKILL, after a stop, and in a later program."""
    # Given a broker with a data directory of its own and one record
    with LocalBroker(data_dir=tmp_path) as kafka:
        kafka.create_topics({"kept": 1})
        produce(kafka.bootstrap, "kept", [b"first"])
        port, pid = kafka.port, kafka.pid
        # Then no other broker gets at the same data
        with pytest.raises(UsageError, match="another broker uses"), LocalBroker(data_dir=tmp_path):
            pass
        # When it is killed and started again
        kafka.kill()
        kafka.start()
        # Then it is another process on the same port with the same record
        assert (kafka.port, kafka.pid != pid) == (port, True)
        assert [r.value for r in read_all(kafka.bootstrap, "kept")] == [b"first"]
        # And frozen, it answers no request until it is resumed
        producer = KafkaProducer(bootstrap_servers=kafka.bootstrap, acks="all")
        producer.partitions_for("kept")
        kafka.pause()
        waiting = producer.send("kept", b"second")
        with pytest.raises(KafkaTimeoutError):
            waiting.get(timeout=1)
        kafka.resume()
        assert waiting.get(timeout=30).offset == 1
        producer.close()
    # And a later broker in the same directory, on another port, still has them
    with LocalBroker(data_dir=tmp_path) as kafka:
        assert [r.value for r in read_all(kafka.bootstrap, "kept")] == [b"first", b"second"]


def test_a_directory_that_cannot_be_used_is_wrong_usage(tmp_path: Path) -> None:
    """A data directory below a file is refused with a way out."""
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="--data-dir"), LocalBroker(data_dir=tmp_path / "file" / "data"):
        pass


def test_a_port_that_is_taken_at_the_last_moment_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between choosing a free port and Kafka's bind, another program may take it: another one is tried."""
    # Given a choice of ports that is out of date the first time
    choose = Ports.free
    with socket.create_server((HOST, 0)) as faster:
        stale = [replace(choose(), controller=faster.getsockname()[1])]
        monkeypatch.setattr(Ports, "free", lambda client=None: stale.pop() if stale else choose(client))
        # Then the broker is ready on others
        with LocalBroker() as kafka:
            assert not stale
            assert kafka.node.ports.controller != faster.getsockname()[1]


def test_the_listener_for_clients_may_ask_for_a_password() -> None:
    """Security is a matter of properties; readiness and topics do not depend on it."""
    login = "org.apache.kafka.common.security.plain.PlainLoginModule required"
    properties = {
        "listener.name.client.sasl.enabled.mechanisms": "PLAIN",
        "listener.name.client.plain.sasl.jaas.config": f'{login} user_worker="sesame";',
    }
    client = {
        "security_protocol": "SASL_PLAINTEXT",
        "sasl_mechanism": "PLAIN",
        "sasl_plain_username": "worker",
        "api_version": (4, 0),  # kafka-python leaks its sockets where it fails while it asks for the version
        "max_block_ms": 2000,
    }
    # Given a broker that knows one user
    with LocalBroker(protocol="SASL_PLAINTEXT", properties=properties) as kafka:
        kafka.create_topics({"guarded": 1})
        # Then the right password gets in and a wrong one does not
        produce(kafka.bootstrap, "guarded", [b"open"], sasl_plain_password="sesame", **client)
        with pytest.raises(KafkaTimeoutError):
            produce(kafka.bootstrap, "guarded", [b"shut"], sasl_plain_password="wrong", **client)


def test_a_property_that_kafka_refuses_is_reported_with_its_reason() -> None:
    """A broker that cannot start says why, in Kafka's words."""
    with pytest.raises(KafkaUnusable, match=r"num\.io\.threads"), LocalBroker(properties={"num.io.threads": "many"}):
        pass
