"""Settings that cannot work are refused with the fix in the message; secrets never show."""

import logging
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from kafka.errors import KafkaConfigurationError
from kafka.producer.record_accumulator import RecordAccumulator

from consumer import run
from consumer.errors import UsageError
from consumer.flags import described, groups, is_secret
from consumer.service import logs
from consumer.settings import WorkerSettings
from consumer.settings.sources import Sourced, read_settings
from consumer.settings.times import LINGER_SECONDS
from consumer.usage import Parser

SECRET = "hunter2-secret"


def source(*flags: str) -> Sourced:
    """Read the settings that `flags`, the environment and files give."""
    parser = Parser()
    run.add_arguments(parser)
    return read_settings(parser.parse_args(flags))


def read(*flags: str) -> WorkerSettings:
    """The settings alone."""
    return source(*flags).settings


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.upper().startswith("REVIEWS_"):
            monkeypatch.delenv(name)


def test_flags_win_over_environment_and_environment_over_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The documented order holds for one setting given in three places."""
    file = tmp_path / "worker.toml"
    file.write_text('group_id = "file"\noutput_topic = "from-file"\nmetrics_port = 0\n')
    monkeypatch.setenv("REVIEWS_GROUP_ID", "environment")
    assert read("--config", str(file), "--group-id", "flag").group_id == "flag"
    settings = read("--config", str(file))
    assert (settings.group_id, settings.output_topic, settings.metrics_port) == ("environment", "from-file", 0)


def test_a_beginning_is_a_word_or_a_time(tmp_path: Path) -> None:
    """As a flag, and as a date of the settings file."""
    file = tmp_path / "worker.toml"
    file.write_text("start_from = 2026-11-01T01:00:00+01:00\n")
    midnight = datetime(2026, 11, 1, tzinfo=UTC)
    assert read("--config", str(file)).start_from == midnight
    assert read("--start-from", "2026-11-01T00:00:00Z").start_from == midnight
    assert [read("--start-from", word).start_from for word in ("earliest", "latest")] == ["earliest", "latest"]
    assert read().start_from == "earliest"


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (("--output-topic", "reviews"), "three different topics"),
        (("--dead-letter-topic", "reviews.labeled"), "three different topics"),
        (("--input-topic", "no spaces"), "input_topic"),
        (("--bootstrap-servers", "localhost"), "host:port"),
        (("--bootstrap-servers", "a:1,b:x"), "host:port"),
        (("--delivery", "at_most_once"), "delivery"),
        (("--metrics-port", "70000"), "metrics_port"),
        (("--metrics-port", "http"), "metrics_port"),
        (("--static-membership",), "instance_id"),
        (("--security-protocol", "SASL_SSL"), "REVIEWS_SASL_PASSWORD"),
        (("--ssl-cafile", "/does/not/exist.pem"), "ssl_cafile"),
        (("--text-field", "id"), "text_field"),
        (("--input-topic", ".."), "no topics named"),
        (("--request-timeout-seconds", "501", "--max-poll-interval-seconds", "2000"), "request_timeout_seconds"),
        (("--config", "/does/not/exist.toml"), "does not exist"),
        (("--config", "/tmp"), "is not a file"),
        (("--sasl-username", "worker"), "a user name or password is set but security_protocol is PLAINTEXT"),
        (("--sasl-token-command", "true"), "a token command is set but security_protocol is PLAINTEXT"),
        (("--sasl-token-command", "no-such-program --flag"), "its program does not exist"),
        (("--sasl-token-command", "true 'unclosed"), "is no command"),
        (("--sasl-token-command", " "), "is no command"),
        (
            ("--security-protocol", "SASL_SSL", "--sasl-mechanism", "OAUTHBEARER", "--sasl-username", "worker"),
            "OAUTHBEARER needs sasl_token_command, and neither",
        ),
        (
            ("--security-protocol", "SASL_SSL", "--sasl-token-command", "true"),
            "SASL_SSL needs sasl_username and sasl_password",
        ),
        (
            (
                *("--security-protocol", "SASL_PLAINTEXT", "--sasl-mechanism", "OAUTHBEARER"),
                *("--sasl-token-command", "true", "--bootstrap-servers", "kafka.example:9092"),
            ),
            "sends the password or token unencrypted",
        ),
        (("--start-from", "yesterday"), "must be earliest, latest, or a time with its zone"),
        (("--start-from", "2026-11-01T00:00:00"), "must be earliest, latest, or a time with its zone"),
        (("--start-from", "1960-11-01T00:00:00Z"), "must be earliest, latest, or a time with its zone"),
        (("--value-framing", "avro"), "value_framing"),
        (("--ssl-cafile", __file__), "certificates are set but security_protocol is PLAINTEXT"),
        (("--security-protocol", "SSL", "--ssl-cafile", "/tmp"), "ssl_cafile: cannot be read; set it to a PEM file"),
        (("--security-protocol", "SSL", "--ssl-cafile", __file__), "ssl_cafile holds no certificates in PEM"),
        (("--security-protocol", "SSL", "--ssl-certfile", __file__), "needs both ssl_certfile and ssl_keyfile"),
    ],
)
def test_impossible_settings_are_refused_with_the_fix(flags: tuple[str, ...], says: str) -> None:
    """The message contains the setting or the fix, in one line."""
    with pytest.raises(UsageError, match=says) as refused:
        read(*flags)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("text", ["group_id = ", "no_such_setting = 1", 'metrics_port = "many"'])
def test_a_bad_settings_file_is_a_usage_error(tmp_path: Path, text: str) -> None:
    """A file that is not TOML, or contains unknown settings, is reported in one line."""
    file = tmp_path / "worker.toml"
    file.write_text(text)
    with pytest.raises(UsageError):
        read("--config", str(file))


@pytest.mark.parametrize(("content", "says"), [(b'group_id = "\xff"', "it is not UTF-8"), (None, "cannot be read")])
def test_a_settings_file_that_cannot_be_read_is_a_usage_error(tmp_path: Path, content: bytes | None, says: str) -> None:
    """Bytes that are not text, or a file that cannot be read, are reported in one line."""
    file = tmp_path / "worker.toml"
    if content is None:
        file = Path("/proc/self/mem")  # fails for root as well
    else:
        file.write_bytes(content)
    with pytest.raises(UsageError, match=f"{file}.*{says}"):
        read("--config", str(file))


@pytest.mark.parametrize(
    ("named", "says"), [("reviews_sasl_password", "directory"), ("none", "directory"), ("", "sasl_password")]
)
def test_secrets_that_cannot_be_read_are_a_usage_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: str, says: str
) -> None:
    """A file instead of a directory, or a secret that is not text: one line, which repeats nothing of the secret."""
    (tmp_path / "reviews_sasl_password").write_bytes(SECRET.encode() + b"\xff")
    monkeypatch.setenv("REVIEWS_SECRETS_DIR", str(tmp_path / named))
    with pytest.raises(UsageError, match=f"REVIEWS_SECRETS_DIR.*{says}") as refused:
        read()
    assert SECRET not in str(refused.value)
    assert "xff" not in str(refused.value)


def test_secrets_have_no_flag_and_never_show(monkeypatch: pytest.MonkeyPatch) -> None:
    """A password comes from the environment; neither repr, str nor an error repeats it."""
    monkeypatch.setenv("REVIEWS_SASL_PASSWORD", SECRET)
    monkeypatch.setenv("REVIEWS_SASL_USERNAME", "worker")
    settings = read("--security-protocol", "SASL_SSL")
    assert settings.sasl_password is not None
    assert settings.sasl_password.get_secret_value() == SECRET
    assert SECRET not in repr(settings) + str(settings) + str(settings.model_dump())
    with pytest.raises(UsageError) as refused:
        read("--security-protocol", "PLAINTEXT")
    assert SECRET not in str(refused.value)
    with pytest.raises(SystemExit):
        read("--sasl-password", SECRET)


def test_a_secret_may_come_from_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Mounted secrets are read from REVIEWS_SECRETS_DIR, one file each."""
    (tmp_path / "reviews_sasl_password").write_text(SECRET)
    monkeypatch.setenv("REVIEWS_SECRETS_DIR", str(tmp_path))
    monkeypatch.setenv("REVIEWS_SASL_USERNAME", "worker")
    settings = read("--security-protocol", "SASL_SSL")
    assert settings.sasl_password is not None
    assert settings.sasl_password.get_secret_value() == SECRET


