"""The settings of `review-consumer run`: connection, topics, times, and what is here.

One frozen model; combinations that cannot work are refused at start, with the fix in the message.
"""

from enum import StrEnum
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from consumer.settings.connection import Name
from consumer.settings.times import TimeSettings

#: Reviews that say something about drift; a window holds as many at least.
LEAST_DRIFT_WINDOW = 100

#: Default of `threads`. Each takes about 60 MiB, and workers usually run with 2 GiB, which is too little for 32.
MOST_THREADS = 16


class Framing(StrEnum):
    """What stands before the JSON of an input value."""

    NONE = "none"
    SCHEMA_REGISTRY = "schema_registry"


class Reload(StrEnum):
    """When a running worker looks whether there is another bundle at its path."""

    OFF = "off"
    SIGNAL = "signal"
    WATCH = "watch"


class ModelSettings(TimeSettings):
    """Model."""

    bundle: Path = Field(
        Path("bundles/cascade-imdb"),
        description="directory of the model bundle, or student-imdb, which comes with the program",
    )
    bundle_digest: str | None = Field(
        None,
        pattern=r"^[0-9a-f]{64}$",
        description="serve this bundle and no other: the SHA-256 of its manifest.json (default: any)",
    )
    variant: str | None = Field(
        None, description="precision variant to serve, such as int8 (default: the one that the bundle recommends)"
    )
    threads: int | None = Field(
        None,
        ge=1,
        le=1024,
        description=f"inference threads (default: one for each available core, at most {MOST_THREADS})",
    )
    token_budget: int | None = Field(
        None,
        ge=16,
        le=1_048_576,
        description="tokens in one model batch at most, padding included; a longer text is a batch of its own "
        "(default: what suits the engine)",
    )
    cache_texts: int = Field(
        10_000,
        ge=0,
        le=10_000_000,
        description="texts whose labels are kept, so that a text that comes again is not computed again; each takes "
        "about 500 bytes. 0: none",
    )
    reload_bundle: Reload = Field(
        Reload.OFF,
        description="serve another bundle at the same path without a restart. watch: soon after it is put there, or on "
        "SIGUSR2; signal: on SIGUSR2; off: never. With bundle_digest, no other bundle is ever served",
    )
    canary_file: Path | None = Field(
        None,
        description="texts that a new bundle has to label as the one before it did, but for max_disagreement: a jsonl, "
        "csv or other table with at most 1,000 rows and the text in text_field; needs reload_bundle (default: none)",
    )
    max_disagreement: float = Field(
        0.05, ge=0, le=1, description="share of the texts of canary_file that a new bundle may label differently"
    )

    @model_validator(mode="after")
    def _canary_is_used(self) -> Self:
        if self.canary_file is not None and self.reload_bundle is Reload.OFF:
            raise ValueError("canary_file is for bundles that are replaced: set reload_bundle to watch or signal")
        return self


class LimitSettings(ModelSettings):
    """Records and limits."""

    value_framing: Framing = Field(
        Framing.NONE,
        description="schema_registry: the JSON of a value may follow the 5 bytes that a schema registry's serializer "
        "writes (a zero byte and the schema id), which are skipped",
    )
    text_field: Name = Field(
        "text",
        description="JSON field that holds the review; dots lead into objects, as in payload.after.text, unless there "
        "is a field with exactly this name",
    )
    id_field: Name = Field("id", description="JSON field that holds the id of the review; dots as in text_field")
    max_poll_records: int = Field(
        1024, ge=1, le=100_000, description="records in one poll at most, however fast the model is"
    )
    max_record_bytes: int = Field(
        1_048_576, ge=64, description="records whose value is larger than this become dead letters"
    )
    max_text_characters: int = Field(
        1_000_000,
        ge=1,
        description="texts with more characters than this become dead letters; a shorter text of more tokens than the "
        "model reads is labelled by a part of it",
    )
    max_request_bytes: int = Field(
        1_048_576,
        ge=65_536,
        le=1_073_741_824,
        description="size of the largest record to write, in bytes; at most max.message.bytes of the output and "
        "dead-letter topics. Dead letters that are larger are cut",
    )
    max_dead_letter_ratio: float = Field(
        1.0,
        gt=0,
        le=1,
        description="exit with code 5 if more than this share of the last 1,000 records became dead letters; 1: never",
    )

    @model_validator(mode="after")
    def _fields_differ(self) -> Self:
        if self.text_field == self.id_field:
            raise ValueError("text_field and id_field must differ")
        return self


class WorkerSettings(LimitSettings):
    """Metrics, logs and traces."""

    metrics_host: str = Field(
        "127.0.0.1", description="address on which /metrics, /live, /ready and the page for people are served"
    )
    metrics_port: int = Field(
        9100, ge=0, le=65_535, description="port on which they are served; 0: any free one, which the log reports"
    )
    drift_window: int = Field(
        1_000,
        ge=0,
        le=100_000,
        description="the last so many labelled reviews are compared with the bundle's profile, at least "
        f"{LEAST_DRIFT_WINDOW}; 0: none",
    )
    log_format: Literal["auto", "json", "text"] = Field(
        "auto", description="json: one object per line; text: for people; auto: text on a terminal, else json"
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="lowest level that is logged")
    tracing: bool = Field(
        False,
        description="send a span of each poll to an OpenTelemetry collector, and carry the trace of each record on to "
        "its result; the OTEL_* variables say where the collector is (docs/tracing.md). Needs the extra tracing",
    )

    @model_validator(mode="after")
    def _window_says_something(self) -> Self:
        if 0 < self.drift_window < LEAST_DRIFT_WINDOW:
            raise ValueError(
                f"drift_window {self.drift_window} is too small to tell drift from chance; set at least "
                f"{LEAST_DRIFT_WINDOW}, or 0 to turn it off"
            )
        return self
