"""Rejected examples as data: every form that an entry may have."""

import json

import msgpack
import numpy as np
import pytest

from learner.packing import pack
from learner.service.wire import describe, rejected_entry, to_json


@pytest.mark.parametrize(
    ("fields", "described"),
    [
        ({b"record": b'{"lat": 91}', b"target": b"1"}, {"record": {"lat": 91}, "target": 1}),
        ({b"record": msgpack.packb({"lat": 91}), b"target": b"spam"}, {"record": {"lat": 91}, "target": "spam"}),
        (
            {b"features": pack(np.array([1.0, 2.0], np.float32)), b"target": b"x"},
            {"features": [1.0, 2.0], "target": "x"},
        ),
        ({b"record": b"{nope", b"importance": b"2"}, {"record": "{nope", "importance": 2}),
        ({b"record": b"\xc1", b"\xfe": b"\x00"}, {"record": "\\xc1", "\\xfe": "\x00"}),
        ({b"record": msgpack.packb({"a": b"\xff", 3: None})}, {"record": {"a": "\\xff", "3": None}}),
        ({}, {}),
    ],
)
def test_a_whole_entry_is_its_fields_decoded(fields, described):
    entry = rejected_entry("decode", "why", fields)
    assert describe(entry.field, entry.data) == described
    assert json.loads(to_json(describe(entry.field, entry.data))) == described


@pytest.mark.parametrize(
    ("field", "value", "described"),
    [
        ("records", [1, {"lat": 92}], {"target": 1, "record": {"lat": 92}}),
        ("batch", ["x", {"a": 1}, 2.5], {"target": "x", "features": {"a": 1}, "importance": 2.5}),
        ("records", {"a": 1}, {"a": 1}),
        ("batch", [1], [1]),
        ("records", [1, msgpack.ExtType(5, b"ab")], {"target": 1, "record": "ExtType(code=5, data=b'ab')"}),
    ],
)
def test_one_of_many_examples_has_its_parts_by_name(field, value, described):
    assert describe(field, msgpack.packb(value)) == described


@pytest.mark.parametrize("data", [b"", b"\xc1", b"\x92\x01", b"\x91" * 5000 + b"\x01"])
def test_what_can_not_be_decoded_is_none(data):
    assert describe("batch", data) is None
