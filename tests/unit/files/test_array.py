"""JSON arrays: each element is an example or an error in its place, and where the file breaks off, what came before is kept."""

import gzip
import io
import json

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from learner.errors import FormatError
from learner.files import Reading, read, source
from tests.unit.files.reading import faults, plain, quick, text, unpacked

ROWS = [{"a": 1, "b": {"c": [1, 2]}, "target": True}, {"a": None, "d": "ü\\ud83d ]", "target": False}]
READ = [[True, {"a": 1, "b": {"c": [1, 2]}}], [False, {"a": None, "d": "ü\\ud83d ]"}]]


@pytest.mark.parametrize("indent", [None, 2])
def test_objects_in_an_array_or_one_after_another_are_records(indent):
    array = json.dumps(ROWS, indent=indent, ensure_ascii=False).encode()
    sequence = "\n".join(json.dumps(row, indent=indent) for row in ROWS).encode()
    for content in (
        array,
        sequence,
        b"\xef\xbb\xbf " + array,
        gzip.compress(sequence),
        array.decode().encode("utf-16"),
    ):
        assert unpacked(content, "json") == READ
    with pytest.raises(FormatError, match=r"did you mean 'target'"):
        list(read(io.BytesIO(array), "json", target="Target", how=Reading(needs_target=True)))


@quick
@given(
    st.lists(
        st.dictionaries(text.filter(lambda name: name not in ("target", "features", "record")), plain, max_size=3)
    ),
    st.integers(1, 40),
)
def test_an_array_is_read_in_pieces_of_any_size(records, size):
    pieces = iter(lambda: content.read(size), b"")
    content = io.BytesIO(json.dumps(records, ensure_ascii=False).encode())

    class Slow(io.RawIOBase):
        def readable(self):
            return True

        def readinto(self, buffer):
            piece = next(pieces, b"")
            buffer[: len(piece)] = piece
            return len(piece)

    assert [record for _, record in unpacked_of(Slow())] == records


def unpacked_of(stream):
    return [msgpack.unpackb(example.data, strict_map_key=False) for example in read(stream, "json")]


@pytest.mark.parametrize(
    ("end", "n", "got"),
    [
        (",", 1, "row 2: must be whole JSON (got the end of the file): nothing after it is read"),
        ("", 1, "row 2: must be whole JSON (got the end of the file): nothing after it is read"),
        (', {"a": 1', 1, "row 2: must be whole JSON (got '{\"a\": 1'): nothing after it is read"),
        (",]", 1, "row 2: must be whole JSON (got ']'): nothing after it is read"),
        (
            ', {"a": x}, {"a": 1}]',
            1,
            'row 2: must be whole JSON (got \'{"a": x}, {"a": 1}]\'): nothing after it is read',
        ),
        ("] 7", 1, "row 2: must be whole JSON (got '7'): nothing after it is read"),
        (', 5, {"a": 1}]', 2, "row 2: must be one JSON object (got '5')"),
        (', {"a": 1, "a": 2}, {"a": 1}]', 2, "row 2: a key must come once (got 'a' again)"),
        (', {"a": NaN}, {"a": 1}]', 2, "row 2: number must be a finite number (got 'NaN')"),
    ],
)
def test_what_can_be_read_is_kept_and_the_rest_said(end, n, got):
    good, said = faults(b'[{"a": 1}' + end.encode(), "json")
    assert (len(good), said) == (n, [got])


def test_an_element_is_at_most_so_long(monkeypatch):
    monkeypatch.setattr(source, "MAX_EXAMPLE_BYTES", 1000)
    monkeypatch.setattr(source, "BLOCK_BYTES", 100)
    good, said = faults(json.dumps([{"a": 1}, {"a": "x" * 2000}, {"a": 1}]).encode(), "json")
    assert len(good) == 1
    assert said[0].startswith("row 2: must be at most 1000 bytes (got ")
