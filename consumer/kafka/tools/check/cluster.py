"""One connection for every question, with a limit on each answer and one kind of error."""

import time
from collections.abc import Callable
from typing import Any, TypeVar

from kafka import KafkaAdminClient
from kafka.errors import AuthorizationError, CoordinatorNotAvailableError, KafkaError, NotCoordinatorError, for_code
from kafka.protocol.metadata import FindCoordinatorRequest

from consumer.kafka.client import Clients, connection, reason_of
from consumer.settings import WorkerSettings
from consumer.settings.times import CONNECT_SECONDS

#: Longest wait for one answer: a person waits in front of the table.
REQUEST_SECONDS = 5.0
#: On a cluster that had no group or transaction yet, the first question for a coordinator creates an internal topic.
COORDINATOR_SECONDS = 10.0
_RETRY_SECONDS = 0.2

_Answer = TypeVar("_Answer")


class NotAnswered(Exception):  # noqa: N818 - what is known of the answer
    """A question has no answer.

    Args:
        reason: why, in one line.
        is_refused: a right is missing.
    """

    def __init__(self, reason: str, *, is_refused: bool = False) -> None:
        super().__init__(reason)
        self.is_refused = is_refused


class Cluster:
    """A client that asks brokers of its choice.

    Args:
        settings: addresses and credentials.
        clients: see `consumer.kafka.client`.

    Raises:
        kafka.errors.KafkaError: no broker answers, or the credentials are refused.
    """

    def __init__(self, settings: WorkerSettings, clients: Clients) -> None:
        self._seconds = min(REQUEST_SECONDS, settings.request_timeout_seconds)
        self._admin = KafkaAdminClient(
            **connection(settings, CONNECT_SECONDS, self._seconds),
            kafka_client=clients,
        )

    def close(self, **_: object) -> None:
        """Close the connections."""
        self._admin.close()

    @property
    def brokers(self) -> dict[int, tuple[str, int]]:
        """Host and port of each broker that the cluster advertises, by its id."""
        return {each.node_id: (each.host, each.port) for each in self._admin._manager.cluster.brokers()}

    def version(self, node: int) -> tuple[int, ...]:
        """The version of Kafka that a broker speaks as.

        Raises:
            NotAnswered: it cannot be reached.
        """
        found: tuple[int, ...] = self.within(lambda: self._admin.get_broker_version_data(node).broker_version)
        return found

    def ask(self, request: Any, node: int | None = None) -> Any:
        """Send one request, to `node` or to any broker, and return the response, whose error codes are not looked at.

        kafka-python's administration client has a method for most requests, but some hide that a right is missing, and
        none probes one.

        Raises:
            NotAnswered: no answer in time, or no broker knows this request.
        """
        manager = self._admin._manager

        async def send() -> Any:
            return await manager.wait_for(manager.send(request, node_id=node), self._seconds * 1000)

        return self.within(lambda: manager.run(send))

    def with_admin(self, question: Callable[[KafkaAdminClient], _Answer]) -> _Answer:
        """The answer of a method of the administration client.

        Raises:
            NotAnswered: it failed.
        """
        return self.within(lambda: question(self._admin))

    def within(self, question: Callable[[], _Answer]) -> _Answer:
        """Call `question`.

        Raises:
            NotAnswered: it raised an error of the client.
        """
        try:
            return question()
        except KafkaError as error:
            raise NotAnswered(reason_of(error), is_refused=isinstance(error, AuthorizationError)) from error

    def coordinator(self, key: str, *, of_transactions: bool = False) -> int:
        """The broker that coordinates a group, or a transactional id.

        Raises:
            NotAnswered: there is none, or a right is missing.
        """
        request = FindCoordinatorRequest(key_type=int(of_transactions), key=key, max_version=3)
        deadline = time.monotonic() + COORDINATOR_SECONDS
        while True:
            response = self.ask(request)
            kind = for_code(response.error_code)
            if kind not in {CoordinatorNotAvailableError, NotCoordinatorError} or time.monotonic() > deadline:
                break
            time.sleep(_RETRY_SECONDS)
        refuse(response.error_code)
        return int(response.node_id)


def refuse(code: int) -> None:
    """Do nothing if `code` says that all is well.

    Raises:
        NotAnswered: with the error that `code` stands for.
    """
    if code:
        kind = for_code(code)
        is_refused = issubclass(kind, AuthorizationError)
        name = kind.__name__.removesuffix("Error")
        raise NotAnswered(f"a right is missing ({name})" if is_refused else name, is_refused=is_refused)
