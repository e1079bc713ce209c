"""From settings to clients that work: wait for Kafka and the topics, say why, and stop at what waiting cannot fix."""

import logging
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from contextlib import ExitStack
from threading import Thread
from typing import Any

from kafka.errors import KafkaError, KafkaTimeoutError, RetriableError

from consumer.errors import KafkaUnusable
from consumer.kafka.client import Clients, LastWarning, fatal_cause, new_consumer, new_producer, new_reader, reason_of
from consumer.kafka.connection import Connection, close, in_ms
from consumer.kafka.fixes.topics import UNCOMPRESSED, compression_type
from consumer.kafka.lineage import Lineages
from consumer.kafka.reach import diagnose
from consumer.settings import WorkerSettings

log = logging.getLogger(__name__)

RETRY_SECONDS = 0.5
#: A request may wait for long, or forever if a broker freezes; this often we look whether to go on waiting.
SIGN_SECONDS = 0.1
#: How long to look at the configuration of the input topic. It is not needed to begin.
CONFIG_SECONDS = 2.0
#: How long to look for the cause of a failed attempt, at least and at most.
LOOK_SECONDS = (0.5, 2.0)
#: The first Kafka that rejects offsets from a worker whose group has moved on, and that reports committed offsets which
#: an open transaction still decides (KIP-447). kafka-python leaves out both for older brokers.
EXACTLY_ONCE_SINCE = (2, 5)


