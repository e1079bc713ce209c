"""How to reach Kafka, and where settings come from: flags, environment, secret files, settings file, in that order.

What cannot work is refused at start, with the fix in the message; certificates are opened there.
"""

import ipaddress
import os
import ssl
from pathlib import Path
from typing import Annotated, Literal, Self

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

Name = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\s]+$")]


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
    def unknown_names(cls) -> list[str]:
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


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
