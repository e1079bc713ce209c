"""Header names as bytes. librdkafka returns those that are not UTF-8, its Python binding fails on them."""

import ctypes
import time
from contextlib import ExitStack
from ctypes import POINTER, byref, c_char_p, c_int, c_int32, c_int64, c_size_t, c_void_p

from confluent_kafka import cimpl

_CONSUMER = 0x1  # rd_kafka_type_t
_SECONDS = 30.0


class _Message(ctypes.Structure):
    """The first field of rd_kafka_message_t: the error code."""

    _fields_ = (("error", c_int),)


def raw_headers(bootstrap: str, topic: str, partition: int, offset: int) -> list[tuple[bytes, bytes | None]]:
    """Name and value of each header of one record, in order.

    Raises:
        AssertionError: the record could not be read in time.
    """
    library = _library()
    with ExitStack() as ending:
        configuration = library.rd_kafka_conf_new()
        why = ctypes.create_string_buffer(512)
        for name, value in (("bootstrap.servers", bootstrap), ("group.id", "unused"), ("log_level", "0")):
            library.rd_kafka_conf_set(configuration, name.encode(), value.encode(), why, len(why))
        client = library.rd_kafka_new(_CONSUMER, configuration, why, len(why))
        assert client, why.value
        ending.callback(library.rd_kafka_destroy, client)
        ending.callback(library.rd_kafka_consumer_close, client)
        places = library.rd_kafka_topic_partition_list_new(1)
        ending.callback(library.rd_kafka_topic_partition_list_destroy, places)
        library.rd_kafka_topic_partition_list_add(places, topic.encode(), partition)
        library.rd_kafka_topic_partition_list_set_offset(places, topic.encode(), partition, offset)
        assert library.rd_kafka_assign(client, places) == 0
        deadline = time.monotonic() + _SECONDS
        while not (message := library.rd_kafka_consumer_poll(client, 200)):
            assert time.monotonic() < deadline, f"{topic} {partition} {offset} was not read"
        ending.callback(library.rd_kafka_message_destroy, message)
        assert message.contents.error == 0, f"error {message.contents.error}"
        return _headers_of(library, message)


def _headers_of(library: ctypes.CDLL, message: object) -> list[tuple[bytes, bytes | None]]:
    headers, name, value, size = c_void_p(), c_char_p(), c_void_p(), c_size_t()
    if library.rd_kafka_message_headers(message, byref(headers)) != 0:
        return []
    found: list[tuple[bytes, bytes | None]] = []
    while library.rd_kafka_header_get_all(headers, len(found), byref(name), byref(value), byref(size)) == 0:
        content = None if value.value is None else ctypes.string_at(value.value, size.value)
        found.append((name.value or b"", content))
    return found


def _library() -> ctypes.CDLL:
    """The librdkafka that the binding is linked with."""
    library = ctypes.CDLL(cimpl.__file__)
    message = POINTER(_Message)
    for name, result, arguments in (
        ("conf_new", c_void_p, ()),
        ("conf_set", c_int, (c_void_p, c_char_p, c_char_p, c_char_p, c_size_t)),
        ("new", c_void_p, (c_int, c_void_p, c_char_p, c_size_t)),
        ("destroy", None, (c_void_p,)),
        ("consumer_close", c_int, (c_void_p,)),
        ("topic_partition_list_new", c_void_p, (c_int,)),
        ("topic_partition_list_destroy", None, (c_void_p,)),
        ("topic_partition_list_add", c_void_p, (c_void_p, c_char_p, c_int32)),
        ("topic_partition_list_set_offset", c_int, (c_void_p, c_char_p, c_int32, c_int64)),
        ("assign", c_int, (c_void_p, c_void_p)),
        ("consumer_poll", message, (c_void_p, c_int)),
        ("message_destroy", None, (message,)),
        ("message_headers", c_int, (message, c_void_p)),
        ("header_get_all", c_int, (c_void_p, c_size_t, c_void_p, c_void_p, c_void_p)),
    ):
        function = getattr(library, f"rd_kafka_{name}")
        function.restype, function.argtypes = result, arguments
    return library
