"""Where reviews come from, where results go to, and which worker this is."""

import socket
from contextlib import suppress
from datetime import datetime
from enum import StrEnum
from functools import cached_property
from typing import Annotated, Literal, Self
from uuid import uuid4

from pydantic import Field, StringConstraints, field_validator, model_validator

from consumer.settings.connection import KafkaSettings, Name

Topic = Annotated[str, StringConstraints(pattern=r"^[a-zA-Z0-9._-]{1,249}$")]


class Delivery(StrEnum):
    """What a reader of the output topic may rely on."""

    EXACTLY_ONCE = "exactly_once"
    AT_LEAST_ONCE = "at_least_once"


class OutputTimestamp(StrEnum):
    """The timestamp of predictions and dead letters."""

    NOW = "now"
    SOURCE = "source"


class DeadLetterHeaders(StrEnum):
    """Which headers a dead letter carries."""

    OWN = "own"
    CONNECT = "connect"
    STREAMS = "streams"
    SPRING = "spring"


class TopicSettings(KafkaSettings):
    """Topics and consumer group."""

    input_topic: Topic = Field("reviews", description="topic to read reviews from")
    output_topic: Topic = Field("reviews.labeled", description="topic to write predictions to")
    dead_letter_topic: Topic = Field("reviews.dlq", description="topic for records that cannot be labelled")
    group_id: Name = Field(
        "review-consumer", description="consumer group; the workers of a group share the partitions of input_topic"
    )
    delivery: Delivery = Field(
        Delivery.EXACTLY_ONCE,
        description="exactly_once: predictions, dead letters and offsets are committed in one transaction; "
        "at_least_once: no transactions, and duplicates are possible after a failure",
    )
    start_from: Literal["earliest", "latest"] | datetime = Field(
        "earliest",
        description="where a new group starts to read: earliest, latest, or the first record of a time such as "
        "2026-11-01T00:00:00Z; committed offsets override it, and partitions that are added later are read from their "
        "first record",
    )
    output_timestamp: OutputTimestamp = Field(
        OutputTimestamp.NOW,
        description="timestamp of predictions and dead letters. source: that of the input record, unless it is in the "
        "future; retention then deletes results of old records early",
    )
    dead_letter_headers: DeadLetterHeaders = Field(
        DeadLetterHeaders.OWN,
        description="own: dead letters carry the headers that the dlq command reads; connect, streams, spring: also "
        "those that tools for Kafka Connect, Kafka Streams or Spring read",
    )
    drain: bool = Field(
        False, description="label the records that the topic holds at start, then exit with code 0 instead of waiting"
    )
    instance_id: Annotated[str, StringConstraints(pattern=r"^[a-zA-Z0-9._-]{1,180}$")] | None = Field(
        None,
        description="stable name of this worker, unique in its group; after a restart it aborts its own open "
        "transaction at once (default: a random name at each start)",
    )
    static_membership: bool = Field(
        False,
        description="keep this worker's partitions for it while it restarts, for up to session_timeout_seconds; "
        "needs instance_id",
    )

    @field_validator("start_from", mode="plain")
    @classmethod
    def _start(cls, start: object) -> object:
        if start in {"earliest", "latest"}:
            return start
        with suppress(ValueError):
            time = start if isinstance(start, datetime) else datetime.fromisoformat(str(start))
            if time.tzinfo is not None and time.timestamp() >= 0:
                return time
        raise ValueError("must be earliest, latest, or a time with its zone, such as 2026-11-01T00:00:00Z")

    @cached_property
    def transactional_id(self) -> str:
        """Unique among live workers. A stable one lets a restarted worker abort its open transaction at once.

        Two groups never share one: no instance id contains a slash.
        """
        return f"{self.group_id}/{self.instance_id or f'{socket.gethostname()}-{uuid4().hex[:12]}'}"

    @property
    def is_exactly_once(self) -> bool:
        """Whether predictions, dead letters and offsets are committed in one transaction."""
        return self.delivery is Delivery.EXACTLY_ONCE

    @model_validator(mode="after")
    def _topics_differ(self) -> Self:
        topics = [self.input_topic, self.output_topic, self.dead_letter_topic]
        if len(set(topics)) < len(topics):
            raise ValueError(
                "input_topic, output_topic and dead_letter_topic must be three different topics; "
                "otherwise the worker would read its own results"
            )
        if {".", ".."} & set(topics):
            raise ValueError("input_topic, output_topic and dead_letter_topic: Kafka has no topics named . and ..")
        return self

    @model_validator(mode="after")
    def _identity(self) -> Self:
        if self.static_membership and self.instance_id is None:
            raise ValueError("static_membership needs instance_id, a name that this worker keeps across restarts")
        return self
