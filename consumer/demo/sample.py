"""The sample: reviews, with broken records among them."""

import json
from dataclasses import dataclass
from importlib import resources
from typing import Any

from consumer.demo.broken import BROKEN
from consumer.records.fault import Reason


@dataclass(frozen=True, slots=True)
class SampleRecord:
    """One record to produce: `review` is its JSON object; a broken record has a `reason` instead."""

    key: bytes
    value: bytes | None
    review: dict[str, Any] | None = None
    reason: Reason | None = None


def load() -> list[SampleRecord]:
    """All reviews in the order of the file, with the broken records spread evenly among them."""
    lines = resources.files("consumer.demo").joinpath("sample.jsonl").read_text("utf-8").splitlines()
    reviews = [json.loads(line) for line in lines]
    # Keyed by film: the reviews of one film stay in order.
    records = [
        SampleRecord(review["film"].encode(), line.encode(), review)
        for review, line in zip(reviews, lines, strict=True)
    ]
    step = len(records) // len(BROKEN)
    for number, (reason, value) in reversed(list(enumerate(BROKEN))):
        records.insert(number * step + step // 2, SampleRecord(b"broken-%d" % (number + 1), value, reason=reason))
    return records
