"""Msgpack: numbers are read as Python reads them, and values end where msgpack says."""

import msgpack
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from learner import kernels
from tests.unit.kernels import doors
from tests.unit.streams import new

N_TRIES = 200 if kernels.JIT else 10  # hypothesis examples
GOOD_VALUES = [
    0, 127, 128, 255, 256, 65_535, 65_536, 2**31, 2**32, 2**63, 2**64 - 1, -1, -32, -33, -128, -129, -32_768, -32_769,
    -(2**31), -(2**31) - 1, -(2**63), True, False, 0.1, -2.5, 1e-30, 1e15,
]  # fmt: skip


@pytest.mark.parametrize("value", GOOD_VALUES)
def test_every_form_of_a_number_is_read_as_python_reads_it(value):
    for data in (msgpack.packb(value), msgpack.packb(value, use_single_float=True)):
        expected = float(msgpack.unpackb(data))
        contributions = new().learner.explain_packed(b"\x81\xa1a" + data)
        assert [c.value for c in contributions if c.name == "a"] == ([expected] if expected else [])


@given(data=st.binary(min_size=1, max_size=9), first=st.integers(0xCA, 0xD3))
@settings(max_examples=N_TRIES, deadline=None)
def test_any_number_is_read_as_python_reads_it(first, data):
    size = {0xCA: 4, 0xCB: 8}.get(first, 1 << (first - 0xCC & 3))
    packed = bytes([first]) + data.ljust(size, b"\1")[:size]
    expected = float(msgpack.unpackb(packed))
    kind, value, end = doors.read_number(np.frombuffer(packed, np.uint8), 0)
    assert (kind, end) == (1, len(packed))
    assert value == pytest.approx(expected, rel=0, abs=0, nan_ok=True)


@pytest.mark.parametrize(
    "packed", ["d3c0000000000002ff", "d38000000000000001", "d3ffdfffffffffffff", "cffffffffffffffbff"]
)
def test_a_large_integer_is_rounded_once(packed):
    packed = bytes.fromhex(packed)
    assert doors.read_number(np.frombuffer(packed, np.uint8), 0)[1] == float(msgpack.unpackb(packed))


@given(st.binary(max_size=60), st.binary(max_size=12))
@settings(max_examples=N_TRIES, deadline=None)
def test_random_bytes_end_and_do_not_depend_on_what_lies_behind_them(data, behind):
    for head in (b"", b"\x92\x01", b"\x92\x01\x82\xa1a\x01"):
        whole = np.frombuffer(head + data + behind, np.uint8)
        stop = len(head + data)
        end = kernels.skip(whole[:stop], 0)
        assert end == kernels.skip(np.frombuffer(head + data, np.uint8), 0)
        assert end == -1 or 0 < end <= stop
        model = new()
        learned = model.learn_packed(head + data)
        assert len(learned.scores) == model.n_examples + model.n_rejected


any_value = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(-(2**63), 2**64 - 1), st.floats(), st.text(max_size=40),
        st.binary(max_size=300), st.builds(msgpack.ExtType, st.integers(0, 127), st.binary(max_size=20)),
    ),
    lambda inner: st.lists(inner, max_size=20) | st.dictionaries(st.text(max_size=4), inner, max_size=18),
    max_leaves=40,
)  # fmt: skip


@given(st.lists(any_value, max_size=5), st.data())
@settings(max_examples=N_TRIES, deadline=None)
def test_values_end_where_msgpack_says(values, data):
    packed = [msgpack.packb(value) for value in values]
    expected = np.cumsum([len(p) for p in packed]).tolist()
    buffer = np.frombuffer(b"".join(packed), np.uint8)
    ends = np.zeros(len(values) + 1, np.int64)
    assert kernels.boundaries(buffer, ends) == len(values)
    assert ends[:-1].tolist() == expected
    if len(buffer):
        cut = data.draw(st.integers(0, len(buffer) - 1))
        n = sum(end <= cut for end in expected)
        assert kernels.boundaries(buffer[:cut], ends) == n
        assert ends[:n].tolist() == expected[:n]
        if n < len(values):
            assert kernels.skip(buffer[:cut], expected[n - 1] if n else 0) == -1
        assert kernels.boundaries(buffer, ends[:1]) == 1


@pytest.mark.parametrize(
    "value",
    [
        0,
        "a" * 32,
        "a" * 256,
        "a" * 65_536,
        b"a" * 256,
        b"a" * 65_536,
        [0] * 16,
        [0] * 65_536,
        {str(i): i for i in range(16)},
    ]
    + [msgpack.ExtType(1, b"a" * n) for n in (1, 2, 4, 8, 16, 17, 256, 65_536)],
    ids=lambda value: f"{type(value).__name__}-{len(value) if value else 0}",
)
def test_every_form_of_a_length_is_skipped(value):
    data = msgpack.packb([value]) + b"\xc0"
    buffer = np.frombuffer(data, np.uint8)
    assert kernels.skip(buffer, 0) == len(data) - 1
    assert kernels.skip(buffer[:-2], 0) == -1


def test_a_value_of_any_depth_is_skipped():
    data = b"\x91" * 200_000 + b"\xc0" if kernels.JIT else b"\x91" * 2_000 + b"\xc0"
    assert kernels.skip(np.frombuffer(data, np.uint8), 0) == len(data)
    assert kernels.skip(np.frombuffer(data, np.uint8)[:-1], 0) == -1


@pytest.mark.parametrize(
    "data",
    [b"\xdd\xff\xff\xff\xff" * 50, b"\xdf\xff\xff\xff\xff" * 50, b"\xdb\xff\xff\xff\xff", b"\xc9\xff\xff\xff\xff"],
)
def test_lengths_of_four_gigabytes_are_cut_off(data):
    assert kernels.skip(np.frombuffer(data, np.uint8), 0) == -1
