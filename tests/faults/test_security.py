"""Unsafe connections, missing rights, and secrets that must not be logged."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from kafka.admin import ACLOperation, ResourceType

from consumer.local.broker import LocalBroker
from tests.faults.secure import PASSWORD, SecureBroker
from tests.harness import Harness
from tests.kafka_helpers import Record

pytestmark = [pytest.mark.broker, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureBroker]:
    """TLS, SCRAM, an authorizer."""
    with SecureBroker(tmp_path_factory.mktemp("secure")) as made:
        yield made


@pytest.fixture
def harness(secure: SecureBroker, harness_on: Callable[..., Harness], monkeypatch: pytest.MonkeyPatch) -> Harness:
    """Workers that know the password."""
    monkeypatch.setenv("REVIEWS_SASL_PASSWORD", PASSWORD)
    return harness_on(secure.kafka)


@pytest.mark.smoke
def test_row_28_the_least_rights_over_tls_are_enough(harness: Harness, secure: SecureBroker) -> None:
    """With encryption, a password and only the documented rights, each record has one result."""
    # Given a user with those rights
    secure.allow(harness.topics)
    harness.produce(200, bad=0.05)
    harness.watch()
    # When it works, then all is done, and the password is in no log
    worker = harness.worker(**secure.settings())
    assert harness.finish().checked == 200
    assert PASSWORD not in worker.log
    # And what it may not see is no failure
    assert f"cannot see compression.type of {harness.topics.input}" in worker.log


@pytest.mark.smoke
def test_row_28_a_wrong_password_is_refused_at_once(
    harness: Harness, secure: SecureBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 4 with the cause, long before the start timeout, and without the password."""
    # Given a wrong password
    monkeypatch.setenv("REVIEWS_SASL_PASSWORD", "wrong-and-secret")
    worker = harness.worker(**secure.settings(start_timeout_seconds=60))
    # Then the start is refused
    assert worker.wait_exit(45) == 4
    assert "wrong user name or password" in worker.last_line
    assert "wrong-and-secret" not in worker.log


@pytest.mark.parametrize("fault", ["another host", "expired", "another authority", "plaintext"])
def test_row_28_a_link_that_is_not_safe_is_refused(
    harness: Harness, secure: SecureBroker, tmp_path: Path, fault: str
) -> None:
    """A certificate for another host, an expired one, one of a stranger: exit code 4, and never plaintext instead."""
    # Given one of these
    settings = secure.settings()
    match fault:
        case "another host":
            secure.use_certificate("elsewhere.example")
        case "expired":
            secure.use_certificate("127.0.0.1", datetime.now(UTC) - timedelta(days=1))
        case "another authority":
            settings["ssl_cafile"] = SecureBroker(tmp_path).authority_file
        case "plaintext":
            settings["security_protocol"] = "SASL_PLAINTEXT"
            del settings["ssl_cafile"]
    try:
        # When a worker starts, then it is refused and says what to look at
        worker = harness.worker(**settings)
        assert worker.wait_exit(60) == 4, worker.log
        assert ("speaks TLS; set security_protocol" if fault == "plaintext" else "certificate") in worker.last_line
    finally:
        if fault in {"another host", "expired"}:
            secure.use_certificate("127.0.0.1")


@pytest.mark.parametrize("protocol", ["SSL", "SASL_SSL"])
def test_row_28_an_encrypted_link_to_a_plaintext_port_is_refused(
    kafka: LocalBroker, harness_on: Callable[..., Harness], monkeypatch: pytest.MonkeyPatch, protocol: str
) -> None:
    """The reverse: the worker names the port and the setting, and nothing is sent unencrypted."""
    settings: dict[str, object] = {"security_protocol": protocol, "start_timeout_seconds": 6}
    if protocol == "SASL_SSL":
        monkeypatch.setenv("REVIEWS_SASL_PASSWORD", PASSWORD)
        settings["sasl_username"] = "worker"
    worker = harness_on(kafka).worker(**settings)
    assert worker.wait_exit(60) == 4
    assert f"{kafka.bootstrap} does not speak TLS" in worker.last_line


@pytest.mark.parametrize("protocol", ["PLAINTEXT", "SSL", "SASL_SSL"])
def test_row_28_a_scheme_in_an_address_never_leads_to_an_unencrypted_link(
    kafka: LocalBroker, harness_on: Callable[..., Harness], monkeypatch: pytest.MonkeyPatch, protocol: str
) -> None:
    """`SASL_SSL://host:port`, as some consoles give it, before a broker without TLS: exit code 2, and no connection."""
    if protocol == "SASL_SSL":
        monkeypatch.setenv("REVIEWS_SASL_PASSWORD", PASSWORD)
        monkeypatch.setenv("REVIEWS_SASL_USERNAME", "worker")
    worker = harness_on(kafka).worker(
        bootstrap_servers=f"SASL_SSL://{kafka.bootstrap}", security_protocol=protocol, drain=True
    )
    assert worker.wait_exit(60) == 2
    assert "write host:port; set security_protocol to SASL_SSL" in worker.last_line


@pytest.mark.parametrize("missing", ["input", "output", "dead letters", "group", "transactions"])
def test_row_28_each_missing_right_is_named(harness: Harness, secure: SecureBroker, missing: str) -> None:
    """Without one of its rights the worker does not start, and names what it may not use."""
    # Given all rights but one
    secure.allow(harness.topics, without=[missing])
    harness.produce(10)
    worker = harness.worker(**secure.settings(start_timeout_seconds=8))
    # Then it ends with the code for an unusable Kafka, and commits nothing
    assert worker.wait_exit(90) == 4, worker.log
    assert any(sign in worker.last_line for sign in ("Authorization", "this user may not see it"))
    assert harness.committed() == 0


@pytest.mark.smoke
def test_row_19_the_right_to_write_dead_letters_is_withdrawn(harness: Harness, secure: SecureBroker) -> None:
    """A worker that may no longer write dead letters stops; it neither drops nor skips what should go there."""
    # Given a worker at work
    secure.allow(harness.topics)
    harness.produce(50)
    worker = harness.worker(**secure.settings())
    harness.await_done()
    # When the right is withdrawn, and a bad record comes
    secure.deny((ResourceType.TOPIC, harness.topics.dead_letter, ACLOperation.WRITE))
    harness.produce_records([Record(b"broken", partition=0)])
    # Then the worker gives up, says why, and commits nothing of it
    assert worker.wait_exit(90) == 5
    assert "uthoriz" in worker.last_line
    assert harness.committed() == 50


def test_row_31_without_the_right_to_read_results_commits_are_believed(harness: Harness, secure: SecureBroker) -> None:
    """A worker that may not read its output topics labels as ever, and says once that it cannot compare."""
    # Given a group that has labelled reviews with the least rights
    secure.allow(harness.topics)
    harness.produce(50)
    harness.worker(**secure.settings())
    harness.await_done()
    harness.stop()
    # When the next worker of the group starts
    worker = harness.worker(**secure.settings())
    harness.produce(50)
    # Then it continues
    assert harness.finish().checked == 100
    assert worker.log.count("committed offsets are not compared with results: no right to read them") == 1
