"""Headers of dead letters as Kafka Connect, Kafka Streams and Spring for Apache Kafka write them, for their tools.

Names and encodings are those of their sources; docs/dead-letters.md names the files:

    connect   `DeadLetterQueueReporter`       text in UTF-8, numbers in decimal
    streams   `ExceptionHandlerUtils`         text in UTF-8, numbers in decimal (KIP-1034, Kafka 4.2)
    spring    `DeadLetterPublishingRecoverer` text in UTF-8, numbers in binary: partition as 4 bytes, the others as 8,
                                              the highest byte first

There is no stack trace: a fault of ours is a reason, a detail and a position, and never holds content.
"""

import struct

from consumer.records.fault import Fault, Reason
from consumer.records.record import Record
from consumer.settings import DeadLetterHeaders

#: What the names begin with.
PREFIXES = ("__connect.errors.", "__streams.errors.", "kafka_dlt-")
#: In the place of an exception's class.
EXCEPTION = "consumer.records.fault.Fault"


def foreign_headers(style: DeadLetterHeaders, source: Record, fault: Fault, group_id: str) -> list[tuple[str, bytes]]:
    """The headers of `style` for a dead letter; none for `own`.

    Args:
        style: whose names.
        source: the input record.
        fault: why it cannot be labelled.
        group_id: of the worker.
    """
    place = {"topic": source.topic, "partition": str(source.partition), "offset": str(source.offset)}
    message = f"{fault.reason.value}: {fault}" if fault.detail else fault.reason.value
    match style:
        case DeadLetterHeaders.CONNECT:
            texts = {
                **place,
                "connector.name": group_id,
                "task.id": str(source.partition),
                "stage": "TASK_PUT" if fault.reason is Reason.MODEL_ERROR else "VALUE_CONVERTER",
                "class.name": "consumer.worker.Worker",
                "exception.class.name": EXCEPTION,
                "exception.message": message,
            }
            return [(f"__connect.errors.{name}", text.encode()) for name, text in texts.items()]
        case DeadLetterHeaders.STREAMS:
            texts = {"exception": f"{EXCEPTION}: {message}", "message": message, **place}
            return [(f"__streams.errors.{name}", text.encode()) for name, text in texts.items()]
        case DeadLetterHeaders.SPRING:
            values = {
                "original-topic": source.topic.encode(),
                "original-partition": struct.pack(">i", source.partition),
                "original-offset": struct.pack(">q", source.offset),
                "original-timestamp": struct.pack(">q", source.timestamp_ms),
                "original-consumer-group": group_id.encode(),
                "exception-fqcn": EXCEPTION.encode(),
                "exception-message": message.encode(),
            }
            return [(f"kafka_dlt-{name}", value) for name, value in values.items()]
        case _:
            return []
