"""`review-consumer produce` on a real broker: what is in the topic is what is in the file, once, whatever happens."""

import json
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import openpyxl
import pytest
from confluent_kafka import Producer
from kafka.admin import ACLOperation, ResourceType

from consumer.local.broker import LocalBroker
from consumer.records.parse import Limits, ParsedReview, parse
from consumer.records.record import Record as Input
from tests.faults.secure import PASSWORD, SecureBroker
from tests.foreign_reader import end_offsets
from tests.kafka_helpers import Topics, internal, read_all
from tests.producing import command, ends, ids, produce, write_lines
from tests.worker_process import wait_until

pytestmark = pytest.mark.broker


def test_a_spreadsheet_becomes_reviews(topics: Topics, tmp_path: Path) -> None:
    """Below a title; with its columns as fields, key, headers and timestamp; and the worker takes each record."""
    # Given a workbook as people have them
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    for row in (
        ["Our reviews"],
        ["No", "Review", "Film", "Stars", "Seen"],
        [1, "Two hours of my life, gone.", "The Long Wait", 1, "2026-01-02T03:04:05Z"],
        [2, 1984, "The Long Wait", 4.5, 1_767_323_045],
        [None, None, None, None, None],
        [3, "Wonderful.", None, None, None],
    ):
        sheet.append(row)
    book.save(tmp_path / "r.xlsx")
    # When it is sent
    flags = ("--id-column", "No", "--key-column", "Film", "--timestamp-column", "Seen", "--field", "Stars=stars")
    code, (result,), _ = produce(
        tmp_path / "r.xlsx",
        topics,
        *flags,
        "--header",
        "origin=ours",
        "--header-column",
        "Film=film",
        "--compression",
        "zstd",
    )
    # Then each row is a record
    assert code == 0
    assert (result["records"], result["sent"]) == (3, 3)
    found = sorted(read_all(topics.bootstrap, topics.input), key=lambda record: json.loads(record.value or b"")["id"])
    assert [json.loads(record.value or b"") for record in found] == [
        {"id": 1, "text": "Two hours of my life, gone.", "stars": 1},
        {"id": 2, "text": "1984", "stars": 4.5},
        {"id": 3, "text": "Wonderful.", "stars": None},
    ]
    assert [record.key for record in found] == [b"The Long Wait", b"The Long Wait", None]
    assert [record.timestamp_ms for record in found[:2]] == [1_767_323_045_000] * 2
    assert abs((found[2].timestamp_ms or 0) / 1000 - time.time()) < 60
    assert found[0].headers == (("origin", b"ours"), ("film", b"The Long Wait"))
    assert found[2].headers == (("origin", b"ours"),)
    for record in found:
        assert isinstance(parse(Input("", 0, 0, -1, None, record.value), Limits()), ParsedReview)


def test_lines_of_json_are_sent_as_they_are(topics: Topics, tmp_path: Path) -> None:
    """Byte by byte, in order of the lines, over all partitions; a byte order mark and blank lines are none of it."""
    lines = [b'{"text": "a",  "n": 1.10, "big": 123456789012345678901234567890}', b'{"text":"\xc3\xa4","nan":NaN}']
    (tmp_path / "r.jsonl").write_bytes(b"\xef\xbb\xbf" + lines[0] + b"\r\n\n" + lines[1])
    code, _, said = produce(tmp_path / "r.jsonl", topics)
    assert code == 0, said
    found = read_all(topics.bootstrap, topics.input)
    assert {record.value for record in found} == set(lines)
    assert len({record.partition for record in found}) == 2


def test_rows_that_the_worker_would_refuse_are_named_before_anything_is_sent(topics: Topics, tmp_path: Path) -> None:
    """With their numbers and reasons, exit code 1 and an empty topic; --skip-refused sends the others."""
    file = tmp_path / "r.csv"
    rows = ["number;review;when", "1;good;", "2;;", "3;bad;never", f"4;{'x' * 70_000};", "5;fine;2001-01-01", "6;a;b;c"]
    file.write_text("\n".join(rows), "utf-8")
    flags = ("--id-column", "number", "--timestamp-column", "when", "--max-request-bytes", 65_536)
    code, lines, said = produce(file, topics, *flags)
    assert code == 1
    assert [(line["row"], line["refused"]) for line in lines[:-1]] == [
        (3, "empty_text"),
        (4, "invalid_timestamp"),
        (5, "too_large"),
        (7, "broken_row"),
    ]
    assert lines[-1] == {"rows": 6, "records": 2, "refused": 4, "sent": 0}
    assert "--skip-refused" in said
    assert sum(end_offsets(topics.bootstrap, topics.input).values()) == 0
    code, lines, _ = produce(file, topics, *flags, "--skip-refused")
    assert (code, lines[-1]["sent"]) == (0, 2)
    assert sorted(ids(read_all(topics.bootstrap, topics.input))) == [1, 5]