class Start:
    """One start.

    Args:
        settings: addresses, topics, timeouts.
        on_waiting: called with one line that says what the start waits for.
        stopping: ends the wait early.
        alive: called before each request or attempt, and every `SIGN_SECONDS` until it is over.
    """

    def __init__(
        self,
        settings: WorkerSettings,
        *,
        on_waiting: Callable[[str], None] = lambda _: None,
        stopping: Callable[[], bool] = lambda: False,
        alive: Callable[[], None] = lambda: None,
    ) -> None:
        self._settings = settings
        self._on_waiting = on_waiting
        self._stopping = stopping
        self._alive = alive
        self._deadline = time.monotonic() + settings.start_timeout_seconds
        self._opened = ExitStack()
        self._clients: list[Clients] = []

    def connect(self) -> Connection | None:
        """Wait until the cluster answers and the three topics exist; take over our transactional id.

        Returns:
            None if the start was stopped. The clients it had created by then are closed, as they are after an error,
            unless one of them still waits for an answer: then they are left to the end of the process.

        Raises:
            KafkaUnusable: wrong credentials or rights, or nothing usable within `start_timeout_seconds`.
        """
        settings = self._settings
        topics = (settings.input_topic, settings.output_topic, settings.dead_letter_topic)
        try:
            with self._opened:
                consumer = self.open("consumer", new_consumer)
                self._check_version(consumer.config["api_version"])
                partitions = {topic: self._partitions(consumer, topic) for topic in topics}
                producer = self.open("producer", new_producer)
                reader = self.open("reader", new_reader) if settings.is_exactly_once else None
                self._look_for_bombs(consumer)
                self._opened.pop_all()
        except _Stopped:
            return None
        return Connection(consumer, producer, Lineages(settings, reader, partitions), partitions)

    def open(self, what: str, build: Callable[[WorkerSettings, Clients], Any]) -> Any:
        """Try to create a client until it works; `close` closes it.

        Args:
            what: for log lines; "producer" is closed as one.
            build: creates the client.

        Raises:
            KafkaUnusable: as `connect`.
        """
        while (client := self._attempt(build)) is None:
            pass
        each = self._settings.stop_timeout_seconds / 3
        self._opened.callback(close, what, client, **({"timeout": each} if what == "producer" else in_ms(each)))
        return client

    def close(self) -> None:
        """Close what `open` returned."""
        self._opened.close()

    def _attempt(self, build: Callable[[WorkerSettings, Clients], Any]) -> Any:
        """Try once to create a client; None if another attempt may succeed."""
        clients = Clients()
        self._clients.append(clients)
        with LastWarning() as warning:  # one for each attempt: the cause of an earlier one is no longer true
            try:
                return self._within(build, self._settings, clients)
            except (KafkaError, ValueError, OSError) as error:
                failure, cause, fatal = error, warning.text or reason_of(error), fatal_cause(warning, error)
        unreachable = "" if fatal else self._unreachable()
        self._clients.remove(clients)
        if not isinstance(failure, _OverdueError):
            clients.close()
        if fatal:
            raise KafkaUnusable(f"{self._settings.bootstrap_servers}: {fatal}") from failure
        self._wait(
            unreachable
            or f"no answer from {self._settings.bootstrap_servers} ({cause}); "
            "check that Kafka runs there, and bootstrap_servers and security_protocol",
            failure,
        )
        return None

    def _within(self, step: Callable[..., Any], *arguments: Any) -> Any:
        """Call `step`, and stop waiting for it when the start is stopped or its time is over."""
        self._proceed()
        called: Future[Any] = Future()

        def call() -> None:
            try:
                called.set_result(step(*arguments))
            except BaseException as error:  # raised where it is waited for
                called.set_exception(error)

        Thread(target=call, name="start", daemon=True).start()
        try:
            while not wait([called], min(SIGN_SECONDS, max(0.0, self._deadline - time.monotonic()))).done:
                self._proceed()
                if time.monotonic() >= self._deadline:
                    raise _OverdueError("no answer")
        except (_OverdueError, _Stopped):
            self._opened.pop_all()  # a client that is being used by another thread cannot be closed
            raise
        return called.result()

    def _unreachable(self) -> str:
        """Which addresses cannot be reached, and what to do; empty if that is not the cause."""
        self._alive()
        at_least, at_most = LOOK_SECONDS
        return diagnose(
            self._settings.bootstrap_servers.split(","),
            sorted({broker for clients in self._clients for broker in clients.brokers()}),
            self._settings.security_protocol.endswith("SSL"),
            min(at_most, max(at_least, self._deadline - time.monotonic())),
        )

    def _check_version(self, version: tuple[int, ...]) -> None:
        if self._settings.is_exactly_once and version < EXACTLY_ONCE_SINCE:
            raise KafkaUnusable(
                f"{self._settings.bootstrap_servers} speaks as Kafka {'.'.join(map(str, version))}: exactly-once "
                f"delivery needs {'.'.join(map(str, EXACTLY_ONCE_SINCE))} or newer; set delivery to at_least_once"
            )

    def _partitions(self, consumer: Any, topic: str) -> int:
        """Wait until `topic` exists; return its number of partitions."""
        answered = ""
        while True:
            try:
                if count := len(self._within(consumer.partitions_for_topic, topic) or ()):
                    return count
            except RetriableError as error:  # a broker that comes and goes
                unknown = f"cannot find out whether topic {topic} exists: {self._unreachable() or reason_of(error)}"
                # The last question was cut short by the end of the start: what the broker said before is the cause.
                is_cut_short = isinstance(error, _OverdueError) and unknown.endswith(reason_of(error))
                self._wait(answered if answered and is_cut_short else unknown, error)
            except KafkaError as error:
                raise KafkaUnusable(f"topic {topic}: {reason_of(error)}") from error
            else:
                answered = f"topic {topic} does not exist, or this user may not see it; the worker creates none"
                self._wait(answered)

    def _look_for_bombs(self, consumer: Any) -> None:
        """Warn of an input topic that stores batches as producers compressed them."""
        topic = self._settings.input_topic
        seconds = min(CONFIG_SECONDS, max(0.0, self._deadline - time.monotonic()) / 2)
        try:
            kind = self._within(compression_type, consumer, topic, seconds)
        except _OverdueError as error:
            self._wait(self._unreachable() or f"no answer about the configuration of topic {topic}", error)
            return
        if kind is None:
            log.info("cannot see compression.type of %s, which should be %s", topic, UNCOMPRESSED)
        elif kind != UNCOMPRESSED:
            log.warning(
                "compression.type of %s is %s: a batch of a few kB can unpack to a gigabyte and end this worker; set "
                "it to %s, see docs/runbook.md",
                topic,
                kind,
                UNCOMPRESSED,
            )

    def _wait(self, what: str, error: Exception | None = None) -> None:
        if time.monotonic() >= self._deadline:
            seconds = self._settings.start_timeout_seconds
            raise KafkaUnusable(f"gave up after {seconds:g} s: {what}") from error
        self._on_waiting(what)
        time.sleep(min(RETRY_SECONDS, max(0.0, self._deadline - time.monotonic())))

    def _proceed(self) -> None:
        if self._stopping():
            raise _Stopped
        self._alive()


class _OverdueError(KafkaTimeoutError):  # type: ignore[misc]
    """The time of the start is over, and a request has no answer yet."""


class _Stopped(Exception):  # noqa: N818 - the state of a start
    """The start was stopped."""
