"""The msgpack form of features: what it has a form for, and what it refuses."""

import msgpack
import numpy as np
import pytest

from learner.errors import ExampleError
from learner.packing import pack, pack_example


@pytest.mark.parametrize("value", [{1, 2}, object(), 1 << 64, -(1 << 63) - 1, {"a": {"b": 1j}}])
def test_a_value_that_msgpack_has_no_form_for_is_an_example_error(value):
    with pytest.raises(ExampleError, match="value must be numbers, strings, lists and maps"):
        pack(value)


def test_a_value_nested_too_deeply_to_pack_or_to_show_is_an_example_error():
    value = []
    for _ in range(5000):
        value = [value]
    with pytest.raises(ExampleError):
        pack(value)


def test_an_integer_too_long_to_be_shown_is_an_example_error():
    with pytest.raises(ExampleError):
        pack({"a": 10**5000})


def test_numpy_scalars_are_numbers():
    assert msgpack.unpackb(pack({"a": np.float32(0.5), "b": np.int64(7), "c": np.bool_(True)})) == {
        "a": 0.5,
        "b": 7.0,
        "c": 1.0,
    }


def test_an_importance_of_one_is_left_out():
    assert msgpack.unpackb(pack_example(1, pack({"a": 1}))) == [1, {"a": 1}]
    assert msgpack.unpackb(pack_example(1, pack({"a": 1}), 2.5)) == [1, {"a": 1}, 2.5]


def test_packing_inside_of_packing_and_after_an_error_is_no_trouble():
    class Nested:
        __array_interface__ = None

        @property
        def shape(self):
            assert pack({"inner": 1}) == msgpack.packb({"inner": 1})
            return ()

    with pytest.raises(ExampleError):
        pack({"a": 1, "b": [Nested(), object()]})
    assert pack({"a": 1}) == msgpack.packb({"a": 1})
