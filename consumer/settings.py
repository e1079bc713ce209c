"""Every setting of the worker: flag, environment variable (`REVIEWS_` + name) and settings file, in that order.

One frozen model; combinations that cannot work are refused at start, with the fix in the message.
"""

import ipaddress
import os
import socket
import ssl
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal, Self
from uuid import uuid4

from pydantic import Field, SecretStr, StringConstraints, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

#: Environment variable that names the settings file; the flag is `--config`.
CONFIG_VARIABLE = "REVIEWS_CONFIG"
#: Environment variable that names a directory with one text file for each setting, for secrets.
SECRETS_VARIABLE = "REVIEWS_SECRETS_DIR"
#: What is read beside settings; the last ones by the local Kafka of `demo` and `kafka`.
OTHER_VARIABLES = {
    CONFIG_VARIABLE,
    SECRETS_VARIABLE,
    "REVIEWS_MAVEN_URL",
    "REVIEWS_KAFKA_LIBS",
    "REVIEWS_KAFKA_CACHE",
}

Topic = Annotated[str, StringConstraints(pattern=r"^[a-zA-Z0-9._-]{1,249}$")]
Name = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\s]+$")]


class Delivery(StrEnum):
    """What a reader of the output topic may rely on."""

    EXACTLY_ONCE = "exactly_once"
    AT_LEAST_ONCE = "at_least_once"


