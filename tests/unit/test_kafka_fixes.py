"""Header names keep their bytes, and data that comes with the end of a connection is not lost."""

from typing import Any

import pytest
from kafka import TopicPartition
from kafka.consumer.fetcher import Fetcher
from kafka.record.memory_records import MemoryRecords, MemoryRecordsBuilder
from kafka.structs import OffsetAndTimestamp

from consumer.kafka import fixes
from consumer.kafka.fixes import HeaderName


@pytest.fixture(autouse=True)
def applied() -> None:
    """As in every client of the worker."""
    fixes.apply()


@pytest.mark.parametrize("codec", [0, 1, 2, 3, 4], ids=["none", "gzip", "snappy", "lz4", "zstd"])
def test_a_header_name_that_is_not_utf8_is_read_and_written_back(codec: int) -> None:
    """Whatever the codec, such a name is text for people and its own bytes for Kafka; its neighbours are untouched."""
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


def test_the_offsets_that_are_known_are_answered() -> None:
    """A partition without a leader is left out; it is no reason to fail for the others."""
    # Given a fetcher that finds the offsets of one of two partitions
    known, unknown = TopicPartition("t", 0), TopicPartition("t", 1)

    class Network:
        def run(self, *_: Any) -> dict[TopicPartition, OffsetAndTimestamp]:
            return {known: OffsetAndTimestamp(7, 0, -1)}

    fetcher = Fetcher.__new__(Fetcher)
    fetcher._net = Network()
    # Then that one is answered, for the first offsets as for the last
    assert fetcher.end_offsets([known, unknown]) == {known: 7}
    assert fetcher.beginning_offsets([known, unknown]) == {known: 7}


@pytest.mark.parametrize("received", [(b"answer", "end"), (b"answer", None), (b"", "end")])
def test_data_comes_before_the_end(received: tuple[bytes, Any]) -> None:
    """What arrived together with the end of the connection is handed over first."""
    # Given a transport that has received this
    receive = fixes._data_before_end(lambda _: received)
    # Then the end is told only when there is nothing else
    data, error = receive(None)
    assert data == received[0]
    assert error == (None if data else "end")
