"""Every byte sequence is a review or a dead letter with a closed reason; nothing of a review is lost or altered."""

import gzip
import json
from pathlib import Path

import jiter
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumer.records.fault import Detail, Fault, Reason
from consumer.records.messages import DeadLetter, Prediction, dead_letter_headers, prediction_json
from consumer.records.parse import Limits, ParsedReview, parse
from consumer.records.record import Record
from consumer.settings import Framing

LIMITS = Limits(max_record_bytes=1000, max_text_characters=500)
OWN = {
    "label": "pos",
    "score": 0.75,
    "probabilities": {"neg": 0.25, "pos": 0.75},
    "model": {"name": "m", "version": "1", "digest": "0" * 64, "variant": "int8"},
    "tokens": 4,
    "truncated": False,
}


def record(value: bytes | None, timestamp_ms: int = 1_700_000_000_000) -> Record:
    """A record of partition 3, offset 14."""
    return Record("reviews", 3, 14, timestamp_ms, b"key", value)


FRAME = b"\x00\x00\x00\x00\x07"
REVIEW = b'{"id": "r-1", "text": "good"}'


def cause(detail: Detail, position: int | None = None) -> Fault:
    """A value that is not JSON."""
    return Fault(Reason.NOT_JSON, detail, position)


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        (None, Fault(Reason.TOMBSTONE)),
        (b"x" * 1001, Fault(Reason.TOO_LARGE)),
        (b"", cause(Detail.EMPTY)),
        (b" \r\n\t", cause(Detail.EMPTY)),
        (b"\xef\xbb\xbf", cause(Detail.EMPTY)),
        (b"plain text", cause(Detail.SYNTAX, 0)),
        (b"{'text':'single quotes'}", cause(Detail.SYNTAX, 1)),
        (b'{"text":True}', cause(Detail.SYNTAX, 8)),
        (b'{\n "text": "a",\n\n}', cause(Detail.SYNTAX, 17)),
        (b'{"text":"a" "id":1}', cause(Detail.SYNTAX, 12)),
        (b'{"text":"cut', cause(Detail.TRUNCATED, 12)),
        (b'{\n"text":\n', cause(Detail.TRUNCATED, 10)),
        (b'{"text":"a\\ud83', cause(Detail.TRUNCATED, 15)),
        (b'{"text":"a"} {"text":"b"}', cause(Detail.TRAILING_DATA, 13)),
        (b'{"text":"a"}\n{"text":"b"}', cause(Detail.TRAILING_DATA, 13)),
        (b'{"text":"a"}\x00', cause(Detail.TRAILING_DATA, 12)),
        (b'{"text":"bad utf-8 \xff"}', cause(Detail.INVALID_UTF8, 19)),
        (b'{"text":"cut utf-8 \xc3"}', cause(Detail.INVALID_UTF8, 19)),
        (b'{"text":"raw surrogate \xed\xa0\x80"}', cause(Detail.INVALID_UTF8, 23)),
        ('{"text":"Größe"}'.encode("latin-1"), cause(Detail.INVALID_UTF8, 11)),
        (b"\x00\x01\x8f\xff\xfe\x00binary", cause(Detail.INVALID_UTF8, 2)),
        (b'{"text":"lone \\ud800"}', cause(Detail.LONE_SURROGATE, 20)),
        (b'{"text":"lone \\udc00"}', cause(Detail.LONE_SURROGATE, 19)),
        (b'{"text":"raw control \x01"}', cause(Detail.CONTROL_CHARACTER, 21)),
        (b'{"text":"bad \\x"}', cause(Detail.INVALID_ESCAPE, 14)),
        (b'{"text":"twice","text":"named"}', cause(Detail.DUPLICATE_KEY, 23)),
        (b'{"text":"a","x":{"EOF while":1,"EOF while":2}}', cause(Detail.DUPLICATE_KEY, 43)),
        (b'{"text":"a","x":01}', cause(Detail.INVALID_NUMBER, 17)),
        (b'{"text":"a","x":-}', cause(Detail.INVALID_NUMBER, 17)),
        (b'{"text":"a","x":-NaN}', cause(Detail.INVALID_NUMBER, 17)),
        (b"[" * 900, cause(Detail.NESTING, 201)),
        ('{"text":"utf-16"}'.encode("utf-16"), cause(Detail.UTF_16)),
        ('{"text":"utf-16"}'.encode("utf-16-le"), cause(Detail.UTF_16)),
        (' {"text":"utf-16"}'.encode("utf-16-be"), cause(Detail.UTF_16)),
        ('{"text":"utf-32"}'.encode("utf-32"), cause(Detail.UTF_32)),
        ('{"text":"utf-32"}'.encode("utf-32-be"), cause(Detail.UTF_32)),
        (gzip.compress(REVIEW, mtime=0), cause(Detail.COMPRESSED)),
        (b"\x28\xb5\x2f\xfd zstd", cause(Detail.COMPRESSED)),
        (FRAME + REVIEW, cause(Detail.SCHEMA_REGISTRY_FRAMING)),
        (b"\x00\x01\x00\x00\x07" + REVIEW, cause(Detail.SCHEMA_REGISTRY_FRAMING)),
        (b"\x00\x00\x01\x86\xa1\x06r-1\x08avro", cause(Detail.SCHEMA_REGISTRY_FRAMING)),
        (b"null", Fault(Reason.NOT_AN_OBJECT, Detail.NULL)),
        (b"false", Fault(Reason.NOT_AN_OBJECT, Detail.BOOLEAN)),
        (b"1.5", Fault(Reason.NOT_AN_OBJECT, Detail.NUMBER)),
        (b"NaN", Fault(Reason.NOT_AN_OBJECT, Detail.NUMBER)),
        (b'"text"', Fault(Reason.NOT_AN_OBJECT, Detail.STRING)),
        (b'"{not an object}"', Fault(Reason.NOT_AN_OBJECT, Detail.STRING)),
        (json.dumps(REVIEW.decode()).encode(), Fault(Reason.NOT_AN_OBJECT, Detail.ENCODED_TWICE)),
        (b'[{"text":"in a list"}]', Fault(Reason.NOT_AN_OBJECT, Detail.ARRAY)),
        (b"{}", Fault(Reason.INVALID_TEXT, Detail.MISSING)),
        (b'{"Text":"a"}', Fault(Reason.INVALID_TEXT, Detail.MISSING)),
        (b'{"text":null}', Fault(Reason.INVALID_TEXT, Detail.NULL)),
        (b'{"text":true}', Fault(Reason.INVALID_TEXT, Detail.BOOLEAN)),
        (b'{"text":7}', Fault(Reason.INVALID_TEXT, Detail.NUMBER)),
        (b'{"text":NaN}', Fault(Reason.INVALID_TEXT, Detail.NUMBER)),
        (b'{"text":["a"]}', Fault(Reason.INVALID_TEXT, Detail.ARRAY)),
        (b'{"text":{"en":"a"}}', Fault(Reason.INVALID_TEXT, Detail.OBJECT)),
        (b'{"text":""}', Fault(Reason.EMPTY_TEXT)),
        (b'{"text":" \\n\\t\\u00a0"}', Fault(Reason.EMPTY_TEXT)),
        (b'{"text":"<br /><BR>\\u200b\\ufeff\\u00ad\\u0000"}', Fault(Reason.EMPTY_TEXT)),
        (b'{"text":"' + b"a" * 501 + b'"}', Fault(Reason.TEXT_TOO_LONG)),
    ],
)
def test_each_bad_value_has_its_fault(value: bytes | None, fault: Fault) -> None:
    """A value that is no review is a dead letter, with its reason, the cause, and the byte of the cause."""
    assert parse(record(value), LIMITS) == fault