class KafkaSettings(BaseSettings):
    """How to reach Kafka; shared by every command that talks to it."""

    model_config = SettingsConfigDict(
        env_prefix="REVIEWS_", frozen=True, extra="forbid", hide_input_in_errors=True, validate_default=True
    )

    bootstrap_servers: Name = Field("localhost:9092", description="Kafka brokers, host:port, comma-separated")
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT", description="encryption and authentication of the connection"
    )
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field(
        "SCRAM-SHA-512", description="how to log in, with a SASL_ protocol"
    )
    sasl_username: str | None = Field(None, description="user name, with a SASL_ protocol")
    sasl_password: SecretStr | None = Field(None, description="password; no flag")
    ssl_cafile: Path | None = Field(None, description="certificate authority file (PEM); default: the system's")
    ssl_certfile: Path | None = Field(None, description="client certificate (PEM), for mutual TLS")
    ssl_keyfile: Path | None = Field(None, description="client key (PEM), for mutual TLS")
    ssl_key_password: SecretStr | None = Field(None, description="password of the client key; no flag")

    @field_validator("bootstrap_servers")
    @classmethod
    def _addresses(cls, servers: str) -> str:
        for server in servers.split(","):
            host, _, port = server.rpartition(":")
            if not host or not port.isdecimal() or not 0 < int(port) < 65_536:
                raise ValueError("must be host:port, or several of them separated by commas")
        return servers

    @field_validator("ssl_cafile", "ssl_certfile", "ssl_keyfile")
    @classmethod
    def _readable(cls, path: Path | None) -> Path | None:
        if path is not None and not (path.is_file() and os.access(path, os.R_OK)):
            raise ValueError("cannot be read; name a PEM file that this user may read")
        return path

    @model_validator(mode="after")
    def _credentials(self) -> Self:
        sasl = self.security_protocol.startswith("SASL_")
        if sasl and (self.sasl_username is None or self.sasl_password is None):
            raise ValueError(
                f"{self.security_protocol} needs sasl_username and sasl_password; "
                "set REVIEWS_SASL_USERNAME and REVIEWS_SASL_PASSWORD"
            )
        if not sasl and (self.sasl_username is not None or self.sasl_password is not None):
            raise ValueError(
                f"a user name or password is set but security_protocol is {self.security_protocol}; "
                "set it to SASL_SSL, or remove them"
            )
        if self.security_protocol == "SASL_PLAINTEXT" and self.sasl_mechanism == "PLAIN" and not self.on_this_machine:
            raise ValueError(
                "SASL_PLAINTEXT with PLAIN sends the password unencrypted; use SASL_SSL, or a SCRAM mechanism"
            )
        if (self.ssl_certfile is None) != (self.ssl_keyfile is None):
            raise ValueError("mutual TLS needs both ssl_certfile and ssl_keyfile")
        return self

    @model_validator(mode="after")
    def _tls(self) -> Self:
        files = (self.ssl_cafile, self.ssl_certfile, self.ssl_keyfile)
        if not self.security_protocol.endswith("SSL"):
            if any(files):
                raise ValueError(
                    f"certificates are set but security_protocol is {self.security_protocol}; "
                    "set it to SASL_SSL or SSL, or remove them"
                )
            return self
        # The client would say "no answer", or ask a terminal for the password of the key.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        password = self.ssl_key_password.get_secret_value() if self.ssl_key_password else ""
        try:
            if self.ssl_cafile:
                context.load_verify_locations(self.ssl_cafile)
        except ssl.SSLError as error:
            raise ValueError(f"ssl_cafile holds no certificates in PEM ({error.reason})") from None
        try:
            if self.ssl_certfile:
                context.load_cert_chain(self.ssl_certfile, self.ssl_keyfile, password)
        except ssl.SSLError as error:
            raise ValueError(
                f"ssl_certfile and ssl_keyfile are no certificate and its key in PEM ({error.reason}), or the key "
                "needs another password: set REVIEWS_SSL_KEY_PASSWORD"
            ) from None
        return self

    @property
    def on_this_machine(self) -> bool:
        """Whether every bootstrap server is a loopback address."""
        hosts = (server.rpartition(":")[0].strip("[]") for server in self.bootstrap_servers.split(","))
        return all(map(_is_loopback, hosts))

    @classmethod
    def unknown_variables(cls) -> list[str]:
        """Environment variables and secret files that look like settings and are none: misspelt, or somebody else's."""
        known = {f"REVIEWS_{name.upper()}" for name in cls.model_fields}
        directory = os.environ.get(SECRETS_VARIABLE)
        # Kubernetes keeps the files that it shows in hidden ones.
        files = [path.name for path in Path(directory).iterdir() if path.name[0] != "."] if directory else []
        variables = [name for name in os.environ if name.upper().startswith("REVIEWS_")]
        return [
            *sorted(name for name in variables if name.upper() not in known | OTHER_VARIABLES),
            *sorted(f"{directory}/{name}" for name in files if name.upper() not in known),
        ]

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the signature is pydantic's
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Flags (given as init arguments) win over the environment, environment over secret files and settings file."""
        file = os.environ.get(CONFIG_VARIABLE)
        toml = (TomlConfigSettingsSource(settings_cls, Path(file)),) if file else ()
        return (init_settings, env_settings, file_secret_settings, *toml)


class WorkerSettings(KafkaSettings):
    """Settings of `review-consumer run`. Defaults are safe for production; times are in seconds, sizes in bytes."""

    input_topic: Topic = Field("reviews", description="topic to read reviews from")
    output_topic: Topic = Field("reviews.labeled", description="topic to write predictions to")
    dead_letter_topic: Topic = Field("reviews.dlq", description="topic for records that cannot be labelled")
    group_id: Name = Field("review-consumer", description="consumer group; workers of one group share the partitions")
    delivery: Delivery = Field(
        Delivery.EXACTLY_ONCE,
        description="exactly_once: one transaction for predictions, dead letters and offsets; "
        "at_least_once: no transactions, duplicates possible after a failure",
    )
    drain: bool = Field(False, description="stop with exit code 0 when the offsets that were the end at start are done")
    instance_id: Annotated[str, StringConstraints(pattern=r"^[a-zA-Z0-9._-]{1,180}$")] | None = Field(
        None, description="stable name of this worker, unique in the group; default: a random one for each start"
    )
    static_membership: bool = Field(
        False, description="keep this worker's partitions for it while it restarts (needs instance_id)"
    )

    bundle: Path = Field(Path("bundles/distilbert-imdb"), description="directory of the model bundle")
    variant: str | None = Field(None, description="precision variant to serve; default: the one the bundle names")
    threads: int | None = Field(None, ge=1, le=1024, description="inference threads; default: the cores available")
    token_budget: int | None = Field(
        None,
        ge=16,
        le=1_048_576,
        description="padded tokens of one model batch at most; default: what suits the engine",
    )

    poll_target_seconds: float = Field(
        2.0, gt=0, le=60, description="time that the reviews of one poll should take; polls adapt their size to it"
    )
    max_poll_records: int = Field(1024, ge=1, le=100_000, description="records of one poll at most")
    text_field: Name = Field("text", description="JSON field of the review text")
    id_field: Name = Field("id", description="JSON field of the review id")
    max_record_bytes: int = Field(1_048_576, ge=64, description="record values above this many bytes are dead letters")
    max_text_characters: int = Field(
        1_000_000, ge=1, description="texts above this many characters are dead letters; shorter ones are truncated"
    )
    max_request_bytes: int = Field(
        1_048_576, ge=65_536, description="largest record to produce; the topics' max.message.bytes must allow it"
    )
    max_dead_letter_ratio: float = Field(
        1.0,
        gt=0,
        le=1,
        description="give up when more than this share of the last 1,000 records are dead letters; 1 switches it off",
    )

    start_timeout_seconds: float = Field(60, gt=0, le=3600, description="wait this long for Kafka and its topics")
    session_timeout_seconds: float = Field(
        10, ge=1, le=1800, description="a worker unheard of for this long loses its partitions"
    )
    max_poll_interval_seconds: float = Field(300, ge=1, le=86_400, description="time between two polls at most")
    request_timeout_seconds: float = Field(30, ge=1, le=500, description="time that one request to a broker may take")
    transaction_timeout_seconds: float = Field(
        40, ge=1, le=900, description="the broker aborts a transaction that a dead worker left open after this time"
    )
    broker_timeout_seconds: float = Field(
        300, ge=1, le=86_400, description="give up when no broker has answered for this long"
    )
    watchdog_seconds: float = Field(
        180, ge=1, le=86_400, description="dump all stacks and give up when one turn of the loop takes longer"
    )
    metadata_max_age_seconds: float = Field(
        60, ge=1, le=86_400, description="new partitions and leaders are noticed after this time at most"
    )
    stall_timeout_seconds: float = Field(
        300, ge=1, le=86_400, description="give up when a partition in which records wait has not moved for this long"
    )
    stop_timeout_seconds: float = Field(15, ge=1, le=600, description="time to leave the group cleanly on a stop")

    metrics_host: str = Field("127.0.0.1", description="address that /metrics, /live and /ready listen on")
    metrics_port: int = Field(9100, ge=0, le=65_535, description="their port; 0 takes any free one")
    log_format: Literal["auto", "json", "text"] = Field(
        "auto", description="JSON lines or text; auto: text on a terminal"
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="least level that is logged")

    @cached_property
    def transactional_id(self) -> str:
        """Unique among live workers. A stable one lets a restarted worker abort what it left open at once."""
        return f"{self.group_id}-{self.instance_id or f'{socket.gethostname()}-{uuid4().hex[:12]}'}"

    @model_validator(mode="after")
    def _topics_differ(self) -> Self:
        topics = [self.input_topic, self.output_topic, self.dead_letter_topic]
        if len(set(topics)) < len(topics):
            raise ValueError(
                "input_topic, output_topic and dead_letter_topic must be three different topics; "
                "the worker would read its own results"
            )
        if {".", ".."} & set(topics):
            raise ValueError("input_topic, output_topic and dead_letter_topic: Kafka has no topics named . and ..")
        return self

    @model_validator(mode="after")
    def _identity(self) -> Self:
        if self.static_membership and self.instance_id is None:
            raise ValueError("static_membership needs instance_id, a name that this worker keeps over restarts")
        return self

    @model_validator(mode="after")
    def _times_fit(self) -> Self:
        if self.poll_target_seconds > self.max_poll_interval_seconds / 5:
            raise ValueError("poll_target_seconds must be at most a fifth of max_poll_interval_seconds")
        if self.transaction_timeout_seconds >= self.max_poll_interval_seconds and self.is_exactly_once:
            raise ValueError("transaction_timeout_seconds must be below max_poll_interval_seconds")
        if self.request_timeout_seconds >= self.max_poll_interval_seconds / 2:
            # Results get half the interval to be delivered in, with at least one try of a request.
            raise ValueError("request_timeout_seconds must be below half of max_poll_interval_seconds")
        if self.session_timeout_seconds > self.max_poll_interval_seconds:
            raise ValueError("session_timeout_seconds must be at most max_poll_interval_seconds")
        if self.watchdog_seconds < 2 * self.poll_target_seconds:  # a poll may well take longer than it should
            raise ValueError("watchdog_seconds must be at least twice poll_target_seconds")
        if self.watchdog_seconds <= self.stop_timeout_seconds:
            raise ValueError("watchdog_seconds must be above stop_timeout_seconds")
        if self.text_field == self.id_field:
            raise ValueError("text_field and id_field must differ")
        return self

    @property
    def is_exactly_once(self) -> bool:
        """Whether predictions, dead letters and offsets are one transaction."""
        return self.delivery is Delivery.EXACTLY_ONCE


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