def test_unknown_variables_and_secret_files_are_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A misspelt name sets nothing, so it is logged; empty variables and the hidden files of Kubernetes are not."""
    for name in ("sasl_password", "..data"):
        (tmp_path / name).write_text(SECRET)
    monkeypatch.setenv("REVIEWS_SECRETS_DIR", str(tmp_path))
    monkeypatch.setenv("REVIEWS_GROUPID", SECRET)
    monkeypatch.setenv("REVIEWS_EMPTY", "")
    [warning] = source().warnings
    assert f"REVIEWS_GROUPID, {tmp_path}/sasl_password (" in warning
    assert "REVIEWS_EMPTY" not in warning
    assert SECRET not in warning


def test_a_client_certificate_is_opened_with_its_key_and_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the client would take for a broker that does not answer, or ask a terminal for, is refused at once."""
    authority = trustme.CA()
    client, other = authority.issue_cert("worker"), authority.issue_cert("other")
    [certificate] = client.cert_chain_pems
    for name, content in (
        ("authority", authority.cert_pem.bytes()),
        ("certificate", certificate.bytes()),
        ("key", client.private_key_pem.bytes()),
        ("foreign", other.private_key_pem.bytes()),
        ("locked", _locked(client.private_key_pem.bytes(), SECRET)),
    ):
        (tmp_path / name).write_bytes(content)

    def with_key(name: str) -> WorkerSettings:
        files = {"--ssl-cafile": "authority", "--ssl-certfile": "certificate", "--ssl-keyfile": name}
        flags = (part for flag, file in files.items() for part in (flag, str(tmp_path / file)))
        return read("--security-protocol", "SSL", *flags)

    assert with_key("key").ssl_keyfile == tmp_path / "key"
    for name, password in (("foreign", None), ("certificate", None), ("locked", None), ("locked", "wrong")):
        if password:
            monkeypatch.setenv("REVIEWS_SSL_KEY_PASSWORD", password)
        with pytest.raises(UsageError, match="set REVIEWS_SSL_KEY_PASSWORD"):
            with_key(name)
    monkeypatch.setenv("REVIEWS_SSL_KEY_PASSWORD", SECRET)
    assert with_key("locked").ssl_keyfile == tmp_path / "locked"


