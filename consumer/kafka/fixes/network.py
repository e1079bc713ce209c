"""Connections, and what clients ask brokers for."""

import logging
from collections.abc import Callable
from typing import Any

from kafka.net.transport import KafkaSSLTransport, KafkaTCPTransport

# --- The last answer before a connection closes ----------------------------------------------------------------------


def deliver_data_before_close() -> None:
    """Deliver what a broker sends right before it closes the connection.

    Fault: it is discarded. The reason why a password is refused comes that way, so a wrong password looks like a
        network failure.
    Fix: the transport delivers the data first, and sees the end of the connection with its next read.
    Shown by: test_row_28_a_wrong_password_is_refused_at_once
    """
    for transport in (KafkaTCPTransport, KafkaSSLTransport):
        transport._sock_recv = data_before_end(transport._sock_recv)


def data_before_end(receive: Callable[[Any], tuple[bytes, Any]]) -> Callable[[Any], tuple[bytes, Any]]:
    """Wrap a transport's receive so that it returns either data or the end of the connection."""

    def receive_once(transport: Any) -> tuple[bytes, Any]:
        data, error = receive(transport)
        return data, None if data else error

    return receive_once


# --- Requests that a close cancels -----------------------------------------------------------------------------------


def log_no_cancelled_refresh() -> None:
    """Drop the log line about a refresh of metadata that was cancelled.

    Fault: a client that is closed cancels what it is asking for, and logs that as an error: often the last line of a
        worker that drained and exits with 0.
    Fix: a filter.
    Shown by: test_row_24_a_hangup_ends_a_worker_in_order_however_often_it_comes
    """
    logging.getLogger("kafka.cluster").addFilter(_is_not_about_a_cancelled_refresh)


def _is_not_about_a_cancelled_refresh(record: logging.LogRecord) -> bool:
    return not record.getMessage().endswith("Metadata refresh: failed Cancelled")


# --- Topics that were not requested ----------------------------------------------------------------------------------


def create_no_topics(client: Any) -> None:
    """Let `client` ask only for topics that exist.

    Fault: the option for this has no effect. A topic deleted under a worker would come back with other settings.
    Fix: set it where the client reads it.
    Shown by: test_row_21_a_topic_that_is_deleted_under_a_worker_stays_deleted
    """
    client.cluster.config["allow_auto_create_topics"] = False
