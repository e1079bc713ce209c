"""Records that a broken or a malicious producer might send, from a seed."""

import gzip
import json
import random
from collections.abc import Callable

from tests.kafka_helpers import Header, Record

WORDS = ("a", "film", "the", "plot", "was", "very", "good", "bad", "not", "boring", "lovely", "never", "again")


def review(rng: random.Random, words: int = 12) -> dict[str, object]:
    """A well-formed review."""
    return {"id": f"r-{rng.getrandbits(40):x}", "text": " ".join(rng.choices(WORDS, k=words)), "stars": rng.random()}


def hostile(seed: int, count: int) -> list[Record]:
    """`count` records, all kinds mixed; the same ones for the same seed."""
    rng = random.Random(seed)
    kinds: list[Callable[[], bytes | None]] = [
        lambda: rng.randbytes(rng.randrange(200)),  # random bytes
        lambda: _cut(rng),
        lambda: _flipped(rng),
        lambda: b'{"text":' * rng.randrange(1, 2000),  # deep, unclosed
        lambda: b'{"text":"a","x":' + b"[" * (depth := rng.randrange(1, 2000)) + b"]" * depth + b"}",
        lambda: None,  # tombstone
        lambda: json.dumps(review(rng) | {"id": rng.choice(_ODD_IDS)}).encode(),
        lambda: json.dumps({"text": "lone \ud800 surrogate"}).encode(),
        lambda: b'{"text":"raw surrogate \xed\xa0\x80"}',
        lambda: b"\xef\xbb\xbf" + json.dumps(review(rng)).encode(),  # byte order mark
        lambda: rng.choice(_FRAMES) + json.dumps(review(rng)).encode(),  # of a schema registry, and of no known format
        lambda: gzip.compress(json.dumps(review(rng)).encode(), mtime=0),
        lambda: json.dumps(json.dumps(review(rng))).encode(),  # encoded twice
        lambda: b'{"text":"raw %s"}' % rng.choice([b"\x01", b"\\x", b"\t", b"\\u00g0"]),
        lambda: b'{"text":"one","x":1,"%s":2}' % rng.choice([b"text", b"x", b"y"]),
        lambda: json.dumps(review(rng)).encode() + rng.choice([b"", b" ", b"\0", b"{}", b"\n"]),
        lambda: rng.choice([b"", b" \n", b"\xef\xbb\xbf", b"\0", b"{,}"]),
        lambda: json.dumps(review(rng)).encode(rng.choice(["utf-16", "utf-32", "utf-16-le"])),
        lambda: json.dumps(rng.choice(_NOT_REVIEWS)).encode(),
        lambda: json.dumps({"text": "\0\u202e\ufeff😀" * rng.randrange(1, 50)}).encode(),
        lambda: json.dumps({"text": rng.choice(["", " ", "\n\t", "\u3000"])}).encode(),
        lambda: b'{"text":"n","x":' + rng.choice([b"NaN", b"-Infinity", b"1e999", b"9" * 5000, b"01", b"-"]) + b"}",
        lambda: json.dumps(review(rng) | {"label": "mine", "source": "too", "score": "x"}).encode(),
    ]
    made = []
    for number in range(count):
        value = rng.choice(kinds)()
        if number % 1000 == 7:  # as long as is allowed, and a character longer
            value = b'{"text":"%s"}' % (b"x " * 500_000 + b"x" * (number // 1000 % 2))
        key = rng.choice([None, b"", rng.randbytes(8), b"key"])
        if value is None and key is None:
            key = b"tombstone"  # kafka-python, which produces these, cannot send a null key with a null value
        made.append(Record(value, key, tuple(_headers(rng))))
    return made


_FRAMES = [b"\0\0\0\0\7", b"\0\1\0\0\7", b"\0", b"\1\0\0\0\7", b"\0\0\0\0\7" * 2]
_ODD_IDS: list[object] = [
    "",
    " ",
    "a b",
    "line\nbreak",
    "\r\n\r\nHTTP/1.1",
    "x" * 65,
    0,
    -1,
    10**70,
    1.5,
    True,
    None,
    [],
    {},
    "../..",
    "shop/17",
    "jane@example.com",
    "отзыв \u202e\0",
    1e300,
    float("nan"),
    "x" * 100_000,
    "ok",
]
_NOT_REVIEWS: list[object] = [
    None,
    True,
    0,
    float("inf"),
    "text",
    "{",
    [],
    [{}],
    {},
    {"Text": "a"},
    {"text": None},
    {"text": 1},
    {"text": False},
    {"text": []},
    {"text": {"text": "a"}},
]


def _cut(rng: random.Random) -> bytes:
    whole = json.dumps(review(rng)).encode()
    return whole[: rng.randrange(len(whole))]


def _flipped(rng: random.Random) -> bytes:
    whole = bytearray(json.dumps(review(rng)).encode())
    for _ in range(rng.randrange(1, 4)):
        whole[rng.randrange(len(whole))] ^= 1 << rng.randrange(8)
    return bytes(whole)


def _headers(rng: random.Random) -> list[Header]:
    names = ["traceparent", "", "ünïcode", "source-offset", "a" * 300]
    return [(rng.choice(names), rng.randbytes(rng.randrange(40))) for _ in range(rng.randrange(4))]