def _locked(key: bytes, password: str) -> bytes:
    """A PEM key that is encrypted with `password`."""
    encryption = BestAvailableEncryption(password.encode())
    return load_pem_private_key(key, None).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)


def test_a_password_is_never_sent_in_the_clear_to_another_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """PLAIN without TLS is for this machine only."""
    monkeypatch.setenv("REVIEWS_SASL_PASSWORD", SECRET)
    monkeypatch.setenv("REVIEWS_SASL_USERNAME", "worker")
    flags = ("--security-protocol", "SASL_PLAINTEXT", "--sasl-mechanism", "PLAIN", "--bootstrap-servers")
    assert read(*flags, "127.0.0.1:9092").on_this_machine
    with pytest.raises(UsageError, match="unencrypted"):
        read(*flags, "kafka.example.org:9092")


def test_settings_are_frozen_and_ids_unique() -> None:
    """Nothing changes after start, and two workers without an instance id never share a transactional id."""
    first, second = read(), read()
    assert first.transactional_id == first.transactional_id != second.transactional_id
    assert read("--instance-id", "pod-1").transactional_id == "review-consumer/pod-1"
    groups = (
        read("--group-id", "reviews", "--instance-id", "eu-1"),
        read("--group-id", "reviews-eu", "--instance-id", "1"),
    )
    assert groups[0].transactional_id != groups[1].transactional_id
    with pytest.raises(ValueError, match="frozen"):
        first.group_id = "other"  # type: ignore[misc]


