"""`review-consumer dlq` on a real broker: what it counts, shows, exports and sends."""

import csv
import gc
import json
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from kafka.admin import ACLOperation, ResourceType

from consumer.cli import main
from consumer.records.fault import Detail, Fault, Reason
from consumer.records.messages import dead_letter_headers
from consumer.records.record import Record as Input
from tests import foreign_reader
from tests.faults.secure import PASSWORD, USER, SecureBroker, replay_rights
from tests.kafka_helpers import Record, Topics, internal, produce, read_all
from tests.terminal import on_a_terminal

pytestmark = [
    pytest.mark.broker,
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.usefixtures("left_sockets"),
]
HOUR_MS = 3_600_000
MISSING = Fault(Reason.INVALID_TEXT, Detail.MISSING)
TRUNCATED = Fault(Reason.NOT_JSON, Detail.TRUNCATED, 6)
#: What a terminal would obey.
HOSTILE = b"\x1b[2J\xe2\x80\xae\xff\r\n"

Tool = Callable[..., list[dict[str, object]]]


@pytest.fixture
def left_sockets() -> Iterator[None]:
    """kafka-python may leave the socket of a client that was closed to the garbage collector: collect it here."""
    yield
    gc.collect()


def dead(
    topics: Topics,
    number: int,
    fault: Fault = MISSING,
    *,
    value: bytes | None = b'{"body": "x"}',
    headers: tuple[tuple[str, bytes | None], ...] = (("trace", b"a"),),
    cut: str | None = None,
    source_topic: str = "",
    age_ms: int = 0,
) -> Record:
    """The dead letter of record `number` of partition 1 of the input topic, as a worker writes it."""
    source = Input(source_topic or topics.input, 1, number, _now() - age_ms, b"key-%d" % number, value)
    marks = [*dead_letter_headers(source, fault, cut), ("source-lineage", b"0123456789abcdef")]
    return Record(value, source.key, [*headers, *marks], 1, timestamp_ms=_now() - age_ms)


def _now() -> int:
    return int(time.time() * 1000)


