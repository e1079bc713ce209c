"""Which partition a record goes to: the same one that Java's producer would choose for its key."""

from kafka.partitioner.default import murmur2


def partition_of(key: bytes | None, row: int, count: int) -> int:
    """The partition of a record, of `count`.

    Records with a key go where the default partitioner of Kafka's own client sends them: by the murmur2 hash of the
    key, without its sign. Records without one take turns by their `row`.
    """
    return row % count if key is None else (murmur2(key) & 0x7FFFFFFF) % count
