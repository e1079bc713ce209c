"""Settings that cannot work are refused with the fix in the message; secrets never show."""

import argparse
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from consumer import run
from consumer.errors import UsageError
from consumer.settings import WorkerSettings

SECRET = "hunter2-secret"


def read(*flags: str) -> WorkerSettings:
    """Parse `flags` as the command line does."""
    parser = argparse.ArgumentParser(allow_abbrev=False)
    run.add_arguments(parser)
    return run.read_settings(parser.parse_args(flags))


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CONFIG", "GROUP_ID", "SECRETS_DIR", "DRAIN"):
        # Set and then deleted, so that what the code sets itself is undone as well.
        monkeypatch.setenv(f"REVIEWS_{name}", "")
        monkeypatch.delenv(f"REVIEWS_{name}")


def test_flags_win_over_environment_and_environment_over_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The documented order holds for one setting given in three places."""
    file = tmp_path / "worker.toml"
    file.write_text('group_id = "file"\noutput_topic = "from-file"\nmetrics_port = 0\n')
    monkeypatch.setenv("REVIEWS_GROUP_ID", "environment")
    assert read("--config", str(file), "--group-id", "flag").group_id == "flag"
    settings = read("--config", str(file))
    assert (settings.group_id, settings.output_topic, settings.metrics_port) == ("environment", "from-file", 0)


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
        (("--poll-target-seconds", "50", "--max-poll-interval-seconds", "60"), "poll_target_seconds"),
        (("--transaction-timeout-seconds", "400"), "transaction_timeout_seconds"),
        (("--stall-timeout-seconds", "40"), "stall_timeout_seconds"),
        (("--text-field", "id"), "text_field"),
        (("--input-topic", ".."), "no topics named"),
        (("--poll-target-seconds", "60", "--watchdog-seconds", "100"), "watchdog_seconds"),
        (("--stop-timeout-seconds", "180"), "stop_timeout_seconds"),
        (("--request-timeout-seconds", "501", "--max-poll-interval-seconds", "2000"), "request_timeout_seconds"),
        (("--config", "/does/not/exist.toml"), "does not exist"),
        (("--config", "/tmp"), "is no file"),
        (("--sasl-username", "worker"), "a user name or password is set but security_protocol is PLAINTEXT"),
        (("--ssl-cafile", __file__), "certificates are set but security_protocol is PLAINTEXT"),
        (("--security-protocol", "SSL", "--ssl-cafile", "/tmp"), "ssl_cafile: cannot be read; name a PEM file"),
        (("--security-protocol", "SSL", "--ssl-cafile", __file__), "ssl_cafile holds no certificates in PEM"),
        (("--security-protocol", "SSL", "--ssl-certfile", __file__), "needs both ssl_certfile and ssl_keyfile"),
    ],
)
def test_impossible_settings_are_refused_with_the_fix(flags: tuple[str, ...], says: str) -> None:
    """The message names the setting or the way out, in one line."""
    with pytest.raises(UsageError, match=says) as refused:
        read(*flags)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("text", ["group_id = ", "no_such_setting = 1", 'metrics_port = "many"'])
def test_a_bad_settings_file_is_a_usage_error(tmp_path: Path, text: str) -> None:
    """A file that is not TOML, or names what does not exist, is told in one line."""
    file = tmp_path / "worker.toml"
    file.write_text(text)
    with pytest.raises(UsageError):
        read("--config", str(file))


@pytest.mark.parametrize(("content", "says"), [(b'group_id = "\xff"', "it is not UTF-8"), (None, "cannot be read")])
def test_a_settings_file_that_cannot_be_read_is_a_usage_error(tmp_path: Path, content: bytes | None, says: str) -> None:
    """Bytes that are no text, and a file that exists and fails when it is read: told in one line."""
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
    """A file in place of the directory, or a secret that is not text: told in one line that holds nothing of it."""
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


def test_a_secret_file_that_is_no_setting_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One whose name lacks the prefix sets nothing; those that Kubernetes hides are no matter."""
    for name in ("sasl_password", "REVIEWS_SASL_USERNAME", "..data"):
        (tmp_path / name).write_text(SECRET)
    monkeypatch.setenv("REVIEWS_SECRETS_DIR", str(tmp_path))
    assert WorkerSettings.unknown_names() == [f"{tmp_path}/sasl_password"]


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
