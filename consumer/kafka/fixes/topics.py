"""What a topic is configured to be."""

from typing import Any

from kafka.admin import ConfigResourceType
from kafka.errors import KafkaError
from kafka.protocol.admin import DescribeConfigsRequest

#: How an input topic should store batches: the broker then applies max.message.bytes to what they unpack to.
UNCOMPRESSED = "uncompressed"


def compression_type(consumer: Any, topic: str, timeout_seconds: float) -> str | None:
    """Return `compression.type` of a topic; None as for `configured`."""
    return configured(consumer, topic, "compression.type", timeout_seconds)


def configured(consumer: Any, topic: str, name: str, timeout_seconds: float) -> str | None:
    """Return one setting of a topic; None if this user may not see it, or no answer came in time.

    Fault: the setting is part of the administration client alone, which opens connections of its own and hides that
        the right to see it is missing.
    Fix: one request over the consumer's connection.
    Shown by: test_row_14_a_topic_that_lets_bombs_through_is_warned_of
    """
    manager = consumer._client._manager
    request = DescribeConfigsRequest(resources=[(ConfigResourceType.TOPIC, topic, [name])], include_synonyms=False)

    async def ask() -> Any:
        return await manager.wait_for(manager.send(request), timeout_seconds * 1000)

    try:
        [result] = consumer._net.run(ask).results
    except KafkaError:
        return None
    return next((each.value for each in result.configs if each.name == name), None)
