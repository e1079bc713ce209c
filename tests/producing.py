"""Runs `review-consumer produce` for tests, and says what is in the topic after it."""

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tests.foreign_reader import NoAnswerError, end_offsets
from tests.kafka_helpers import Record, Topics, read_all


def command(path: Path, topics: Topics, *flags: object) -> list[str]:
    """The command line that sends `path`."""
    to = ("--bootstrap-servers", topics.bootstrap, "--input-topic", topics.input, "--group-id", topics.group)
    return [sys.executable, "-m", "consumer.cli", "produce", str(path), *to, *map(str, flags)]


def produce(path: Path, topics: Topics, *flags: object, **environment: str) -> tuple[int, list[dict[str, Any]], str]:
    """Exit code, lines of JSON and stderr of a run that is left alone."""
    ended = subprocess.run(
        command(path, topics, *flags),
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
        env=os.environ | environment,
    )
    return ended.returncode, [json.loads(line) for line in ended.stdout.splitlines()], ended.stderr


def write_lines(path: Path, count: int) -> Path:
    """Reviews with ids from 0 on, of 100 films."""
    rows = (json.dumps({"id": i, "text": f"review {i} of a film", "film": f"film {i % 100}"}) for i in range(count))
    path.write_text("\n".join(rows) + "\n", "utf-8")
    return path


def ids(records: Iterable[Record]) -> list[int]:
    """Of the reviews, as they lie in the topic."""
    return [int(json.loads(record.value or b"")["id"]) for record in records]


def check_once(topics: Topics, count: int) -> None:
    """Every row is there once, and the rows of each key are in the order of the file."""
    found = read_all(topics.bootstrap, topics.input)
    assert Counter(ids(found)) == Counter(range(count))
    by_key: dict[bytes | None, list[int]] = {}
    for record in found:
        by_key.setdefault(record.key, []).append(*ids([record]))
    assert len(by_key) == 100
    assert all(each == sorted(each) for each in by_key.values())


def ends(topics: Topics) -> int:
    """Sum of the end offsets of the input topic, with transaction markers; 0 while a partition has no leader."""
    try:
        return sum(end_offsets(topics.bootstrap, topics.input).values())
    except NoAnswerError:
        return 0
