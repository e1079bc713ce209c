"""What `produce` makes of a row: value, key, headers, timestamp and partition, or the reason why it refuses it."""

import argparse
import datetime
import decimal
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import jiter
import pytest
from hypothesis import strategies

from consumer.errors import UsageError
from consumer.kafka.tools.partitions import partition_of
from consumer.records.parse import Limits, ParsedReview, parse
from consumer.records.record import Record
from consumer.settings import WorkerSettings
from consumer.tables.table import GUESSED, Percentage, TableOptions
from consumer.tools.produce.cells import as_bytes, as_timestamp, as_value
from consumer.tools.produce.command import add_arguments
from consumer.tools.produce.file import InputFile
from consumer.tools.produce.mapping import Mapping, mapping_of
from consumer.tools.produce.messages import Message, Refusal

NOON = datetime.datetime(2026, 1, 2, 12, 0)
NOON_MS = 1_767_355_200_000


def read(path: Path, mapping: Mapping | None = None, **settings: Any) -> list[Message | Refusal]:
    """What becomes of the rows of `path`."""
    file = InputFile(path, mapping or Mapping(), WorkerSettings.model_validate(settings))
    return list(file.messages())


def values(found: list[Message | Refusal]) -> list[Any]:
    """The JSON of messages, and the reasons of refusals with their rows."""
    return [
        json.loads(each.record.value or b"") if isinstance(each, Message) else (each.row, each.reason) for each in found
    ]


def written(path: Path, *lines: str) -> Path:
    """A file of these lines."""
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return path


@pytest.mark.parametrize(
    ("key", "hashed"),
    [
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_a_key_has_the_hash_that_java_gives_it(key: bytes, hashed: int) -> None:
    """The values of the tests of Kafka's own client."""
    assert partition_of(key, 7, 2**31 - 1) == (hashed & 0x7FFFFFFF) % (2**31 - 1)
    assert partition_of(key, 7, 12) == (hashed & 0x7FFFFFFF) % 12


def test_rows_without_a_key_take_turns() -> None:
    """No partition is left out."""
    assert [partition_of(None, row, 3) for row in range(2, 8)] == [2, 0, 1, 2, 0, 1]


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        (None, None),
        (True, True),
        (3, 3),
        ("a", "a"),
        (Percentage(0.25), "25%"),
        (NOON, "2026-01-02T12:00:00"),
        (datetime.date(2026, 1, 2), "2026-01-02"),
        (datetime.time(9, 30), "09:30:00"),
        (decimal.Decimal("1.10"), jiter.LosslessFloat(b"1.10")),
        ([NOON, {"a": decimal.Decimal("NaN")}], ["2026-01-02T12:00:00", {"a": None}]),
    ],
)
def test_cells_become_json(cell: Any, value: Any) -> None:
    """Dates and percentages as text, numbers with every digit."""
    assert repr(as_value(cell)) == repr(value)


def test_bytes_are_no_json() -> None:
    """Nothing is guessed of them."""
    with pytest.raises(ValueError, match="bytes"):
        as_value({"a": b"x"})


@pytest.mark.parametrize(
    ("cell", "key"),
    [
        *((None, None), ("", None), ("ä", "ä".encode()), (b"\xff", b"\xff"), (7, b"7"), (True, b"true")),
        *((jiter.LosslessFloat(b"1.10"), b"1.10"), (NOON, b"2026-01-02T12:00:00"), ([1, "a"], b'[1,"a"]')),
    ],
)
def test_cells_become_keys(cell: Any, key: bytes | None) -> None:
    """Strings are UTF-8, numbers their digits, and a blank cell is no key."""
    assert as_bytes(cell) == key


