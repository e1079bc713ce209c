"""Header names that are not UTF-8: Kafka carries them, librdkafka sends them, and kafka-python refuses to read them.

One such record would stop a partition for ever, so its name is read as a `HeaderName`, which writes back the bytes that
it was read from. Tied to kafka-python 3.0 (see the bound in pyproject.toml); tests/faults, row 10, shows that it works.
"""

from typing import Any, Self

from kafka.record import memory_records
from kafka.record.default_records import DefaultRecordBatch


class HeaderName(str):
    """Text that people can read, and the original bytes for Kafka."""

    raw: bytes
    __slots__ = ("raw",)

    def __new__(cls, raw: bytes) -> Self:
        """Escape what is not UTF-8."""
        name = super().__new__(cls, raw.decode("utf-8", "backslashreplace"))
        name.raw = raw
        return name

    def encode(self, *_: Any) -> bytes:
        """What kafka-python calls to write the name."""
        return self.raw


class _Name(bytes):
    def decode(self, *_: Any) -> str:
        try:
            return super().decode("utf-8")
        except UnicodeDecodeError:
            return HeaderName(bytes(self))


class _Buffer(bytearray):
    """Bytes of a batch whose slices never fail to decode."""

    def __getitem__(self, where: Any) -> Any:
        found = super().__getitem__(where)
        return _Name(found) if isinstance(where, slice) else found


class _Batch(DefaultRecordBatch):  # type: ignore[misc]
    __slots__ = ()

    def _read_msg(self) -> Any:
        try:
            return super()._read_msg()
        except UnicodeDecodeError:  # read that record again; no position has moved
            self._buffer = _Buffer(self._buffer)  # type: ignore[misc, has-type]
            return super()._read_msg()


def tolerate() -> None:
    """Read such names from now on, in every consumer of this process."""
    memory_records.DefaultRecordBatch = _Batch