@pytest.fixture
def tool(topics: Topics, capsys: pytest.CaptureFixture[str]) -> Tool:
    """Runs `review-consumer dlq` on these topics; returns the JSON lines that it prints."""

    def run(*words: str, code: int = 0) -> list[dict[str, object]]:
        names = ["--bootstrap-servers", topics.bootstrap, "--dead-letter-topic", topics.dead_letter]
        if words[0] == "replay":
            names += ["--input-topic", topics.input, "--group-id", topics.group]
        capsys.readouterr()
        assert main(["dlq", *words, *names]) == code
        return [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    return run


def test_stats_counts_by_everything(topics: Topics, tool: Tool) -> None:
    """By reason, detail, partition, hour and header; values of a header only if it is asked for."""
    letters = [dead(topics, 1), dead(topics, 2, TRUNCATED, cut="value"), dead(topics, 3, TRUNCATED, headers=())]
    letters.append(dead(topics, 4, Fault(Reason.TOMBSTONE), value=None, age_ms=30 * HOUR_MS))
    produce(topics.bootstrap, topics.dead_letter, [*letters, Record(b"not of a worker", partition=0)])
    rows = tool("stats", "--by-header", "trace")
    counts = {(row["by"], row["value"]): row["count"] for row in rows}
    assert rows[0] | {"count": 5, "cut": 1, "replayed": 0} == rows[0]
    assert counts["reason", "not_json"] == 2
    assert counts["reason", "tombstone"] == 1
    assert counts["reason", "(no dead letter of a worker)"] == 1
    assert counts["detail", "not_json/truncated"] == 2
    assert counts["partition", "0"] == 1
    assert counts["partition", "1"] == 4
    assert len([by for by, _ in counts if by == "hour"]) in {2, 3}
    assert counts["header", "trace"] == 3
    assert counts["header trace", "a"] == 3
    assert counts["header trace", "(no such header)"] == 2
    assert not any("trace" in str(row["by"]) for row in tool("stats"))
    assert tool("stats", "--reason", "not_json")[0]["count"] == 2


def test_list_selects_and_prints_no_content_unless_asked(topics: Topics, tool: Tool) -> None:
    """Each filter selects what it says, and content appears only by its flag."""
    made = produce(topics.bootstrap, topics.dead_letter, [dead(topics, 1), dead(topics, 2, TRUNCATED, age_ms=HOUR_MS)])
    second = f"1:{made[1].offset}"
    assert [row["offset"] for row in tool("list")] == [made[0].offset, made[1].offset]
    for flags in (
        ("--reason", "not_json"),
        ("--detail", "truncated"),
        ("--at", second),
        ("--at", f"{topics.dead_letter}-1-{made[1].offset}"),
        ("--source", "1:2"),
        ("--from", str(made[1].offset)),
        ("--from", "-1", "--partition", "1"),
        ("--to", "30m"),
    ):
        (row,) = tool("list", *flags)
        assert (row["offset"], row["reason"], row["byte"]) == (made[1].offset, "not_json", 6), flags
    assert [row["source_offset"] for row in tool("list", "--from", "30m")] == [1]
    assert [row["source_offset"] for row in tool("list", "--count", "1")] == [1]
    assert tool("list", "--header", "trace=b") == []
    assert len(tool("list", "--header", "trace=a")) == 2
    content = ("key-2", "body", "trace")
    assert not any(word in json.dumps(tool("list", "--at", second)) for word in content)
    asked = json.dumps(tool("list", "--at", second, "--key", "--value", "--headers"))
    assert all(word in asked for word in content)
    assert "source-lineage" not in asked


def test_show_prints_one_record(topics: Topics, tool: Tool) -> None:
    """Facts, and the value: as text, or in base64 if it is none; key and header values only if asked for."""
    (made,) = produce(topics.bootstrap, topics.dead_letter, [dead(topics, 7, TRUNCATED, value=HOSTILE)])
    place = f"1:{made.offset}"
    (row,) = tool("show", place)
    assert (row["reason"], row["byte"], row["source_offset"]) == ("not_json", 6, 7)
    assert row["value"] == {"base64": "G1sySuKArv8NCg=="}
    assert "key" not in row
    assert "headers" not in row
    (row,) = tool("show", place, "--as", "none", "--key", "--headers")
    assert "value" not in row
    assert (row["key"], row["headers"]) == ("key-7", [["trace", "a"]])
    assert tool("show", "1:999", code=2) == []
    assert tool("show", "77:0", code=2) == []


@pytest.mark.parametrize("words", [("show",), ("show", "--as", "text"), ("list", "--value", "--headers", "--key")])
def test_a_terminal_is_not_steered(topics: Topics, words: tuple[str, ...]) -> None:
    """On a terminal, control characters and bytes that are no text are escaped, in every part of a record."""
    letter = dead(topics, 7, TRUNCATED, value=HOSTILE, headers=(("a\x1b[2J", HOSTILE),))
    (made,) = produce(topics.bootstrap, topics.dead_letter, [Record(letter.value, HOSTILE, letter.headers, 1)])
    place = (f"1:{made.offset}", "--key", "--headers") if words[0] == "show" else ()
    output = on_a_terminal("dlq", *words, *place, *connected(topics), columns=200)
    assert "not_json" in output
    assert "\\x1b" in output or "1b 5b 32 4a" in output
    assert not re.search(r"\x1b\[2J|[\u202e\u200b]", output)


def connected(topics: Topics) -> tuple[str, ...]:
    """The flags that name the broker and the topic."""
    return ("--bootstrap-servers", topics.bootstrap, "--dead-letter-topic", topics.dead_letter)


def test_export_writes_each_format(topics: Topics, tool: Tool, tmp_path: Path) -> None:
    """CSV, JSON Lines and Parquet hold the same rows; a file is replaced only if asked, and only its owner reads it."""
    produce(topics.bootstrap, topics.dead_letter, [dead(topics, 1), dead(topics, 2, value=b"\xff")])
    flags = ("--value", "--headers")
    assert [tool("export", str(tmp_path / f"d.{form}"), *flags) for form in ("csv", "jsonl", "parquet")] == [[], [], []]
    rows = [json.loads(line) for line in (tmp_path / "d.jsonl").read_text().splitlines()]
    assert [row["value"] for row in rows] == ['{"body": "x"}', {"base64": "/w=="}]
    with (tmp_path / "d.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert [row["value"] for row in table] == ['{"body": "x"}', '{"base64": "/w=="}']
    parquet = pq.read_table(tmp_path / "d.parquet").to_pylist()
    assert [row["offset"] for row in parquet] == [row["offset"] for row in rows]
    assert [row["value"] for row in parquet] == [row["value"] for row in table]
    assert (tmp_path / "d.csv").stat().st_mode & 0o077 == 0
    assert tool("export", str(tmp_path / "d.csv"), code=2) == []
    assert tool("export", str(tmp_path / "d.txt"), code=2) == []
    assert tool("export", str(tmp_path / "d.csv"), "--force") == []
    assert "value" not in (tmp_path / "d.csv").read_text().splitlines()[0]
    assert [row["source_offset"] for row in tool("export", "-")] == [1, 2]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["d.csv", "d.jsonl", "d.parquet"]


def test_a_replay_sends_the_input_record_once(topics: Topics, tool: Tool) -> None:
    """Key, bytes, headers, timestamp and partition are those of the input record; a second run sends nothing."""
    letters = [dead(topics, number) for number in range(3)]
    produce(topics.bootstrap, topics.dead_letter, letters)
    # Without --send nothing is sent
    (dry,) = tool("replay")
    assert (dry["would_send"], dry["already_sent"]) == (3, 0)
    assert read_all(topics.bootstrap, topics.input) == []
    # With it, each record is there as it was
    assert tool("replay", "--send", "--rate", "1000")[0]["sent"] == 3
    again = read_all(topics.bootstrap, topics.input)
    for record, letter, number in zip(again, letters, range(3), strict=True):
        assert (record.value, record.key, record.partition) == (letter.value, letter.key, 1)
        assert record.timestamp_ms == int(dict(letter.headers)["source-timestamp"] or b"")
        own = [("replay-attempt", b"1"), ("replay-of", f"{topics.input}-1-{number}".encode())]
        assert list(record.headers) == [("trace", b"a"), *own]
    # And a second run finds that out
    (second,) = tool("replay", "--send")
    assert (second["sent"], second["already_sent"]) == (0, 3)
    assert len(read_all(topics.bootstrap, topics.input)) == 3
    assert tool("replay", "--again")[0]["would_send"] == 3
    assert foreign_reader.committed_offsets(topics.bootstrap, f"{topics.group}.replay", topics.dead_letter)[1] == 3


def test_replays_with_different_filters_send_each_record_once(topics: Topics, tool: Tool) -> None:
    """One reason first, then a few, then all: progress is kept for what was sent, not for what was passed over."""
    letters = [dead(topics, number, TRUNCATED if number % 2 else MISSING) for number in range(20)]
    produce(topics.bootstrap, topics.dead_letter, letters)
    sent = [
        tool("replay", "--send", *flags)[0]["sent"]
        for flags in (
            ("--reason", "not_json", "--from", "12"),
            ("--count", "3"),
            ("--reason", "invalid_text"),
            ("--source", "1:7"),
            (),
            (),
        )
    ]
    assert sent == [4, 3, 8, 1, 4, 0]
    again = read_all(topics.bootstrap, topics.input)
    assert sorted(dict(each.headers)["replay-of"] or b"" for each in again) == sorted(
        f"{topics.input}-1-{number}".encode() for number in range(20)
    )


def test_a_replay_refuses_what_it_cannot_restore(topics: Topics, tool: Tool) -> None:
    """Cut records, those of others, of another topic, sent too often, or older than the input topic keeps records."""
    often = (("replay-attempt", b"3"), ("replay-of", b"reviews-0-1"))
    letters = [
        dead(topics, 0),
        dead(topics, 1, cut="value"),
        dead(topics, 2, source_topic="elsewhere"),
        dead(topics, 3, headers=often),
        dead(topics, 4, age_ms=8 * 24 * HOUR_MS),
        Record(b"not of a worker", partition=0),
    ]
    produce(topics.bootstrap, topics.dead_letter, letters)
    (row,) = tool("replay", "--send")
    assert row["sent"] == 1
    assert row["refused"] == {"cut": 1, "foreign": 1, "other_topic": 1, "attempts": 1, "retention": 1}
    # What can be sent after all is not taken for sent
    (row,) = tool("replay", "--send", "--max-attempts", "4", "--timestamp", "now")
    assert (row["sent"], row["already_sent"]) == (2, 1)
    found = [dict(each.headers) for each in read_all(topics.bootstrap, topics.input)]
    assert [each["replay-attempt"] for each in found] == [b"1", b"4", b"1"]
    assert found[1]["replay-of"] == b"reviews-0-1"
    assert tool("replay", "--send")[0]["sent"] == 0


def test_earlier_marks_are_cleaned(topics: Topics, tool: Tool) -> None:
    """A record that was once sent again by hand, with its marks, has none left; headers of the producer stay."""
    earlier = dead_letter_headers(Input(topics.input, 0, 5, 1, None, b""), TRUNCATED)
    producers = (("source-topic", b"crawler"), ("dead-letter-office", b"x"), ("trace", b"b"))
    letter = dead(topics, 1, headers=(*producers, *earlier, ("last", b"y")))
    produce(topics.bootstrap, topics.dead_letter, [letter])
    assert tool("replay", "--send")[0]["sent"] == 1
    (record,) = read_all(topics.bootstrap, topics.input)
    assert [name for name, _ in record.headers][:-2] == ["source-topic", "dead-letter-office", "trace", "last"]


def test_a_secured_broker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Over TLS with the documented rights all actions work; without a right, exit code 4 names it."""
    topics = Topics("", "reviews", "reviews.labeled", "reviews.dlq", "review-consumer")
    monkeypatch.setenv("REVIEWS_SASL_PASSWORD", PASSWORD)
    with SecureBroker(tmp_path) as secure:
        secure.kafka.create_topics({topics.input: 2, topics.output: 2, topics.dead_letter: 2})
        produce(internal(secure.kafka), topics.dead_letter, [dead(topics, 0)])
        flags = ["--bootstrap-servers", secure.kafka.bootstrap, "--security-protocol", "SASL_SSL"]
        flags += ["--sasl-username", USER, "--ssl-cafile", str(secure.authority_file)]
        assert main(["dlq", "stats", *flags]) == 4
        assert "may not see it" in capsys.readouterr().err
        secure.grant(replay_rights(topics))
        assert main(["dlq", "stats", *flags]) == 0
        assert main(["dlq", "list", *flags]) == 0
        assert main(["dlq", "show", "1:0", *flags]) == 0
        assert json.loads(capsys.readouterr().out.splitlines()[-1])["reason"] == "invalid_text"
        exported = tmp_path / "dead.csv"
        assert main(["dlq", "export", str(exported), *flags]) == 0
        assert [row["reason"] for row in csv.DictReader(exported.open())] == ["invalid_text"]
        assert main(["dlq", "replay", "--send", *flags]) == 0
        assert json.loads(capsys.readouterr().out.splitlines()[-1])["sent"] == 1
        assert main(["tail", "--dead-letters", "--from", "beginning", "--no-follow", *flags]) == 0
        assert len(read_all(internal(secure.kafka), topics.input)) == 1
        produce(internal(secure.kafka), topics.output, [Record(b'{"label": "pos", "score": 0.9}', partition=0)])
        results = ["tail", "--from", "beginning", "--no-follow", *flags]
        assert main(results) == 4
        secure.grant([(ResourceType.TOPIC, topics.output, each) for each in (ACLOperation.READ, ACLOperation.DESCRIBE)])
        capsys.readouterr()
        assert main(results) == 0
        assert [json.loads(line)["label"] for line in capsys.readouterr().out.splitlines()] == ["pos"]
        secure.deny((ResourceType.GROUP, f"{topics.group}.replay", ACLOperation.DESCRIBE))
        assert main(["dlq", "replay", *flags]) == 4
        assert f"{topics.group}.replay" in capsys.readouterr().err