@pytest.mark.parametrize("number", [b"9" * 4301, b"1" * 4301 + b".5"])
def test_a_number_that_no_reader_takes_is_named(number: bytes) -> None:
    """More digits than Python reads: the record is refused with its cause."""
    fault = parse(record(b'{"text":"a","x":%s}' % number), Limits())
    assert isinstance(fault, Fault)
    assert fault.detail is Detail.INVALID_NUMBER


def test_every_detail_occurs() -> None:
    """The closed set holds nothing that the worker never writes."""
    (cases,) = (mark.args[1] for mark in test_each_bad_value_has_its_fault.pytestmark)  # type: ignore[attr-defined]
    assert {fault.detail for _, fault in cases} == {None, *Detail}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b'{"text":"a"}', ParsedReview("reviews-3-14", "a", {})),
        (b' {"text":"nul \\u0000 stays"}\n', ParsedReview("reviews-3-14", "nul \0 stays", {})),
        ('{"text":"😀 ä"}'.encode(), ParsedReview("reviews-3-14", "😀 ä", {})),
        (b"\xef\xbb\xbf" + REVIEW, ParsedReview("r-1", "good", {})),
        (b"\xef\xbb\xbf \n" + REVIEW, ParsedReview("r-1", "good", {})),
        (b'{"":"empty key","text":"a"}', ParsedReview("reviews-3-14", "a", {"": "empty key"})),
    ],
)
def test_good_values_are_reviews(value: bytes, expected: ParsedReview) -> None:
    """A review needs a text alone; its id defaults to its coordinates. A byte order mark changes nothing."""
    assert parse(record(value), LIMITS) == expected


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (b'"A.b_c:d-9"', "A.b_c:d-9"),
        (b'"shop/17"', "shop/17"),
        (b'"jane@example.com"', "jane@example.com"),
        (b'" has blanks "', " has blanks "),
        (b'" "', " "),
        ('"отзыв-7 レビュー ä"'.encode(), "отзыв-7 レビュー ä"),
        (b'"line\\r\\nbreak \\u0000"', "line\r\nbreak \0"),
        (b'"' + b"x" * 800 + b'"', "x" * 800),
        (b"42", "42"),
        (b"-7", "-7"),
        (b"17.0", "17.0"),
        (b"1.50", "1.50"),
        (b"1e400", "1e400"),
        (b"-0.0", "-0.0"),
        (b"1" * 70, "1" * 70),
        (b"true", "true"),
        (b"false", "false"),
    ],
)
def test_an_id_comes_out_as_it_was_written(written: bytes, expected: str) -> None:
    """Any string, number or truth value is an id: it is optional, so it is no reason to refuse a good text."""
    review = parse(record(b'{"text":"a","id":%s}' % written), LIMITS)
    assert review == ParsedReview(expected, "a", {})
    assert json.loads(prediction_json(review, record(b""), OWN))["id"] == expected


