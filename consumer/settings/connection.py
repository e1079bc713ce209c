"""How to reach Kafka. What cannot work is refused at start, with the fix in the message; certificates are tried."""

import os
import shlex
import shutil
import ssl
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, SecretStr, StringConstraints, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from consumer.settings.addresses import is_loopback, parse_addresses

#: `sasl_token_command` is killed after this long.
TOKEN_SECONDS = 5.0
Name = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\s]+$")]


class KafkaSettings(BaseSettings):
    """Connection to Kafka."""

    model_config = SettingsConfigDict(
        env_prefix="REVIEWS_",
        # Compose and Helm templates set VAR= for a value that was not given.
        env_ignore_empty=True,
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
        validate_default=True,
    )

    bootstrap_servers: str = Field(
        "localhost:9092",
        description="brokers to connect to first, as host:port, separated by commas; without a scheme such as "
        "SASL_SSL://, which security_protocol sets",
    )
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT", description="whether the connection is encrypted (SSL) and authenticated with a password (SASL)"
    )
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"] = Field(
        "SCRAM-SHA-512", description="how to authenticate; used with SASL_SSL and SASL_PLAINTEXT"
    )
    sasl_username: str | None = Field(None, description="user name; required with PLAIN and SCRAM (default: none)")
    sasl_password: SecretStr | None = Field(None, description="password of sasl_username (default: none)")
    sasl_token_command: str | None = Field(
        None,
        description=f"command that prints the token of OAUTHBEARER within {TOKEN_SECONDS:g} s; run without a shell, "
        "once for each connection (default: none)",
    )
    client_rack: Name | None = Field(
        None,
        description="rack or availability zone of this worker; brokers that allow it let it read from the nearest "
        "replica (default: none)",
    )
    ssl_cafile: Path | None = Field(
        None,
        description="certificates of the authorities that sign the brokers' certificates, PEM "
        "(default: those of the system)",
    )
    ssl_certfile: Path | None = Field(
        None, description="client certificate for mutual TLS, PEM; needs ssl_keyfile (default: none)"
    )
    ssl_keyfile: Path | None = Field(None, description="private key of ssl_certfile, PEM (default: none)")
    ssl_key_password: SecretStr | None = Field(
        None, description="password of ssl_keyfile, if it is encrypted (default: none)"
    )

    @field_validator("bootstrap_servers")
    @classmethod
    def _addresses(cls, servers: str) -> str:
        return ",".join(parse_addresses(servers))

    @field_validator("ssl_cafile", "ssl_certfile", "ssl_keyfile")
    @classmethod
    def _readable(cls, path: Path | None) -> Path | None:
        if path is not None and not (path.is_file() and os.access(path, os.R_OK)):
            raise ValueError("cannot be read; set it to a PEM file that this user may read")
        return path

    @field_validator("sasl_token_command")
    @classmethod
    def _runnable(cls, command: str | None) -> str | None:
        if command is None:
            return None
        try:
            program = shlex.split(command)[0]
        except (ValueError, IndexError):
            raise ValueError("is no command; quote its arguments as for a shell") from None
        if shutil.which(program) is None:
            raise ValueError("its program does not exist, or this user may not run it")
        return command

    @model_validator(mode="after")
    def _credentials(self) -> Self:
        password = self.sasl_username is not None or self.sasl_password is not None
        if not self.security_protocol.startswith("SASL_"):
            if password or self.sasl_token_command is not None:
                raise ValueError(
                    f"a {'user name or password' if password else 'token command'} is set but "
                    f"security_protocol is {self.security_protocol}; "
                    "set it to SASL_SSL, or remove them"
                )
            return self
        if self.sasl_mechanism == "OAUTHBEARER":
            if self.sasl_token_command is None or password:
                raise ValueError("OAUTHBEARER needs sasl_token_command, and neither sasl_username nor sasl_password")
        elif self.sasl_username is None or self.sasl_password is None:
            raise ValueError(
                f"{self.security_protocol} needs sasl_username and sasl_password; "
                "set REVIEWS_SASL_USERNAME and REVIEWS_SASL_PASSWORD"
            )
        elif self.sasl_token_command is not None:
            raise ValueError("sasl_token_command is set; set sasl_mechanism to OAUTHBEARER, or remove it")
        unencrypted = self.security_protocol == "SASL_PLAINTEXT" and not self.on_this_machine
        if unencrypted and self.sasl_mechanism in {"PLAIN", "OAUTHBEARER"}:
            raise ValueError(
                f"SASL_PLAINTEXT with {self.sasl_mechanism} sends the password or token unencrypted; use SASL_SSL, or "
                "a SCRAM mechanism"
            )
        return self

    @model_validator(mode="after")
    def _tls(self) -> Self:
        if (self.ssl_certfile is None) != (self.ssl_keyfile is None):
            raise ValueError("mutual TLS needs both ssl_certfile and ssl_keyfile")
        if self.ssl_key_password is not None and self.ssl_keyfile is None:
            raise ValueError("ssl_key_password is set but ssl_keyfile is not; set ssl_keyfile, or remove the password")
        if not self.security_protocol.endswith("SSL"):
            if self.ssl_cafile or self.ssl_certfile:
                raise ValueError(
                    f"certificates are set but security_protocol is {self.security_protocol}; "
                    "set it to SASL_SSL or SSL, or remove them"
                )
            return self
        # With a wrong file the client would report "no answer", or ask a terminal for the password of the key.
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
                f"ssl_certfile and ssl_keyfile are not a certificate and its key in PEM ({error.reason}), or the key "
                "needs another password: set REVIEWS_SSL_KEY_PASSWORD"
            ) from None
        return self

    @property
    def on_this_machine(self) -> bool:
        """Whether every bootstrap server is a loopback address."""
        return all(map(is_loopback, self.bootstrap_servers.split(",")))

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - the signature is pydantic's
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what the constructor is given; `consumer.settings.sources` reads everything else, in one place."""
        return (init_settings,)
