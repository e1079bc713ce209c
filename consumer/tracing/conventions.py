"""Names of attributes, pinned to one version of OpenTelemetry's semantic conventions; docs/tracing.md explains them.

The conventions for messaging are still in development, and their names change between versions. Values come from closed
sets or are numbers: never a word of a review, an id, a key or the value of a header.
"""

from enum import StrEnum

SEMCONV_VERSION = "1.44.0"
SCHEMA_URL = f"https://opentelemetry.io/schemas/{SEMCONV_VERSION}"


class Attribute(StrEnum):
    """Attributes of the conventions first, then our own."""

    SYSTEM = "messaging.system"
    OPERATION_NAME = "messaging.operation.name"
    OPERATION_TYPE = "messaging.operation.type"
    DESTINATION = "messaging.destination.name"
    GROUP = "messaging.consumer.group.name"
    MESSAGES = "messaging.batch.message_count"
    ERROR = "error.type"

    LABELLED = "reviews.labelled"
    #: With the reason after it: one attribute for each reason that occurred.
    DEAD_LETTERED = "reviews.dead_lettered"
    REASON = "reviews.dead_letter.reason"
    PUT_BACK = "reviews.poll.put_back"
    ATTEMPT = "reviews.poll.attempt"
    LINKS_LEFT_OUT = "reviews.links.left_out"