@pytest.mark.parametrize(
    ("written", "carried"),
    [
        (b"null", None),
        (b'""', None),
        (b'{"$oid":"5f"}', {"id": {"$oid": "5f"}}),
        (b"[1]", {"id": [1]}),
        (b"{}", {"id": {}}),
        (b"NaN", {"id": None}),
    ],
)
def test_without_a_usable_id_the_coordinates_are_the_id(written: bytes, carried: dict[str, object] | None) -> None:
    """A missing id is made from topic, partition and offset; an object or an array is carried."""
    review = parse(record(b'{"text":"a","id":%s}' % written), LIMITS)
    assert isinstance(review, ParsedReview)
    sent = json.loads(prediction_json(review, record(b""), OWN))
    assert (sent["id"], sent.get("carried")) == ("reviews-3-14", carried)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (FRAME + REVIEW, ParsedReview("r-1", "good", {})),
        (FRAME + b"\xef\xbb\xbf" + REVIEW, ParsedReview("r-1", "good", {})),
        (REVIEW, ParsedReview("r-1", "good", {})),
        (b"\xef\xbb\xbf" + REVIEW, ParsedReview("r-1", "good", {})),
        (FRAME, cause(Detail.EMPTY)),
        (FRAME[:3], cause(Detail.EMPTY)),
        (FRAME + b'{"text":"cut', cause(Detail.TRUNCATED, 17)),
        (FRAME + b"\xef\xbb\xbf{]", cause(Detail.SYNTAX, 9)),
        (FRAME + b'{"text":"\xff"}', cause(Detail.INVALID_UTF8, 14)),
        (FRAME + FRAME + REVIEW, cause(Detail.SCHEMA_REGISTRY_FRAMING)),
    ],
)
def test_framed_json_is_read_by_a_setting(value: bytes, expected: ParsedReview | Fault) -> None:
    """The frame of a schema registry is skipped if there is one, and positions still count from the first byte."""
    assert parse(record(value), Limits(framing=Framing.SCHEMA_REGISTRY)) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (
            b'{"payload":{"after":{"text":"a","id":7,"stars":4},"op":"c"},"schema":null}',
            ParsedReview("7", "a", {"payload": {"after": {"stars": 4}, "op": "c"}, "schema": None}),
        ),
        (
            b'{"payload.after.text":"flat","payload.after.id":"f","payload":{"after":{"text":"a"}}}',
            ParsedReview("f", "flat", {"payload": {"after": {"text": "a"}}}),
        ),
        (b'{"payload.after.text":null,"payload":{"after":{"text":"a"}}}', Fault(Reason.INVALID_TEXT, Detail.NULL)),
        (
            b'{"payload":{"after":{"text":"a"}},"id":7}',
            ParsedReview("reviews-3-14", "a", {"payload": {"after": {}}, "id": 7}),
        ),
        (b'{"payload":{"after":{"id":7}}}', Fault(Reason.INVALID_TEXT, Detail.MISSING)),
        (b'{"payload":{"after":null}}', Fault(Reason.INVALID_TEXT, Detail.MISSING)),
        (b'{"payload":"{}"}', Fault(Reason.INVALID_TEXT, Detail.MISSING)),
        (b'{"payload":[{"after":{"text":"a"}}]}', Fault(Reason.INVALID_TEXT, Detail.MISSING)),
        (b'{"payload.after":{"text":"a"}}', Fault(Reason.INVALID_TEXT, Detail.MISSING)),
        (b'{"text":"a"}', Fault(Reason.INVALID_TEXT, Detail.MISSING)),
    ],
)
def test_dots_lead_to_a_nested_field(value: bytes, expected: ParsedReview | Fault) -> None:
    """Through objects, not through arrays; a field with exactly that name wins; what surrounds them is carried."""
    assert parse(record(value), Limits("payload.after.text", "payload.after.id")) == expected


