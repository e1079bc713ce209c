"""Every byte sequence is a review or a dead letter with a closed reason; nothing of a review is lost or altered."""

import json
from pathlib import Path

import jiter
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumer.records.messages import (
    DeadLetter,
    Limits,
    ParsedReview,
    Prediction,
    Reason,
    dead_letter_headers,
    parse,
    prediction_json,
)
from consumer.records.record import Record

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


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, Reason.TOMBSTONE),
        (b"x" * 1001, Reason.TOO_LARGE),
        (b"", Reason.NOT_JSON),
        (b"plain text", Reason.NOT_JSON),
        (b'{"text":"cut', Reason.NOT_JSON),
        (b'{"text":"a"} {"text":"b"}', Reason.NOT_JSON),
        (b'\xef\xbb\xbf{"text":"byte order mark"}', Reason.NOT_JSON),
        (b'{"text":"bad utf-8 \xff"}', Reason.NOT_JSON),
        (b'{"text":"lone surrogate \\ud800"}', Reason.NOT_JSON),
        (b'{"text":"raw control \x01"}', Reason.NOT_JSON),
        (b'{"text":"twice","text":"named"}', Reason.NOT_JSON),
        (b'{"text":"nan","x":NaN}', Reason.NOT_JSON),
        (b"[" * 900, Reason.NOT_JSON),
        (b'{"text":"number","x":' + b"9" * 900 + b"e99999999999999999999}", Reason.NOT_JSON),
        ('{"text":"utf-16"}'.encode("utf-16"), Reason.NOT_JSON),
        (b"null", Reason.NOT_AN_OBJECT),
        (b'"text"', Reason.NOT_AN_OBJECT),
        (b'[{"text":"in a list"}]', Reason.NOT_AN_OBJECT),
        (b"{}", Reason.INVALID_TEXT),
        (b'{"text":null}', Reason.INVALID_TEXT),
        (b'{"text":["a"]}', Reason.INVALID_TEXT),
        (b'{"text":7}', Reason.INVALID_TEXT),
        (b'{"text":""}', Reason.EMPTY_TEXT),
        (b'{"text":" \\n\\t\\u00a0"}', Reason.EMPTY_TEXT),
        (b'{"text":"<br /><BR>\\u200b\\ufeff\\u00ad\\u0000"}', Reason.EMPTY_TEXT),
        (b'{"text":"' + b"a" * 501 + b'"}', Reason.TEXT_TOO_LONG),
        (b'{"text":"a","id":""}', Reason.INVALID_ID),
        (b'{"text":"a","id":"has space"}', Reason.INVALID_ID),
        (b'{"text":"a","id":"line\\r\\nbreak"}', Reason.INVALID_ID),
        (b'{"text":"a","id":"trailing\\n"}', Reason.INVALID_ID),
        ('{"text":"a","id":"umlaut-ä"}'.encode(), Reason.INVALID_ID),
        (b'{"text":"a","id":"' + b"x" * 65 + b'"}', Reason.INVALID_ID),
        (b'{"text":"a","id":' + b"1" * 65 + b"}", Reason.INVALID_ID),
        (b'{"text":"a","id":true}', Reason.INVALID_ID),
        (b'{"text":"a","id":1.5}', Reason.INVALID_ID),
        (b'{"text":"a","id":{}}', Reason.INVALID_ID),
    ],
)
def test_each_bad_value_has_its_reason(value: bytes | None, reason: Reason) -> None:
    """A value that is no review is a dead letter, with the reason that names its fault."""
    assert parse(record(value), LIMITS) is reason


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b'{"text":"a"}', ParsedReview("reviews-3-14", "a", {})),
        (b'{"text":"a","id":null}', ParsedReview("reviews-3-14", "a", {})),
        (b'{"text":"a","id":"A.b_c:d-9"}', ParsedReview("A.b_c:d-9", "a", {})),
        (b'{"text":"a","id":42}', ParsedReview("42", "a", {})),
        (b' {"text":"nul \\u0000 stays"}\n', ParsedReview("reviews-3-14", "nul \0 stays", {})),
        ('{"text":"😀 ä"}'.encode(), ParsedReview("reviews-3-14", "😀 ä", {})),
    ],
)
def test_good_values_are_reviews(value: bytes, expected: ParsedReview) -> None:
    """A review needs a text alone; its id defaults to its coordinates."""
    assert parse(record(value), LIMITS) == expected


def test_field_names_are_settings() -> None:
    """A topic that calls its fields otherwise is read as well."""
    limits = Limits(text_field="body", id_field="key")
    assert parse(record(b'{"body":"a","key":"k","text":1}'), limits) == ParsedReview("k", "a", {"text": 1})


@given(st.binary(max_size=200) | st.recursive(st.none() | st.text() | st.floats() | st.integers(), st.lists).map(repr))
@settings(max_examples=50)
def test_any_bytes_have_an_outcome(value: bytes | str) -> None:
    """No byte sequence raises."""
    outcome = parse(record(value if isinstance(value, bytes) else value.encode("utf-8", "surrogatepass")), LIMITS)
    assert isinstance(outcome, ParsedReview | Reason)


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
    value = b'{"text":"a","price":1.10,"big":12345678901234567890123,"huge":1E+400,"third":0.33333333333333333333}'
    review = parse(record(value), Limits())
    assert isinstance(review, ParsedReview)
    sent = prediction_json(review, record(value), OWN)
    for number in (
        b'"price":1.10',
        b'"big":12345678901234567890123',
        b'"huge":1E+400',
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


def test_dead_letter_headers_fit_their_contract() -> None:
    """The headers of a dead letter are exactly those of the published schema."""
    headers = {name: value.decode() for name, value in dead_letter_headers(record(b"junk"), Reason.NOT_JSON)}
    letter = DeadLetter.model_validate(headers)
    assert (letter.source_offset, letter.reason, letter.value_bytes) == ("14", Reason.NOT_JSON, "4")


def test_generated_references_are_current(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Schemas, settings and metrics in docs/ are what the code says."""
    import runpy

    script = Path(__file__).parents[2] / "docs/generate.py"
    monkeypatch.setattr("sys.argv", [str(script), "--check"])
    with pytest.raises(SystemExit) as done:
        runpy.run_path(str(script), run_name="__main__")
    assert done.value.code == 0, capsys.readouterr().out
    assert jiter.from_json((script.parent / "schemas/review.schema.json").read_bytes())["required"] == ["text"]
