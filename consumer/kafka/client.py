"""What kafka-python needs around it: connection settings, the cause behind its time-outs, tidy failed attempts."""

import contextlib
import logging
from typing import Any

from kafka import KafkaConsumer, KafkaProducer
from kafka.errors import AuthorizationError, KafkaConfigurationError, KafkaError, SaslAuthenticationFailedError
from kafka.net.compat import KafkaNetClient
from kafka.serializer import Serializer

from consumer.kafka import fixes
from consumer.settings import WorkerSettings
from consumer.settings.connection import KafkaSettings
from consumer.settings.times import CONNECT_SECONDS, LINGER_SECONDS

#: Send this for a null value: the client refuses a null value with a null key, which Kafka allows.
NULL = object()

#: What a warning of the client says when waiting longer cannot help, and what to do about it.
_HOPELESS = {
    "SaslAuthenticationFailed": "wrong user name or password; check sasl_username, sasl_password and sasl_mechanism",
    "UnsupportedSaslMechanism": "the broker does not offer this sasl_mechanism",
    "CERTIFICATE_VERIFY_FAILED": "the broker's certificate is not trusted; check ssl_cafile, its host name and dates",
    "certificate required": "the broker asks for a client certificate; set ssl_certfile and ssl_keyfile",
    "ertificate unknown": "the broker refused the client certificate; check ssl_certfile",
    "WRONG_VERSION_NUMBER": "this port does not speak TLS; check security_protocol and the port",
}


def connection(settings: KafkaSettings, bootstrap_seconds: float, request_seconds: float = 30.0) -> dict[str, Any]:
    """Arguments that every kafka-python client of this program shares."""
    fixes.apply()

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
        arguments["sasl_plain_username"] = settings.sasl_username
        arguments["sasl_plain_password"] = secret(settings.sasl_password)
    return arguments


class Clients:
    """Stands in for the client class, so that a constructor that fails does not leave its network thread behind."""

    def __init__(self) -> None:
        self._built: list[Any] = []

    def __call__(self, **configuration: Any) -> Any:
        """Build the network client that a consumer or producer asks for."""
        client = KafkaNetClient(**configuration)
        fixes.create_no_topics(client)
        self._built.append(client)
        return client

    def close(self) -> None:
        """End the network threads of everything built here."""
        for client in self._built:
            # The thread of a producer that was told to end may still be in its last poll; it ends without our help.
            with contextlib.suppress(RuntimeError):
                client.close()


def new_consumer(settings: WorkerSettings, clients: Clients) -> Any:
    """The input consumer, in no group yet; each argument is a decision of docs/delivery.md."""
    session_ms = int(settings.session_timeout_seconds * 1000)
    return KafkaConsumer(
        **connection(settings, CONNECT_SECONDS, settings.request_timeout_seconds),
        kafka_client=clients,
        group_id=settings.group_id,
        group_instance_id=settings.instance_id if settings.static_membership else None,
        isolation_level="read_committed",  # also makes a new owner wait for offsets that are being committed
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        metadata_max_age_ms=int(settings.metadata_max_age_seconds * 1000),
        max_poll_records=settings.max_poll_records,
        # What was fetched of one partition is handed out before the next one's turn: with the default of 1 MiB, some
        # 700 reviews, a processor that labels 5 a second would leave the others alone for minutes.
        max_partition_fetch_bytes=262_144,
        max_poll_interval_ms=int(settings.max_poll_interval_seconds * 1000),
        session_timeout_ms=session_ms,
        heartbeat_interval_ms=session_ms // 3,
    )


def new_reader(settings: WorkerSettings, clients: Clients) -> Any:
    """A consumer of committed results, in no group: see `consumer.kafka.lineage`."""
    return KafkaConsumer(
        **connection(settings, CONNECT_SECONDS, settings.request_timeout_seconds),
        kafka_client=clients,
        group_id=None,
        isolation_level="read_committed",
        enable_auto_commit=False,
    )


def new_producer(settings: WorkerSettings, clients: Clients) -> Any:
    """The producer; a transactional one has taken over its id, and aborted what a predecessor left open."""
    producer = KafkaProducer(
        **connection(settings, CONNECT_SECONDS, settings.request_timeout_seconds),
        kafka_client=clients,
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
        # A larger one the broker may refuse; kafka-python cuts it in two then, and `flush` fails.
        batch_size=min(131_072, settings.max_request_bytes),
        max_request_size=settings.max_request_bytes,
        max_block_ms=int(settings.request_timeout_seconds * 1000),
        retry_backoff_ms=5,  # the default of 100 sleeps up to 220 ms between two transactions
        value_serializer=_BytesOrNull(),
    )
    fixes.retry_batches_after(producer, 100)
    if settings.is_exactly_once:
        try:
            producer.init_transactions()
        except KafkaError:
            producer.close(timeout=1)  # else its thread goes on, on a network that is closed under it
            raise
    return producer


class _BytesOrNull(Serializer):  # type: ignore[misc]
    def serialize(self, _topic: str, _headers: Any, data: Any) -> Any:
        return None if data is NULL else data


class LastWarning(logging.Handler):
    """Keeps what the client warns of during an attempt: its exceptions say "timed out" where its log says why.

    Attributes:
        text: the last warning, its first line.
        advice: what to do about the first one that no waiting can help; None if there was none.
    """

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.text = ""
        self.advice: str | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Remember the first line."""
        if record.name.startswith("kafka."):
            self.text = record.getMessage().partition("\n")[0][:300]
            self.advice = self.advice or next((do for sign, do in _HOPELESS.items() if sign in self.text), None)

    def __enter__(self) -> "LastWarning":
        logging.getLogger("kafka").addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        logging.getLogger("kafka").removeHandler(self)


def fatal_cause(warning: LastWarning, error: Exception) -> str | None:
    """Advice, if no amount of waiting will help; None for a broker that may still come up."""
    if warning.advice:
        return warning.advice
    if isinstance(error, AuthorizationError | SaslAuthenticationFailedError | KafkaConfigurationError):
        return reason_of(error)
    return next((advice for sign, advice in _HOPELESS.items() if sign in reason_of(error)), None)


def reason_of(error: BaseException | None) -> str:
    """One line that names a client error; never a payload."""
    if error is None:
        return "unknown"
    text = str(error).partition("\n")[0][:300]
    name = type(error).__name__
    return text if name in text else f"{name}: {text}" if text else name
