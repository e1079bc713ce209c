"""What kafka-python needs around it: connection settings, the cause behind its timeouts, cleanup of failed attempts."""

import contextlib
import logging
from typing import Any

from kafka import KafkaConsumer, KafkaProducer
from kafka.errors import AuthorizationError, KafkaConfigurationError, KafkaError, SaslAuthenticationFailedError
from kafka.net.compat import KafkaNetClient

from consumer.kafka import fixes
from consumer.kafka.fixes import network, refusals, transactions
from consumer.kafka.tokens import TokenCommand
from consumer.settings import WorkerSettings
from consumer.settings.connection import KafkaSettings
from consumer.settings.times import CONNECT_SECONDS, LINGER_SECONDS

#: Signs in the client's warnings that waiting longer cannot help, and what to do about each.
_HOPELESS = {
    "SaslAuthenticationFailed": "wrong user name or password, or a token that the broker refuses; check sasl_username, "
    "sasl_password, sasl_token_command and sasl_mechanism",
    "sasl_token_command": "sasl_token_command failed, took too long, or printed no token; run it as the worker's user",
    "UnsupportedSaslMechanism": "the broker does not offer this sasl_mechanism",
    "CERTIFICATE_VERIFY_FAILED": "the broker's certificate is not trusted; check ssl_cafile, its host name and dates",
    "certificate required": "the broker asks for a client certificate; set ssl_certfile and ssl_keyfile",
    "ertificate unknown": "the broker refused the client certificate; check ssl_certfile",
    "WRONG_VERSION_NUMBER": "this port does not speak TLS; check security_protocol and the port",
}


def connection(settings: KafkaSettings, bootstrap_seconds: float, request_seconds: float = 30.0) -> dict[str, Any]:
    """Arguments that every kafka-python client of the worker shares."""

    def secret(value: Any) -> str | None:
        return value.get_secret_value() if value is not None else None

    def path(value: Any) -> str | None:
        return str(value) if value is not None else None

    arguments: dict[str, Any] = {
        "bootstrap_servers": settings.bootstrap_servers.split(","),
        "client_id": "review-consumer",
        "security_protocol": settings.security_protocol,
        "ssl_cafile": path(settings.ssl_cafile),
        "ssl_certfile": path(settings.ssl_certfile),
        "ssl_keyfile": path(settings.ssl_keyfile),
        "ssl_password": secret(settings.ssl_key_password),
        "bootstrap_timeout_ms": int(bootstrap_seconds * 1000),
        "request_timeout_ms": int(request_seconds * 1000),
        # The default of 30 s would leave a worker idle for half a minute after a short outage.
        "reconnect_backoff_max_ms": 2000,
    }
    if settings.security_protocol.startswith("SASL_"):
        arguments["sasl_mechanism"] = settings.sasl_mechanism
        if settings.sasl_token_command is None:
            arguments["sasl_plain_username"] = settings.sasl_username
            arguments["sasl_plain_password"] = secret(settings.sasl_password)
        else:
            arguments["sasl_oauth_token_provider"] = TokenCommand(settings.sasl_token_command)
    return arguments


class Clients:
    """Stands in for the network client class, so that a constructor that fails leaves no network thread behind.

    Raises:
        RuntimeError: this process has not called `fixes.apply`.
    """

    def __init__(self) -> None:
        fixes.require()
        self._built: list[Any] = []

    def __call__(self, **configuration: Any) -> Any:
        """Create the network client of a consumer or producer."""
        client = KafkaNetClient(**configuration)
        network.create_no_topics(client)
        self._built.append(client)
        return client

    def brokers(self) -> list[str]:
        """HOST:PORT of each broker that the cluster has named to a client created here."""
        named = (broker for client in self._built for broker in client.cluster.brokers())
        return sorted({f"{f'[{each.host}]' if ':' in each.host else each.host}:{each.port}" for each in named})

    def close(self) -> None:
        """End the network threads of all clients created here."""
        for client in self._built:
            # The thread of a producer that is closing may still be in its last poll; it ends by itself.
            with contextlib.suppress(RuntimeError):
                client.close()