#: Pairs of settings that can contradict each other: what both sides of the limit have in common, the one that moves,
#: its last value that works, and the first one that does not.
PAIRS: tuple[tuple[dict[str, Any], str, object, object, str], ...] = (
    ({"max_poll_interval_seconds": 100}, "poll_target_seconds", 20, 20.1, "a fifth of max_poll_interval_seconds"),
    ({"max_poll_interval_seconds": 100}, "session_timeout_seconds", 100, 101, "at most max_poll_interval_seconds"),
    ({"max_poll_interval_seconds": 100}, "request_timeout_seconds", 49.9, 50, "half of max_poll_interval_seconds"),
    ({"watchdog_seconds": 20}, "request_timeout_seconds", 15, 15.1, "longest wait for one response"),
    ({"poll_target_seconds": 60}, "watchdog_seconds", 120, 119, "twice poll_target_seconds"),
    ({"stop_timeout_seconds": 100}, "watchdog_seconds", 101, 100, "above stop_timeout_seconds"),
    ({"max_poll_interval_seconds": 100}, "transaction_timeout_seconds", 99, 100, "below max_poll_interval_seconds"),
    ({"transaction_timeout_seconds": 50}, "stall_timeout_seconds", 51, 50, "above transaction_timeout_seconds"),
    ({"request_timeout_seconds": 5}, "broker_timeout_seconds", 10, 9, "broker_timeout_seconds"),
    ({"text_field": "body"}, "id_field", "id", "body", "must differ"),
    ({"input_topic": "a"}, "output_topic", "b", "a", "three different topics"),
    ({"static_membership": True}, "instance_id", "pod-1", None, "static_membership needs instance_id"),
)


@pytest.mark.parametrize(("common", "name", "works", "fails", "says"), PAIRS)
def test_each_pair_of_settings_works_up_to_its_limit(
    common: dict[str, Any], name: str, works: object, fails: object, says: str
) -> None:
    """Below the limit the worker starts; beyond it, the message names the setting and the one that it contradicts."""
    assert WorkerSettings.model_validate({**common, name: works})
    with pytest.raises(ValueError, match=says) as refused:
        WorkerSettings.model_validate({**common, name: fails})
    assert name in str(refused.value)


def test_every_time_is_in_a_pair_or_has_no_opposite() -> None:
    """A new time is a decision: it contradicts another one, or it is listed here."""
    no_opposite = {"start_timeout_seconds", "metadata_max_age_seconds"}
    times = {name for name in WorkerSettings.model_fields if name.endswith("_seconds")}
    in_a_pair = {each for common, name, *_ in PAIRS for each in (*common, name)}
    assert times - in_a_pair == no_opposite
    assert len(times) == 11


def test_a_worker_without_transactions_needs_no_time_for_them() -> None:
    """The limits of transaction_timeout_seconds hold for exactly-once delivery only."""
    times = {"transaction_timeout_seconds": 300, "stall_timeout_seconds": 100}
    assert WorkerSettings.model_validate({**times, "delivery": "at_least_once"})
    with pytest.raises(ValueError, match=r"below max_poll_interval_seconds.*; stall_timeout_seconds"):
        WorkerSettings.model_validate(times)


