"""Entries and requests that tests draw: whole ones, damaged ones, and anything at all."""

import math

import msgpack
from hypothesis import strategies as st

text = st.text(st.characters(codec="utf-8"), max_size=6)
scalar = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | text | st.binary(max_size=5)
anything = st.recursive(
    scalar, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(scalar | text, inner, max_size=3), max_leaves=8
)
near = st.fixed_dictionaries({"lat": anything, "lon": st.floats(-180, 180)}) | st.dictionaries(
    text, st.floats(), max_size=4
)
example = st.tuples(st.sampled_from([1, -1, 0, True, "spam", None]) | anything, near | anything).map(msgpack.packb)
example |= st.tuples(st.just(1), near, st.floats(0, 1e6) | st.sampled_from([-1, math.nan, math.inf, "1"])).map(
    msgpack.packb
)


def damaged(data: bytes, place: int, byte: int, cut: int) -> bytes:
    place %= len(data)
    return data[:place] + bytes([byte]) + data[place + 1 : len(data) - cut % 3]


packed = (
    example
    | st.builds(damaged, example, st.integers(0, 400), st.integers(0, 255), st.integers(0, 9))
    | st.binary(max_size=30)
)
many = st.lists(packed, max_size=4).map(b"".join)
one = (near | anything).map(msgpack.packb) | st.binary(max_size=30) | text.map(str.encode)
entry = st.fixed_dictionaries({b"batch": many}) | st.fixed_dictionaries({b"records": many})
entry |= st.fixed_dictionaries(
    {b"target": st.sampled_from([b"1", b"spam", b"NaN"]) | st.binary(max_size=8)},
    optional={
        b"record": one,
        b"features": one,
        b"importance": st.sampled_from([b"2", b"NaN", b"-1", b"false", b"x", b"1e999"]),
    },
)