def test_a_path_may_have_empty_names() -> None:
    """JSON allows an empty key, so a path does too."""
    assert parse(record(b'{"a":{"":{"b":"text"}}}'), Limits("a..b")) == ParsedReview(
        "reviews-3-14", "text", {"a": {"": {}}}
    )


@pytest.mark.parametrize("number", [b"NaN", b"Infinity", b"-Infinity"])
def test_what_json_does_not_have_becomes_null(number: bytes) -> None:
    """NaN and the infinities beside a good text: the review is labelled, and its prediction is strict JSON."""
    value = b'{"text":"a","stars":%s,"more":[{"x":%s}],"big":%s}' % (number, number, b"9" * 30)
    review = parse(record(value), LIMITS)
    assert isinstance(review, ParsedReview)
    sent = jiter.from_json(prediction_json(review, record(value), OWN), allow_inf_nan=False)
    assert (sent["stars"], sent["more"], sent["big"]) == (None, [{"x": None}], int(b"9" * 30))


def test_field_names_are_settings() -> None:
    """A topic that calls its fields otherwise is read as well."""
    limits = Limits(text_field="body", id_field="key")
    assert parse(record(b'{"body":"a","key":"k","text":1}'), limits) == ParsedReview("k", "a", {"text": 1})


@given(st.binary(max_size=200) | st.recursive(st.none() | st.text() | st.floats() | st.integers(), st.lists).map(repr))
@settings(max_examples=50)
def test_any_bytes_have_an_outcome(value: bytes | str) -> None:
    """No byte sequence raises."""
    outcome = parse(record(value if isinstance(value, bytes) else value.encode("utf-8", "surrogatepass")), LIMITS)
    assert isinstance(outcome, ParsedReview | Fault)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(max_size=20).filter(lambda name: name not in {"text", "id"}), JSON_VALUES, max_size=6))