@pytest.mark.parametrize(
    "cell",
    [
        *(NOON, "2026-01-02T12:00:00Z", "2026-01-02 12:00", "2026-01-02T13:00:00+01:00", NOON_MS, NOON_MS // 1000),
        *(str(NOON_MS), f" {NOON_MS // 1000} ", jiter.LosslessFloat(b"1767355200.0"), float(NOON_MS)),
    ],
)
def test_cells_become_timestamps(cell: Any) -> None:
    """However a time is written; without a zone it is UTC."""
    assert as_timestamp(cell) == NOON_MS


@pytest.mark.parametrize(
    "cell",
    [
        *(True, "soon", "12:30", -1, "1969-12-31T23:59:59Z", float("nan"), 1e300, [1]),
        pytest.param(time.time() + 4000, id="ahead"),
    ],
)
def test_what_brokers_refuse_is_no_timestamp(cell: Any) -> None:
    """Before 1970, more than an hour ahead, or no time at all."""
    with pytest.raises(ValueError, match=r"1970|time|ahead"):
        as_timestamp(cell)
    assert as_timestamp(None) is as_timestamp("") is None


def test_columns_are_mapped(tmp_path: Path) -> None:
    """Text and id go where the worker looks for them, dots included; the other columns keep their names."""
    file = written(tmp_path / "r.csv", "sep=;", "Nr;Review;Film", "7;good;A", ";bad;")
    mapping = Mapping(id="Nr", key="Film", header_columns=(("Film", "film"),), headers=(("by", "us"),))
    found = read(file, mapping, text_field="payload.text", id_field="payload.id")
    assert values(found) == [
        {"payload": {"id": "7", "text": "good"}, "Film": "A"},
        {"payload": {"text": "bad"}, "Film": ""},
    ]
    first, second = (each.record for each in found if isinstance(each, Message))
    assert (first.key, first.headers) == (b"A", [("by", b"us"), ("film", b"A")])
    assert (second.key, second.headers) == (None, [("by", b"us")])
    chosen = read(file, Mapping(fields=(("Nr", "number"),)))
    assert values(chosen) == [{"text": "good", "number": "7"}, {"text": "bad", "number": ""}]
    assert values(read(file, Mapping(fields=())))[0] == {"text": "good"}


def test_a_column_that_would_overwrite_the_text_is_refused(tmp_path: Path) -> None:
    """No field is lost in silence."""
    file = written(tmp_path / "r.csv", "Reviews,text", "good,other")
    with pytest.raises(UsageError, match="'text' would overwrite"):
        read(file)
    assert values(read(file, Mapping(fields=(("text", "title"),)))) == [{"text": "good", "title": "other"}]
    lines = written(tmp_path / "r.jsonl", '{"body": "good", "text": "other"}')
    assert values(read(lines, Mapping(text="body"))) == [(1, "two_fields")]


def test_columns_that_are_missing_are_refused(tmp_path: Path) -> None:
    """A misspelt name is no column of blank cells; in lines of JSON it shows at the end of the check."""
    with pytest.raises(UsageError, match="no column 'flim'; the file has 'text', 'film'"):
        read(written(tmp_path / "r.csv", "text,film", "good,A"), Mapping(key="flim"))
    with pytest.raises(UsageError, match="no object has a field 'flim'"):
        read(written(tmp_path / "r.jsonl", '{"text": "good", "film": "A"}'), Mapping(key="flim"))


def test_lines_of_json(tmp_path: Path) -> None:
    """What needs no change is not changed; what the worker would refuse is named with its line."""
    lines = ['{"text": "a", "n": 1.10}', "", '"b"', '{"text": 5}', "{broken", '"{\\"text\\": 1}"', '{"text": " "}']
    file = written(tmp_path / "r.jsonl", *lines)
    refused = [(4, "invalid_text"), (5, "not_json"), (6, "not_an_object"), (7, "empty_text")]
    found = read(file)
    assert values(found) == [{"text": "a", "n": 1.1}, (3, "not_an_object"), *refused]
    assert isinstance(found[0], Message)
    assert found[0].record.value == lines[0].encode()
    assert isinstance(found[1], Refusal)
    assert "--wrap" in found[1].detail
    assert values(read(file, Mapping(wrap=True))) == [{"text": "a", "n": 1.1}, {"text": "b"}, *refused]


def test_the_text_of_lines_is_found_by_a_usual_name(tmp_path: Path) -> None:
    """If no object has `text_field`; numbers keep their digits when the line is rewritten."""
    file = written(tmp_path / "r.jsonl", '{"Review": "a", "n": 1.10, "big": 123456789012345678901}', '{"n": 1}')
    found = read(file, Mapping(fields=(("n", "count"), ("big", "big"))))
    assert isinstance(found[0], Message)
    assert found[0].record.value == b'{"text":"a","count":1.10,"big":123456789012345678901}'
    assert values(found)[1:] == [(2, "invalid_text")]


def test_a_list_in_json_and_a_text_a_line(tmp_path: Path) -> None:
    """Both are files as people have them."""
    assert values(read(written(tmp_path / "r.json", '[{"text": "a", "n": 1.10},', '{"text": ""}]'))) == [
        {"text": "a", "n": 1.1},
        (2, "empty_text"),
    ]
    assert values(read(written(tmp_path / "r.txt", "a, b", "", " "))) == [{"text": "a, b"}, (3, "empty_text")]


def test_parquet(tmp_path: Path) -> None:
    """Batch by batch; a column of bytes is refused, not guessed."""
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    table = pyarrow.table(
        {"id": [1, 2], "text": ["a", None], "when": [NOON, NOON], "tags": [["x"], []], "raw": [b"", b"x"]}
    )
    parquet.write_table(table, tmp_path / "r.parquet")
    assert values(read(tmp_path / "r.parquet")) == [(1, "invalid_cell"), (2, "empty_text")]
    mapping = Mapping(fields=(("tags", "tags"), ("when", "when")), key="raw", timestamp="when")
    first = read(tmp_path / "r.parquet", mapping)[0]
    assert isinstance(first, Message)
    assert json.loads(first.record.value or b"") == {"id": 1, "text": "a", "tags": ["x"], "when": "2026-01-02T12:00:00"}
    assert (first.record.key, first.record.timestamp_ms) == (b"", NOON_MS)


def test_parquet_without_its_package_is_refused_with_the_command_to_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker is installed without pyarrow."""
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    (tmp_path / "r.parquet").write_bytes(b"PAR1")
    with pytest.raises(UsageError, match=r"pip install 'review-consumer\[parquet\]'"):
        read(tmp_path / "r.parquet")


def test_records_that_are_too_large_are_refused(tmp_path: Path) -> None:
    """As a record with its key and headers, and as the prediction that the worker would have to write."""
    file = written(
        tmp_path / "r.jsonl",
        json.dumps({"text": "a" * 70_000}),
        json.dumps({"text": "a", "rest": "b" * 62_000}),
        json.dumps({"text": "a" * 62_000, "rest": "b"}),
    )
    found = read(file, max_request_bytes=65_536)
    assert values(found)[:2] == [(1, "too_large"), (2, "prediction_too_large")]
    assert isinstance(found[2], Message)


def test_a_file_that_changes_is_noticed(tmp_path: Path) -> None:
    """It is read twice, and the second reading sends what the first one checked."""
    path = written(tmp_path / "r.jsonl", '{"text": "a"}')
    file = InputFile(path, Mapping(), WorkerSettings())
    file.check_unchanged()
    written(path, '{"text": "a"}', '{"text": "b"}')
    with pytest.raises(UsageError, match="changed while it was read"):
        file.check_unchanged()


@pytest.mark.parametrize(
    ("name", "said"), [("no.csv", "cannot be read"), ("", "is no file"), ("r.docx", "supported are")]
)
def test_what_is_no_file_is_refused(tmp_path: Path, name: str, said: str) -> None:
    """In one line."""
    (tmp_path / "r.docx").touch()
    with pytest.raises(UsageError, match=said):
        read(tmp_path / name)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--header", "source-offset=1"], "worker adds a header"),
        (["--header", "a=1", "--header-column", "b=a"], "same name"),
        (["--field", "a=c", "--field", "b=c"], "same name"),
        (["--field", "a", "--no-fields"], "takes none"),
    ],
)
def test_flags_that_contradict_each_other(flags: list[str], said: str) -> None:
    """Two things of one name could not be told apart."""
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    with pytest.raises(UsageError, match=said):
        mapping_of(parser.parse_args(["r.csv", *flags]))


def test_a_mapping_is_told_from_another() -> None:
    """Whatever changes the records changes the digest; a rerun of the same command does not."""
    settings = WorkerSettings()
    same = Mapping(key="a", table=TableOptions(separator=";"))
    others = [
        *(Mapping(), Mapping(text="a"), Mapping(id="a"), Mapping(key="a"), Mapping(timestamp="a"), Mapping(wrap=True)),
        *(Mapping(fields=()), Mapping(headers=(("a", "a"),)), Mapping(header_columns=(("a", "a"),))),
        *(Mapping(table=TableOptions(encoding="cp1252")), Mapping(table=TableOptions(header_row=2)), same),
    ]
    assert len({each.digest(settings) for each in others}) == len(others)
    assert same.digest(settings) == Mapping(key="a", table=TableOptions(separator=";")).digest(settings)
    assert same.digest(settings) != same.digest(settings.model_copy(update={"text_field": "body"}))
    assert same.digest(settings) == same.digest(settings.model_copy(update={"max_record_bytes": 100}))


def _cells() -> strategies.SearchStrategy[Any]:
    plain = strategies.none() | strategies.booleans() | strategies.integers() | strategies.floats() | strategies.text()
    return strategies.recursive(
        plain,
        lambda inner: (
            strategies.lists(inner, max_size=3) | strategies.dictionaries(strategies.text(), inner, max_size=3)
        ),
    )


@hypothesis.given(lines=strategies.lists(strategies.dictionaries(strategies.text(max_size=5), _cells(), max_size=4)))
@hypothesis.settings(max_examples=60)
def test_whatever_is_sent_the_worker_takes(
    tmp_path_factory: pytest.TempPathFactory, lines: list[dict[str, Any]]
) -> None:
    """Any objects, with and without a text: each row is a message that parses, or a refusal."""
    path = tmp_path_factory.mktemp("lines") / "r.jsonl"
    path.write_text("\n".join(json.dumps({"text": "a", **line}) for line in lines), "utf-8")
    found = (
        read(path, Mapping(id="k", fields=(("v", "v"),)))
        if any("k" in line and "v" in line for line in lines)
        else read(path)
    )
    assert len(found) == len(lines)
    for each in found:
        if isinstance(each, Message):
            assert isinstance(parse(Record("", 0, 0, -1, None, each.record.value), Limits()), ParsedReview)


def rows_of_training(path: Path) -> Iterator[tuple[int, Any]]:
    """Row numbers and texts as `review-training predict` reads them."""
    from training.data.texts import read_texts

    return ((row.row, row.text) for row in read_texts(str(path), None, options=GUESSED) if row.text)


@pytest.mark.training
@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", b'sep=;\nReview;Film\n"a;b";x\n\nc;y\n'),
        ("b.csv", b'\xef\xbb\xbfOur reviews\n\nNo,Comment\n1,first\n2,"second\nline"\n'),
        ("c.tsv", b'text\tfilm\n"quoted\ta\n5 inches" tall\tb\n'),
        ("d.csv", "Reviews\nä\n".encode("utf-16")),
        ("e.jsonl", b'{"n": 1, "review": "a"}\n\n{"review": "b"}\n'),
        ("f.txt", b"one\ntwo\n"),
    ],
)
def test_training_reads_the_same_texts(tmp_path: Path, name: str, content: bytes) -> None:
    """The definition of a table is shared, so row numbers and texts are the same."""
    (tmp_path / name).write_bytes(content)
    ours = [
        (each.row, json.loads(each.record.value or b"")["text"])
        for each in read(tmp_path / name)
        if isinstance(each, Message)
    ]
    assert ours == list(rows_of_training(tmp_path / name))
    assert ours
