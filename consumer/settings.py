"""Every setting of the worker; those of the connection to Kafka, which other commands share, are in `kafka_settings`.

One frozen model; combinations that cannot work are refused at start, with the fix in the message.
"""

import socket
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal, Self
from uuid import uuid4

from pydantic import Field, StringConstraints, model_validator

from consumer.kafka_settings import KafkaSettings, Name

Topic = Annotated[str, StringConstraints(pattern=r"^[a-zA-Z0-9._-]{1,249}$")]


class Delivery(StrEnum):
    """What a reader of the output topic may rely on."""

    EXACTLY_ONCE = "exactly_once"
    AT_LEAST_ONCE = "at_least_once"


class WorkerSettings(KafkaSettings):
    """Settings of `review-consumer run`. Defaults are safe for production; times are in seconds, sizes in bytes."""

    input_topic: Topic = Field("reviews", description="topic to read reviews from")
    output_topic: Topic = Field("reviews.labeled", description="topic to write predictions to")
    dead_letter_topic: Topic = Field("reviews.dlq", description="topic for records that cannot be labelled")
    group_id: Name = Field("review-consumer", description="consumer group; workers of one group share the partitions")
    delivery: Delivery = Field(
        Delivery.EXACTLY_ONCE,
        description="exactly_once: one transaction for predictions, dead letters and offsets; "
        "at_least_once: no transactions, duplicates possible after a failure",
    )
    drain: bool = Field(False, description="stop with exit code 0 when the offsets that were the end at start are done")
    instance_id: Annotated[str, StringConstraints(pattern=r"^[a-zA-Z0-9._-]{1,180}$")] | None = Field(
        None, description="stable name of this worker, unique in the group; default: a random one for each start"
    )
    static_membership: bool = Field(
        False, description="keep this worker's partitions for it while it restarts (needs instance_id)"
    )

    bundle: Path = Field(Path("bundles/distilbert-imdb"), description="directory of the model bundle")
    bundle_digest: str | None = Field(
        None,
        pattern=r"^[0-9a-f]{64}$",
        description="the only bundle that may be served, by the SHA-256 of its manifest.json; default: any",
    )
    variant: str | None = Field(None, description="precision variant to serve; default: the one the bundle names")
    threads: int | None = Field(
        None, ge=1, le=1024, description="inference threads; default: the cores available, at most 16"
    )
    token_budget: int | None = Field(
        None,
        ge=16,
        le=1_048_576,
        description="padded tokens of one model batch at most; default: what suits the engine",
    )

    poll_target_seconds: float = Field(
        2.0, gt=0, le=60, description="time that the reviews of one poll should take; polls adapt their size to it"
    )
    max_poll_records: int = Field(1024, ge=1, le=100_000, description="records of one poll at most")
    text_field: Name = Field("text", description="JSON field of the review text")
    id_field: Name = Field("id", description="JSON field of the review id")
    max_record_bytes: int = Field(1_048_576, ge=64, description="record values above this many bytes are dead letters")
    max_text_characters: int = Field(
        1_000_000, ge=1, description="texts above this many characters are dead letters; shorter ones are truncated"
    )
    max_request_bytes: int = Field(
        1_048_576, ge=65_536, description="largest record to produce; the topics' max.message.bytes must allow it"
    )
    max_dead_letter_ratio: float = Field(
        1.0,
        gt=0,
        le=1,
        description="give up when more than this share of the last 1,000 records are dead letters; 1 switches it off",
    )

    start_timeout_seconds: float = Field(60, gt=0, le=3600, description="wait this long for Kafka and its topics")
    session_timeout_seconds: float = Field(
        10, ge=1, le=1800, description="a worker unheard of for this long loses its partitions"
    )
    max_poll_interval_seconds: float = Field(300, ge=1, le=86_400, description="time between two polls at most")
    request_timeout_seconds: float = Field(30, ge=1, le=500, description="time that one request to a broker may take")
    transaction_timeout_seconds: float = Field(
        40, ge=1, le=900, description="the broker aborts a transaction that a dead worker left open after this time"
    )
    broker_timeout_seconds: float = Field(
        300, ge=1, le=86_400, description="give up when no broker has answered for this long"
    )
    watchdog_seconds: float = Field(
        180, ge=1, le=86_400, description="dump all stacks and give up when one turn of the loop takes longer"
    )
    metadata_max_age_seconds: float = Field(
        60, ge=1, le=86_400, description="new partitions and leaders are noticed after this time at most"
    )
    stall_timeout_seconds: float = Field(
        300, ge=1, le=86_400, description="give up when a partition in which records wait has not moved for this long"
    )
    stop_timeout_seconds: float = Field(15, ge=1, le=600, description="time to leave the group cleanly on a stop")

    metrics_host: str = Field("127.0.0.1", description="address that /metrics, /live and /ready listen on")
    metrics_port: int = Field(9100, ge=0, le=65_535, description="their port; 0 takes any free one")
    log_format: Literal["auto", "json", "text"] = Field(
        "auto", description="JSON lines or text; auto: text on a terminal"
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="least level that is logged")

    @cached_property
    def transactional_id(self) -> str:
        """Unique among live workers. A stable one lets a restarted worker abort what it left open at once.

        Two groups never share one: no instance id has a slash.
        """
        return f"{self.group_id}/{self.instance_id or f'{socket.gethostname()}-{uuid4().hex[:12]}'}"

    @model_validator(mode="after")
    def _topics_differ(self) -> Self:
        topics = [self.input_topic, self.output_topic, self.dead_letter_topic]
        if len(set(topics)) < len(topics):
            raise ValueError(
                "input_topic, output_topic and dead_letter_topic must be three different topics; "
                "the worker would read its own results"
            )
        if {".", ".."} & set(topics):
            raise ValueError("input_topic, output_topic and dead_letter_topic: Kafka has no topics named . and ..")
        return self

    @model_validator(mode="after")
    def _identity(self) -> Self:
        if self.static_membership and self.instance_id is None:
            raise ValueError("static_membership needs instance_id, a name that this worker keeps over restarts")
        return self

    @model_validator(mode="after")
    def _times_fit(self) -> Self:
        if self.poll_target_seconds > self.max_poll_interval_seconds / 5:
            raise ValueError("poll_target_seconds must be at most a fifth of max_poll_interval_seconds")
        if self.transaction_timeout_seconds >= self.max_poll_interval_seconds and self.is_exactly_once:
            raise ValueError("transaction_timeout_seconds must be below max_poll_interval_seconds")
        if self.stall_timeout_seconds <= self.transaction_timeout_seconds and self.is_exactly_once:
            # A partition waits that long for what a worker left open that was killed.
            raise ValueError("stall_timeout_seconds must be above transaction_timeout_seconds")
        if self.request_timeout_seconds >= self.max_poll_interval_seconds / 2:
            # Results get half the interval to be delivered in, with at least one try of a request.
            raise ValueError("request_timeout_seconds must be below half of max_poll_interval_seconds")
        if self.session_timeout_seconds > self.max_poll_interval_seconds:
            raise ValueError("session_timeout_seconds must be at most max_poll_interval_seconds")
        if self.watchdog_seconds < 2 * self.poll_target_seconds:  # a poll may well take longer than it should
            raise ValueError("watchdog_seconds must be at least twice poll_target_seconds")
        if self.watchdog_seconds <= self.stop_timeout_seconds:
            raise ValueError("watchdog_seconds must be above stop_timeout_seconds")
        if self.text_field == self.id_field:
            raise ValueError("text_field and id_field must differ")
        return self

    @property
    def is_exactly_once(self) -> bool:
        """Whether predictions, dead letters and offsets are one transaction."""
        return self.delivery is Delivery.EXACTLY_ONCE