def test_delivery_ends_within_the_poll_interval_and_the_patience_for_brokers() -> None:
    """One number is derived from three, so a longer poll interval alone needs no other change."""
    assert WorkerSettings().delivery_timeout_seconds == 150
    assert WorkerSettings(max_poll_interval_seconds=100).delivery_timeout_seconds == 50
    assert WorkerSettings(max_poll_interval_seconds=1200).delivery_timeout_seconds == 300  # of broker_timeout_seconds
    patient = {"max_poll_interval_seconds": 1200, "broker_timeout_seconds": 900}
    assert WorkerSettings.model_validate(patient).delivery_timeout_seconds == 600
    assert WorkerSettings(broker_timeout_seconds=60).delivery_timeout_seconds == 60
    assert WorkerSettings(broker_timeout_seconds=25).delivery_timeout_seconds == 31  # a request may take 30


def test_the_watchdog_outlasts_every_request() -> None:
    """Else it would end a worker that only waits for a response, within the time that the response has."""
    long = {"max_poll_interval_seconds": 1200, "request_timeout_seconds": 500}
    with pytest.raises(ValueError, match=r"watchdog_seconds .180. must be at least request_timeout_seconds .500. . 5"):
        WorkerSettings.model_validate(long)
    assert WorkerSettings.model_validate({**long, "watchdog_seconds": 505})


def test_the_client_accepts_what_the_settings_accept() -> None:
    """At the limit of the request timeout, which the client checks itself, it raises nothing."""
    limit = WorkerSettings().max_poll_interval_seconds / 2 - LINGER_SECONDS
    settings = WorkerSettings(request_timeout_seconds=limit)
    times = {
        "delivery_timeout_ms": int(settings.delivery_timeout_seconds * 1000),
        "request_timeout_ms": int(settings.request_timeout_seconds * 1000),
    }
    assert RecordAccumulator(**times, linger_ms=int(LINGER_SECONDS * 1000))
    with pytest.raises(KafkaConfigurationError):
        RecordAccumulator(**times, linger_ms=int(LINGER_SECONDS * 1000) + 1)


EMPTY = ("SASL_USERNAME", "SASL_PASSWORD", "SSL_CAFILE", "INSTANCE_ID", "THREADS", "DRAIN", "CONFIG", "SECRETS_DIR")


def test_an_empty_variable_is_not_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compose passes `VAR=` for a value that was not given: the settings file or the default holds."""
    for name in (*EMPTY, "GROUP_ID", "METRICS_PORT"):
        monkeypatch.setenv(f"REVIEWS_{name}", "")
    assert read() == WorkerSettings()
    file = tmp_path / "worker.toml"
    file.write_text('group_id = "file"\n')
    sourced = source("--config", str(file))
    assert sourced.settings.group_id == "file"
    assert sourced.origins == f"settings file {file}: group_id"
    assert sourced.warnings == ()


def test_an_empty_secret_file_is_not_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A secret without content is a secret that was not given."""
    (tmp_path / "reviews_sasl_password").write_text("\n")
    monkeypatch.setenv("REVIEWS_SECRETS_DIR", str(tmp_path))
    assert read().sasl_password is None


def test_reading_settings_changes_no_environment(tmp_path: Path) -> None:
    """What is read a second time does not depend on the first."""
    file = tmp_path / "worker.toml"
    file.write_text('group_id = "file"\n')
    before = dict(os.environ)
    assert read("--config", str(file)).group_id == "file"
    assert dict(os.environ) == before
    assert read().group_id == "review-consumer"


