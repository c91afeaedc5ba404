"""JSON is decoded fast, to the standard library's values and errors."""

import json

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from learner.decoding import decode, decode_objects
from learner.files.jsonl import _DECODER
from learner.service.wire.values import _JSON

DECODERS = [json.JSONDecoder(), _JSON, _DECODER]
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.integers(-(10**40), 10**40) | st.floats() | st.text()
    | st.sampled_from(["a:b", '":', " :", "\\", '"', "\ud800", "😀", "\x7f"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["", "a", "b:", '"']) | st.text(), inner),
    max_leaves=12,
)  # fmt: skip
PIECES = st.sampled_from(
    [
        *'{}[],:"', '"a"', '"b"', " ", "\t", "\n", "\f", "\ufeff", "0", "1", "-", "-0", "1.5", "1e400", "1e-400", "01", "1.",
        ".5", "9" * 25, "9" * 4400, "NaN", "Infinity", "-Infinity", "true", "null", "\\ud83d", "\\n", "\\x", "\x01", "é",
    ]
)  # fmt: skip
PAIRS = st.lists(st.tuples(st.sampled_from("aab"), PIECES), max_size=4)
TEXTS = (
    VALUES.map(json.dumps)
    | VALUES.map(lambda value: json.dumps(value, ensure_ascii=False, indent=1, separators=(" ,", "\t:\n")))
    | st.lists(PIECES, max_size=8).map("".join)
    | PAIRS.map(lambda pairs: "{" + ",".join(f'"{key}":{value}' for key, value in pairs) + "}")
).map(lambda text: text.encode("utf-8", "surrogatepass")) | st.binary(max_size=8)


def outcome(function):
    """Return the value, with the types of all in it and the order of keys, or the error."""
    try:
        return repr(function())
    except Exception as error:  # noqa: BLE001
        return type(error), str(error)


@given(data=TEXTS)
@example(b'{"a": {"b": 1, "b": 2}}')
@example(b'{"a": 1, "a" : ":"}')
@example(b'{"a": 1, "a": 2, "b": "x : y"}')
@settings(max_examples=500, deadline=None)
def test_values_and_errors_are_the_standard_librarys(data):
    for decoder in DECODERS:
        assert outcome(lambda: decode(data, decoder)) == outcome(lambda: decoder.decode(data.decode()))  # noqa: B023


@pytest.mark.parametrize("depth", [100, 100_000])
def test_nesting_is_the_standard_librarys(depth):
    data = b"[" * depth + b"]" * depth
    for decoder in DECODERS:
        assert outcome(lambda: decode(data, decoder)) == outcome(lambda: decoder.decode(data.decode()))  # noqa: B023


OBJECTS = st.lists(TEXTS.filter(lambda text: text[:1] == b"{") | TEXTS.map(lambda text: b"{" + text), max_size=4)


@given(texts=OBJECTS)
@example([b'{"a":1},{"b":2}', b'{"a":"', b'{x"}'])  # three values together, but not these three
@example([b'{"a":"', b'{"},""'])
@example([b'{"a":"', b'{"},5'])
@example([b'{"a":1},5', b'{"b":2}'])
@example([b'{"a":1}],[{"b":2}', b'{"c":3}'])
@example([b'{"a":1', b'{"b":2}'])
@example([b'{"a":1,"a":2}', b'{":":"::"}'])
@example([b'{"a":1,"a":2}', b'{"b":"\\":"}'])
@example([b'{"a":"1:2"}', b'{"b" :"x:y"}'])
@example([b'{"a":NaN}', b'{"a":1}', b'{"a":' + b"9" * 400 + b"}", b'{"a":"\xff"}', b"{}"])
@settings(max_examples=500, deadline=None)
def test_objects_decoded_together_are_as_each_alone(texts):
    values = decode_objects(texts, max_depth=8)
    assert len(values) == len(texts)
    for text, value in zip(texts, values, strict=True):
        if value is not None:
            assert repr(value) == repr(decode(text, _JSON))


def test_simple_objects_are_all_decoded_together_whatever_colons_their_texts_have():
    texts = [b'{"a":1,"at":"12:30"}', b"{}", b'{"b" : "x: y"}\n', '{"é":"[]"}'.encode()]
    assert decode_objects(texts[:3], max_depth=8) == [{"a": 1, "at": "12:30"}, {}, {"b": "x: y"}]
    assert decode_objects(texts, max_depth=8)[3] == {"é": "[]"}