def test_a_file_is_sent_once_under_each_name(topics: Topics, tmp_path: Path) -> None:
    """The same file again sends nothing, under another --run all of it; half of a file keeps its options."""
    file = write_lines(tmp_path / "r.jsonl", 400)
    assert [produce(file, topics, *flags)[1][-1]["sent"] for flags in ((), (), ("--run", "again"))] == [400, 0, 400]
    assert Counter(ids(read_all(topics.bootstrap, topics.input))) == Counter([*range(400)] * 2)
    half = write_lines(tmp_path / "half.jsonl", 401)
    before = ends(topics)
    # Whoever runs the tests in the background has SIGINT ignored, and its children as well.
    heard = "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); from consumer import cli; "
    process = subprocess.Popen(
        [sys.executable, "-c", f"{heard}sys.exit(cli.main())", *command(half, topics, "--rate", 20)[3:]],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    wait_until(lambda: ends(topics) > before, 60, "records arrive")
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "the same command sends the rest" in said
    code, _, said = produce(half, topics, "--key-column", "film")
    assert code == 2
    assert "with other options" in said
    code, lines, _ = produce(half, topics)
    assert (code, lines[-1]["before"] + lines[-1]["sent"]) == (0, 401)


def test_keys_go_where_librdkafka_sends_them(topics: Topics, tmp_path: Path) -> None:
    """Java's producer and librdkafka's murmur2_random choose the same partition for every key."""
    draw = random.Random(3)
    keys = sorted({"".join(draw.choices("aäß€😀zZ09 -", k=draw.randint(1, 30))) for _ in range(300)})
    file = tmp_path / "r.jsonl"
    file.write_text("\n".join(json.dumps({"text": "t", "k": key}) for key in keys), "utf-8")
    code, _, said = produce(file, topics, "--key-column", "k")
    assert code == 0, said
    ours = {record.key: record.partition for record in read_all(topics.bootstrap, topics.input)}
    foreign = Producer({"bootstrap.servers": topics.bootstrap, "partitioner": "murmur2_random"})
    for key in keys:
        foreign.produce(topics.output, b"", key.encode())
    assert foreign.flush(30) == 0
    theirs = {record.key: record.partition for record in read_all(topics.bootstrap, topics.output)}
    assert len(ours) == len(keys) > 200
    assert ours == theirs
    assert len(set(ours.values())) == 4


@pytest.mark.timeout(180)
def test_a_secured_kafka(tmp_path: Path) -> None:
    """With TLS, a password and the rights that the page names, it sends; without one of them it says which."""
    topics = Topics("", "reviews", "reviews.labeled", "reviews.dlq", "review-consumer")
    file = write_lines(tmp_path / "r.jsonl", 50)
    with SecureBroker(tmp_path) as secure:
        secure.kafka.create_topics({topics.input: 2})
        at = Topics(secure.kafka.bootstrap, *list(vars(topics).values())[1:])
        flags = ("--security-protocol", "SASL_SSL", "--sasl-username", "worker", "--ssl-cafile", secure.authority_file)
        # The worker's rights on the transactional ids are enough; those on its group are not
        secure.allow(topics)
        code, _, said = produce(file, at, *flags, REVIEWS_SASL_PASSWORD=PASSWORD)
        assert code == 4, said
        assert "Read on the group" in said
        name = said.partition("Read on the group ")[2].partition(",")[0]
        assert "Write and Describe on topic reviews" in said
        needed = [(ResourceType.GROUP, name, ACLOperation.READ), (ResourceType.TOPIC, topics.input, ACLOperation.WRITE)]
        secure.grant(needed)
        code, lines, said = produce(file, at, *flags, REVIEWS_SASL_PASSWORD=PASSWORD)
        assert code == 0, said
        assert lines[-1]["sent"] == 50
        assert PASSWORD not in said
        assert sorted(ids(read_all(internal(secure.kafka), topics.input))) == list(range(50))


def test_a_dry_run_needs_no_kafka(tmp_path: Path) -> None:
    """It shows the first three messages and the refused rows."""
    file = write_lines(tmp_path / "r.jsonl", 5)
    nowhere = Topics("127.0.0.1:1", "reviews", "", "", "g")
    code, lines, _ = produce(file, nowhere, "--dry-run", "--key-column", "film")
    assert code == 0
    assert [line.get("key") for line in lines] == ["film 0", "film 1", "film 2", None]
    assert lines[-1] == {"rows": 5, "records": 5, "refused": 0, "sent": 0}


def test_a_topic_that_does_not_exist_is_refused(kafka: LocalBroker, tmp_path: Path) -> None:
    """And it is not created."""
    topics = Topics(kafka.bootstrap, "no-such-topic", "", "", "g")
    code, _, said = produce(write_lines(tmp_path / "r.jsonl", 5), topics)
    assert code == 4
    assert "topic no-such-topic does not exist" in said