def test_settings_alone_take_nothing_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only `read_settings` looks there: a settings object in a program is what the program says."""
    monkeypatch.setenv("REVIEWS_GROUP_ID", "environment")
    assert (WorkerSettings().group_id, read().group_id) == ("review-consumer", "environment")


def test_the_log_says_where_settings_come_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Two lines at the start: what the worker does, and the names of flags, variables and files; never a value."""
    secrets, file = tmp_path / "secrets", tmp_path / "worker.toml"
    secrets.mkdir()
    (secrets / "reviews_sasl_password").write_text(SECRET)
    (secrets / "reviews_sasl_password").chmod(0o600)
    file.write_text('group_id = "reviews-eu"\nthreads = 3\nmetrics_port = 0\n')
    monkeypatch.setenv("REVIEWS_SECRETS_DIR", str(secrets))
    monkeypatch.setenv("REVIEWS_SASL_USERNAME", "worker-name")
    monkeypatch.setenv("REVIEWS_THREADS", "2")
    monkeypatch.setattr(run, "serve", lambda *_: 0)
    monkeypatch.setattr(logs, "set_up", lambda *_: None)
    caplog.set_level(logging.INFO)
    parser = Parser()
    run.add_arguments(parser)
    flags = ["--config", str(file), "--security-protocol", "SASL_SSL", "--input-topic", "in"]
    assert run.run(parser.parse_args(flags)) == 0
    what, where = (record.getMessage() for record in caplog.records)
    for part in ("review-consumer 0.1.0", "reviews-eu", " in ", "reviews.labeled", "exactly_once", "2 threads"):
        assert part in what
    assert where == (
        "settings from flags: --input-topic, --security-protocol; variables: REVIEWS_SASL_USERNAME, REVIEWS_THREADS; "
        f"secret files in {secrets}: sasl_password; settings file {file}: group_id, metrics_port"
    )
    assert not any(value in what + where for value in (SECRET, "worker-name"))


def test_a_secret_that_every_user_can_read_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A settings file, a secret file or a private key with such a mode: one warning each, which says what to run."""
    file, secrets = tmp_path / "worker.toml", tmp_path / "secrets"
    secrets.mkdir()
    password, name = secrets / "reviews_sasl_password", secrets / "reviews_sasl_username"
    file.write_text(f'sasl_password = "{SECRET}"\n')
    password.write_text(SECRET)
    name.write_text("worker")
    client = trustme.CA().issue_cert("worker")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    key.write_bytes(client.private_key_pem.bytes())
    certificate.write_bytes(client.cert_chain_pems[0].bytes())
    monkeypatch.setenv("REVIEWS_SECRETS_DIR", str(secrets))
    flags = ["--config", str(file), "--security-protocol", "SASL_SSL"]
    flags += ["--ssl-keyfile", str(key), "--ssl-certfile", str(certificate)]
    for mode, warned in ((0o644, (file, password, key)), (0o640, ()), (0o600, ())):
        for path in (file, password, key, name, certificate):
            path.chmod(mode)
        warnings = source(*flags).warnings
        assert [warning.partition(" ")[0] for warning in warnings] == [str(path) for path in warned]
        assert all(warning.endswith("run chmod o-r on it") for warning in warnings)
        assert SECRET not in "".join(warnings)


def test_a_settings_file_without_a_secret_may_be_read_by_everyone(tmp_path: Path) -> None:
    """A warning that is always there is not read."""
    file = tmp_path / "worker.toml"
    file.write_text('group_id = "file"\n')
    file.chmod(0o644)
    assert source("--config", str(file)).warnings == ()


def test_every_setting_says_what_it_means_and_its_default() -> None:
    """In one group each; settings whose default is worked out say how."""
    seen = [name for _, fields in groups(WorkerSettings) for name in fields]
    assert sorted(seen) == sorted(WorkerSettings.model_fields)
    for name, field in WorkerSettings.model_fields.items():
        meaning, default = described(field)
        assert meaning and default, name  # noqa: PT018
        assert name.endswith("password") == is_secret(field)


@pytest.mark.parametrize(("session", "heartbeat"), [(1, 1 / 3), (2, 2 / 3), (3, 1), (10, 1), (45, 1)])
def test_heartbeats_come_every_second_and_three_times_a_session(session: float, heartbeat: float) -> None:
    """Workers learn of a rebalance by a heartbeat, so a long session makes heartbeats no rarer."""
    settings = read("--session-timeout-seconds", str(session))
    assert settings.heartbeat_seconds == pytest.approx(heartbeat)
