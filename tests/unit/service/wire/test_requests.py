"""What requests decode to, and how replies are encoded."""

import json
import math

import msgpack
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from learner.errors import LearnerError
from learner.model import Model
from learner.packing import pack
from learner.service.wire import (
    MAX_BATCH,
    MAX_ENTRY_BYTES,
    MAX_SHORT_BYTES,
    RawRecord,
    deadline_ms,
    decode_request,
    encode_reply,
)
from tests.unit.service.wire.strategies import UNHASHABLE, anything, garbage

FIELDS = Model("binary", featurizer="fields", seed=bytes(16)).pack


def decoded(fields: dict[bytes, bytes]) -> "tuple[list[bytes | LearnerError], bool]":
    """A request's vectors, decoded and featurized as a worker does it, and whether it asks for one prediction."""
    vectors, is_single = decode_request(fields)
    return [packed(vector) for vector in vectors], is_single


def packed(vector: "bytes | RawRecord | LearnerError") -> "bytes | LearnerError":
    try:
        return FIELDS(vector.record) if isinstance(vector, RawRecord) else vector
    except LearnerError as error:
        return error


def test_a_request_is_for_one_or_for_many():
    one = pack({"a": 1.0})
    assert decoded({b"record": b'{"a": 1}'}) == ([one], True)
    assert decoded({b"features": one}) == ([one], True)
    assert decoded({b"features": b'{"a": 1.0}'}) == ([one], True)
    assert decoded({b"batch": one + one}) == ([one, one], False)
    assert decoded({b"records": pack({"a": 1}) * 2}) == ([one, one], False)
    assert decoded({b"records": b""}) == ([], False)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {b"record": b"{"},
        {b"record": b""},
        {b"record": b"[1]"},
        {b"features": b"\xc1"},
        {b"features": b"\x81\xa1a"},
        {b"x": b"1"},
    ],
)
def test_a_wrong_request_for_one_is_one_error(fields):
    (error,), is_single = decoded(fields)
    assert is_single
    assert isinstance(error, LearnerError)


def test_a_wrong_vector_among_many_is_alone_in_being_an_error():
    good = pack({"a": 1})
    vectors, _ = decoded({b"records": good + b"\x91\x01" + good + b"\xc1"})
    assert [isinstance(vector, LearnerError) for vector in vectors] == [False, True, False, True]
    vectors, _ = decoded({b"batch": good + UNHASHABLE})
    assert vectors[0] == good
    assert len(vectors) == 2


@settings(max_examples=150, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from([b"record", b"features", b"records", b"batch"]),
        garbage | anything.map(msgpack.packb),
        max_size=2,
    )
)
@example({b"batch": UNHASHABLE})
@example({b"records": UNHASHABLE})
def test_any_request_decodes(fields):
    vectors, _ = decoded(fields)
    assert all(isinstance(vector, bytes | LearnerError) for vector in vectors)


def test_a_request_has_at_most_so_many_vectors():
    *vectors, error = decoded({b"batch": b"\x80" * (MAX_BATCH + 5)})[0]
    assert vectors == [b"\x80"] * MAX_BATCH
    assert str(error) == f"batch must be at most {MAX_BATCH} at once (got more)"
    (error,), is_single = decoded({b"batch": bytes(MAX_ENTRY_BYTES)})
    assert is_single
    assert str(error) == f"request must be at most {MAX_ENTRY_BYTES} bytes (got {MAX_ENTRY_BYTES + 5})"


def test_a_record_is_decoded_when_its_turn_comes():
    vectors, _ = decode_request({b"records": pack({"a": 1}) * 2})
    assert next(vectors) == RawRecord({"a": 1})


def test_a_deadline_is_counted_from_when_the_request_came():
    assert deadline_ms(1700000000000, {b"deadline_ms": b"250.5"}) == 1700000000250.5
    for odd in ({}, {b"deadline_ms": b"soon"}, {b"deadline_ms": b""}, {b"deadline_ms": b"1" * (MAX_SHORT_BYTES + 1)}):
        assert deadline_ms(1700000000000, odd) is None


def test_a_reply_is_short_json():
    assert (
        encode_reply({"id": "7é", "prediction": 0.5, "scores": [1, None]})
        == '{"id":"7é","prediction":0.5,"scores":[1,null]}'.encode()
    )


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_reply_is_json_even_where_a_number_is_none(value):
    def refuse(name):
        raise AssertionError(f"{name} is not JSON")

    reply = {"prediction": value, "predictions": [1.0, value], "contributions": [["a", value, 0.0]]}
    found = json.loads(encode_reply(reply), parse_constant=refuse)
    assert found == {"prediction": None, "predictions": [1.0, None], "contributions": [["a", None, 0.0]]}
