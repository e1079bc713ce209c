"""Fixes of kafka-python that need no broker, and the order in which all of them are documented and applied."""

import ast
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from kafka import TopicPartition
from kafka.consumer.fetcher import Fetcher
from kafka.record.memory_records import MemoryRecords, MemoryRecordsBuilder
from kafka.structs import OffsetAndTimestamp

from consumer.kafka import fixes
from consumer.kafka.client import Clients
from consumer.kafka.fixes import network
from consumer.kafka.fixes.records import HeaderName

ROOT = Path(__file__).parents[2]
ROOM = ROOT / "consumer/kafka/fixes"


@pytest.fixture(autouse=True)
def applied() -> None:
    """Patch the library as the worker does."""
    fixes.apply()


@pytest.mark.parametrize("codec", [0, 1, 2, 3, 4], ids=["none", "gzip", "snappy", "lz4", "zstd"])
def test_a_header_name_that_is_not_utf8_is_read_and_written_back(codec: int) -> None:
    """With every codec, such a name reads as text and encodes to its bytes; its neighbours are unchanged."""
    # Given a batch with such names between others
    names = ["plain", HeaderName(b"\xff\xfe"), "größe"]
    builder = MemoryRecordsBuilder(2, codec, 100_000)
    for offset, name in enumerate(names):
        builder.append(offset, b"key", b"value " * 50, [(name, b"1")])
    builder.close()
    # When it is read
    (batch,) = MemoryRecords(bytes(builder.buffer()))
    read = list(batch)
    # Then every record is whole, and every name has its bytes
    assert [record.headers[0][0].encode("utf-8") for record in read] == [b"plain", b"\xff\xfe", "größe".encode()]
    assert [record.value for record in read] == [b"value " * 50] * 3
    assert str(read[1].headers[0][0]) == "\\xff\\xfe"


def test_the_offsets_that_are_known_are_returned() -> None:
    """A partition without a leader is left out; the call does not fail for the others."""
    # Given a fetcher that finds the offsets of one of two partitions
    known, unknown = TopicPartition("t", 0), TopicPartition("t", 1)

    class Network:
        def run(self, *_: Any) -> dict[TopicPartition, OffsetAndTimestamp]:
            return {known: OffsetAndTimestamp(7, 0, -1)}

    fetcher = Fetcher.__new__(Fetcher)
    fetcher._net = Network()
    # Then that one is returned, for the first offsets and for the last
    assert fetcher.end_offsets([known, unknown]) == {known: 7}
    assert fetcher.beginning_offsets([known, unknown]) == {known: 7}


@pytest.mark.parametrize("received", [(b"answer", "end"), (b"answer", None), (b"", "end")])
def test_data_comes_before_the_end(received: tuple[bytes, Any]) -> None:
    """Data that arrived together with the end of the connection is delivered first."""
    # Given a transport that has received this
    receive = network.data_before_end(lambda _: received)
    # Then the end is reported only when there is no data
    data, error = receive(None)
    assert data == received[0]
    assert error == (None if data else "end")


def sections(module: str) -> list[ast.FunctionDef]:
    """The functions of a module of fixes that describe a fault, in order."""
    found = ast.parse((ROOM / f"{module}.py").read_text("utf-8")).body
    functions = [each for each in found if isinstance(each, ast.FunctionDef)]
    return [each for each in functions if "Fault: " in (ast.get_docstring(each) or "")]


MODULES = ("records", "positions", "losses", "topics", "group", "sending", "transactions", "refusals", "network")


def test_each_fix_says_fault_fix_and_test() -> None:
    """One section a fix, in the same form; the test that it names exists."""
    tests = "".join(path.read_text("utf-8") for path in (ROOT / "tests/faults").glob("test_*.py"))
    assert {path.stem for path in ROOM.glob("*.py")} == {"__init__", *MODULES}
    shown = 0
    for section in (section for module in MODULES for section in sections(module)):
        said = ast.get_docstring(section) or ""
        assert said.index("Fault: ") < said.index("Fix: "), section.name
        for test in re.findall(r"Shown by: (\w+)", said):
            assert f"def {test}(" in tests, test
            shown += 1
    assert shown >= 17


def test_patches_are_applied_in_the_order_of_their_sections() -> None:
    """A reader finds the same order in the modules and in the list, and no patch is left out of it."""
    listed = [f"{patch.__module__}.{patch.__name__}" for patch in fixes.PATCHES]
    written = [
        f"consumer.kafka.fixes.{module}.{section.name}"
        for module in MODULES
        for section in sections(module)
        if not section.args.args  # the others are called instead of the library
    ]
    assert listed == written
    assert len(listed) >= 13


def test_a_client_without_the_fixes_is_an_error() -> None:
    """A process that forgot to apply them fails at once, not when the first fault strikes."""
    program = "from consumer.kafka.client import Clients; Clients()"
    ended = subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=False, capture_output=True, text=True)
    assert ended.returncode == 1
    assert "RuntimeError: call consumer.kafka.fixes.apply() once" in ended.stderr
    Clients()  # here they are applied


def test_a_second_call_patches_nothing_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Patches wrap what is there: applied twice, each would count and note everything twice."""
    monkeypatch.setattr(fixes, "PATCHES", [lambda: pytest.fail("patched again")])
    fixes.apply()
