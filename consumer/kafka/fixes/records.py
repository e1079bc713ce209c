"""What a batch holds: header names that are not UTF-8, and control batches without a marker."""

from typing import Any, Self

from kafka.consumer.fetcher import Fetcher
from kafka.record import memory_records
from kafka.record.default_records import DefaultRecordBatch

# --- Header names ----------------------------------------------------------------------------------------------------


def keep_header_names() -> None:
    """Read a header name that is not UTF-8 as a `HeaderName`, which keeps its bytes.

    Fault: such a name raises in `poll`, forever. Kafka carries it, and librdkafka sends it.
    Fix: the batch is read with names that always decode, and that encode to the bytes they came from.
    Shown by: test_row_10_bytes_that_are_no_text_are_dead_letters
    """
    memory_records.DefaultRecordBatch = _Batch


class HeaderName(str):
    """A readable name that encodes to its original bytes."""

    raw: bytes
    __slots__ = ("raw",)

    def __new__(cls, raw: bytes) -> Self:
        """Escape what is not UTF-8."""
        name = super().__new__(cls, raw.decode("utf-8", "backslashreplace"))
        name.raw = raw
        return name

    def encode(self, *_: Any) -> bytes:
        """Return the original bytes; kafka-python calls this to write the name."""
        return self.raw


class _Name(bytes):
    def decode(self, *_: Any) -> str:
        try:
            return super().decode("utf-8")
        except UnicodeDecodeError:
            return HeaderName(bytes(self))


class _Buffer(bytearray):
    """Bytes of a batch whose slices always decode."""

    def __getitem__(self, where: Any) -> Any:
        found = super().__getitem__(where)
        return _Name(found) if isinstance(where, slice) else found


class _Batch(DefaultRecordBatch):  # type: ignore[misc]
    __slots__ = ()

    def _read_msg(self) -> Any:
        try:
            return super()._read_msg()
        except UnicodeDecodeError:  # read that record again; the position has not moved
            self._buffer = _Buffer(self._buffer)  # type: ignore[misc, has-type]
            return super()._read_msg()


# --- Emptied control batches -----------------------------------------------------------------------------------------


def skip_emptied_markers() -> None:
    """Accept a control batch that holds no marker.

    Fault: a control batch whose marker the log cleaner has removed raises in `poll`, forever. In a compacted topic
        Kafka may keep such a batch as the last one of its producer.
    Fix: an empty control batch holds no abort marker, as in Kafka's own client.
    Shown by: test_row_12_a_marker_that_the_cleaner_has_emptied_is_passed_over
    """
    contains_abort_marker = Fetcher.PartitionRecords._contains_abort_marker

    def unless_empty(records: Any, batch: Any) -> bool:
        return bool(batch.records_count > 0 and contains_abort_marker(records, batch))

    Fetcher.PartitionRecords._contains_abort_marker = unless_empty