def new_consumer(settings: WorkerSettings, clients: Clients) -> Any:
    """Create the input consumer, in no group yet; docs/design.md explains each argument."""
    return KafkaConsumer(
        **connection(settings, CONNECT_SECONDS, settings.request_timeout_seconds),
        kafka_client=clients,
        metrics_enabled=False,  # nobody reads kafka-python's own, and they cost time on every record
        group_id=settings.group_id,
        group_instance_id=settings.instance_id if settings.static_membership else None,
        isolation_level="read_committed",  # also makes a new owner wait for offsets that are being committed
        enable_auto_commit=False,
        auto_offset_reset="earliest",  # if retention deleted the position; `start_from` is for Beginnings
        client_rack=settings.client_rack or "",
        metadata_max_age_ms=int(settings.metadata_max_age_seconds * 1000),
        # The client hands out everything it fetched of one partition before the next one's turn. With the default of
        # 1 MiB, some 700 reviews, a processor that labels 5 a second would leave the others waiting for minutes.
        max_partition_fetch_bytes=262_144,
        max_poll_interval_ms=int(settings.max_poll_interval_seconds * 1000),
        session_timeout_ms=int(settings.session_timeout_seconds * 1000),
        heartbeat_interval_ms=int(settings.heartbeat_seconds * 1000),
    )


def new_reader(settings: WorkerSettings, clients: Clients) -> Any:
    """Create a consumer of committed results, in no group: see `consumer.kafka.lineage`."""
    return KafkaConsumer(
        **connection(settings, CONNECT_SECONDS, settings.request_timeout_seconds),
        kafka_client=clients,
        metrics_enabled=False,
        group_id=None,
        isolation_level="read_committed",
        enable_auto_commit=False,
    )


def new_producer(settings: WorkerSettings, clients: Clients, compression: str | None = None) -> Any:
    """Create the producer; a transactional one takes over its id and aborts what a predecessor left open.

    Args:
        settings: addresses, delivery, limits, timeouts.
        clients: makes the network client.
        compression: gzip, snappy, lz4 or zstd; None: batches are not compressed.
    """
    producer = KafkaProducer(
        **connection(settings, CONNECT_SECONDS, settings.request_timeout_seconds),
        kafka_client=clients,
        metrics_enabled=False,
        **(
            {
                "transactional_id": settings.transactional_id,
                "transaction_timeout_ms": int(settings.transaction_timeout_seconds * 1000),
            }
            if settings.is_exactly_once
            else {}
        ),
        delivery_timeout_ms=int(settings.delivery_timeout_seconds * 1000),
        linger_ms=int(LINGER_SECONDS * 1000),
        compression_type=compression,
        # The broker may refuse a larger one; kafka-python then splits it, and `flush` fails.
        batch_size=min(131_072, settings.max_request_bytes),
        max_request_size=settings.max_request_bytes,
        max_block_ms=int(settings.request_timeout_seconds * 1000),
        retry_backoff_ms=5,  # the default of 100 costs up to 220 ms between two transactions
    )
    refusals.leave_at_exit(producer)
    transactions.retry_batches_after(producer, 100)
    if settings.is_exactly_once:
        try:
            producer.init_transactions()
        except KafkaError:
            producer.close(timeout=1)  # or its thread keeps running on a network that is closed under it
            raise
    return producer


class LastWarning(logging.Handler):
    """Keeps the client's warnings during one attempt: its exceptions say "timed out", and only its log says why.

    Attributes:
        text: the first line of the last warning.
        advice: what to do about the first warning that waiting cannot help; None if there was none.
    """

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.text = ""
        self.advice: str | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the first line."""
        if record.name.startswith("kafka."):
            self.text = record.getMessage().partition("\n")[0][:300]
            self.advice = self.advice or next((do for sign, do in _HOPELESS.items() if sign in self.text), None)

    def __enter__(self) -> "LastWarning":
        logging.getLogger("kafka").addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        logging.getLogger("kafka").removeHandler(self)


def fatal_cause(warning: LastWarning, error: Exception) -> str | None:
    """Return advice if waiting cannot help; None if the broker may still come up."""
    if warning.advice:
        return warning.advice
    if isinstance(error, AuthorizationError | SaslAuthenticationFailedError | KafkaConfigurationError):
        return reason_of(error)
    return next((advice for sign, advice in _HOPELESS.items() if sign in reason_of(error)), None)


def reason_of(error: BaseException | None) -> str:
    """Describe a client error in one line; never a payload."""
    if error is None:
        return "unknown"
    text = str(error).partition("\n")[0][:300]
    name = type(error).__name__
    return text if name in text else f"{name}: {text}" if text else name