def test_carried_fields_arrive_untouched(fields: dict[str, object]) -> None:
    """What the worker does not know it passes on; a field whose name is taken is found under `carried`."""
    value = json.dumps({"text": "a", **fields}).encode()
    review = parse(record(value), Limits())
    assert isinstance(review, ParsedReview)
    sent = json.loads(prediction_json(review, record(value), OWN))
    assert {name: (sent.get("carried") or {}).get(name, sent.get(name)) for name in fields} == fields


def test_numbers_keep_every_digit() -> None:
    """Money, big ids and huge exponents come out as they went in, not through a 64-bit float."""
    value = (
        b'{"text":"a","price":1.10,"big":12345678901234567890123,"huge":1e400,"huger":1e99999999999999999999,'
        b'"zero":-0.0,"third":0.33333333333333333333}'
    )
    review = parse(record(value), Limits())
    assert isinstance(review, ParsedReview)
    sent = prediction_json(review, record(value), OWN)
    for number in (
        b'"price":1.10',
        b'"big":12345678901234567890123',
        b'"huge":1e400',
        b'"huger":1e99999999999999999999',
        b'"zero":-0.0',
        b'"third":0.33333333333333333333',
    ):
        assert number in sent


def test_a_field_with_a_taken_name_is_not_lost() -> None:
    """A review that brings a `label` of its own keeps it beside the predicted one."""
    value = b'{"text":"a","label":"truth","unsure":"maybe","stars":4}'
    review = parse(record(value), Limits())
    assert isinstance(review, ParsedReview)
    sent = Prediction.model_validate_json(prediction_json(review, record(value), OWN))
    assert (sent.label, sent.unsure, (sent.model_extra or {})["stars"]) == ("pos", None, 4)
    assert sent.carried == {"label": "truth", "unsure": "maybe"}


@pytest.mark.parametrize("timestamp_ms", [-1, 10**18])
def test_a_timestamp_beyond_the_calendar_is_null(timestamp_ms: int) -> None:
    """A producer's clock cannot break a prediction."""
    review = ParsedReview("1", "a", {})
    sent = Prediction.model_validate_json(prediction_json(review, record(b"", timestamp_ms), OWN))
    assert sent.source.timestamp is None


@pytest.mark.parametrize(
    ("value", "detail"),
    [(b'{"text":"cut', "truncated at byte 12"), (b"[]", "array"), (b'{"text":""}', None), (None, None)],
)
def test_dead_letter_headers_fit_their_contract(value: bytes | None, detail: str | None) -> None:
    """The headers of a dead letter are exactly those of the published schema."""
    fault = parse(record(value), LIMITS)
    assert isinstance(fault, Fault)
    headers = {name: each.decode() for name, each in dead_letter_headers(record(value), fault)}
    letter = DeadLetter.model_validate(headers)
    assert (letter.source_offset, letter.reason, letter.detail) == ("14", fault.reason, detail)
    assert (letter.source_timestamp, letter.value_bytes) == ("1700000000000", str(-1 if value is None else len(value)))


def test_a_record_without_a_timestamp_has_no_header_for_it() -> None:
    """The oldest format of records has none."""
    headers = dead_letter_headers(record(None, timestamp_ms=-1), Fault(Reason.TOMBSTONE))
    assert "source-timestamp" not in dict(headers)


def test_generated_references_are_current(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Schemas, settings and metrics in docs/ are what the code says."""
    import runpy

    script = Path(__file__).parents[2] / "docs/generate.py"
    monkeypatch.setattr("sys.argv", [str(script), "--check"])
    with pytest.raises(SystemExit) as done:
        runpy.run_path(str(script), run_name="__main__")
    assert done.value.code == 0, capsys.readouterr().out
    assert jiter.from_json((script.parent / "schemas/review.schema.json").read_bytes())["required"] == ["text"]
