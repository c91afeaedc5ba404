"""What values in JSON and msgpack decode to, and that nothing but the protocol's own errors comes out of bad bytes."""

import json

import msgpack
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from learner.errors import FormatError
from learner.service.wire import MAX_DEPTH, decode_target, decode_value, encode_reply, is_one, split, to_json
from tests.unit.service.wire.strategies import UNHASHABLE, garbage


@given(st.dictionaries(st.text(max_size=5), st.integers(-9, 9) | st.text(max_size=5), max_size=4))
def test_the_same_map_comes_out_of_json_and_of_msgpack(value):
    assert decode_value(json.dumps(value).encode(), "record") == value
    assert decode_value(msgpack.packb(value), "record") == value


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"nope",
        b"{'a': 1}",
        b'{"a": NaN}',
        b'{"a": Infinity}',
        b'{"a": -Infinity}',
        b'{"a": 1, "a": 2}',
        b'{"a": 1} x',
        b'{"a": ' + b"1" * 5000 + b"}",
        b'"\xff"',
        b"\x00",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"\xc1",
        b"\x81",
        b"\x81\xa1a",
        b"\x81\xa1a\x01\x02",
        b"\x81\xa1\xff\x01",
        b"\xdf\xff\xff\xff\xff",
        b"\xdd\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",
        b"\x91" * 100_000,
        b"\xc7\x0c\xff" + b"\xff" * 12,
        UNHASHABLE,
        b"\x81\x80\x01",
    ],
)
def test_what_is_neither_json_nor_msgpack_is_a_format_error(data):
    with pytest.raises(FormatError, match=r"record must be JSON or msgpack \(got "):
        decode_value(data, "record")


@given(garbage)
@example(UNHASHABLE)
@example(b"\x91\x81\x81\x01\x02\x03")
def test_only_a_format_error_ever_comes_out_of_bytes(data):
    message = ""
    try:
        decode_value(data, "record")
    except FormatError as error:
        message = str(error)
    assert "\n" not in message
    assert len(message) < 400


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (b"1", 1),
        (b"-1", -1),
        (b" 0 ", 0),
        (b"2.5", 2.5),
        (b"1e3", 1000.0),
        (b"+1", 1),
        (b" .5", 0.5),
        (b"true", True),
        (b"false", False),
        (b"spam", "spam"),
        (b"", ""),
        (b"null", "null"),
        (b"[1]", "[1]"),
        (b'"spam"', '"spam"'),
        (b"02139", "02139"),
        (b"1" * 5000, "1" * 5000),
        (b"[" * 100_000, "[" * 100_000),
    ],
)
def test_a_target_is_a_number_a_boolean_or_the_label_itself(text, value):
    found = decode_target(text)
    assert found == value
    assert type(found) is type(value)


@given(st.binary(max_size=20))
def test_any_bytes_are_a_target_of_some_kind(text):
    assert isinstance(decode_target(text), bool | int | float | str)


def test_a_record_is_nested_at_most_so_deep():
    def deep(depth: int) -> object:
        value: object = 1
        for i in range(depth):
            value = {"a": value} if i % 2 else [value]
        return value

    for encode in (lambda value: json.dumps(value).encode(), msgpack.packb):
        assert decode_value(encode(deep(MAX_DEPTH)), "record") == deep(MAX_DEPTH)
        with pytest.raises(FormatError, match=f"record must be nested at most {MAX_DEPTH} deep"):
            decode_value(encode(deep(MAX_DEPTH + 1)), "record")


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from(["\x9b2J", "\ud800", "\x7f", "\u202e"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3) | st.tuples(inner)
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.text(max_size=3) | st.integers(-9, 9), values, max_size=3))
def test_a_reply_is_the_same_json_as_of_the_standard_library_and_nothing_for_a_terminal_to_obey(reply):
    data = encode_reply(reply)
    assert json.loads(data) == json.loads(to_json(reply))
    assert not set(data.decode()) & {"\x9b", "\x7f", "\x1b", "\u202e"}


@given(garbage)
def test_one_whole_value_is_what_splits_into_one(data):
    pieces = list(split(data, "records"))
    assert is_one(data) == (len(pieces) == 1 and pieces[0][1] is None)
