"""Msgpack: examples are cut apart where they end, whatever the blocks, and damage is found."""

import io

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from learner.errors import FormatError
from learner.files import packed, read
from tests.unit.files.reading import faults, features, importance, label, quick, travels, unpacked


@quick
@given(st.lists(st.tuples(label, features, importance), max_size=5))
def test_msgpack_slices_put_together_are_the_file_byte_for_byte(examples):
    content = b"".join(msgpack.packb(travels(*example)) for example in examples)
    slices = list(read(io.BytesIO(content), "msgpack"))
    assert b"".join(example.data for example in slices) == content
    assert [(e.kind, e.where) for e in slices] == [("features", f"example {n + 1}") for n in range(len(examples))]


@pytest.mark.parametrize("block", [1, 7, 64])
def test_msgpack_slices_do_not_depend_on_where_blocks_end(monkeypatch, block):
    monkeypatch.setattr(packed, "BLOCK_BYTES", block)
    examples = [msgpack.packb([n, {"a" * n: 1.5, "é": n}]) for n in range(50)]
    assert [example.data for example in read(io.BytesIO(b"".join(examples)), "msgpack")] == examples


def test_a_truncated_last_msgpack_example_raises_with_its_byte_offset():
    first, last = msgpack.packb([1, {"a": 1.5}]), msgpack.packb([2, {"b": 1.5}])
    reader = read(io.BytesIO(first + last[:-1]), "msgpack", on_error=lambda *_: None)
    assert next(reader).data == first
    with pytest.raises(FormatError, match=f"example 2, from byte {len(first)}: must be whole"):
        next(reader)


def test_broken_msgpack_raises_after_the_good_examples():
    first = msgpack.packb([1, {"a": 1.5}])
    for broken in (b"\xc1", b"\x91" * 2000):
        reader = read(io.BytesIO(first + broken + first), "msgpack", on_error=lambda *_: None)
        assert next(reader).data == first
        with pytest.raises(FormatError, match=f"example 2, from byte {len(first)}: must be msgpack"):
            next(reader)


def test_a_msgpack_object_that_is_no_example_is_skipped():
    example = msgpack.packb([1, {"a": 1}])
    content = example + msgpack.packb({"a": 1}) + msgpack.packb([1]) + msgpack.packb(7) + example
    good, said = faults(content, "msgpack")
    assert good == [[1, {"a": 1}]] * 2
    assert [line.split(":")[0] for line in said] == ["example 2", "example 3", "example 4"]


def test_a_msgpack_length_that_lies_can_not_fill_the_memory(monkeypatch):
    monkeypatch.setattr(packed, "MAX_EXAMPLE_BYTES", 10_000)
    monkeypatch.setattr(packed, "BLOCK_BYTES", 1000)
    with pytest.raises(FormatError, match="example 1, from byte 0: must be at most 10000 bytes"):
        unpacked(b"\x92\x01\xdf\xff\xff\xff\xff" + b"\xa1a\x01" * 10_000, "msgpack")
