"""Entries that are decoded together hold what each holds alone; what is unusual is left to be taken alone."""

import msgpack
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from learner.service.wire import (
    ALONE,
    FEATURES,
    CutFields,
    Example,
    Kept,
    OutcomeFields,
    RawExample,
    decode_entry,
    is_one,
    pack_together,
)
from learner.service.wire.together import MAX_TOGETHER_BYTES, RECORD
from tests.unit.service.strategies import entry

JSON = {b"record": b'{"a": 1}', b"target": b"1"}
LARGE = b'{"a": "' + b"x" * MAX_TOGETHER_BYTES + b'"}'


def numbered(entries):
    return [(b"%d-0" % i, fields) for i, fields in enumerate(entries, 1)]


def unpacked(data):
    target, value, *importance = msgpack.unpackb(data, strict_map_key=False, object_pairs_hook=repr)
    return repr([target, value, importance or [1]])


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(entry | st.just(JSON), max_size=6))
@example([JSON, {b"record": b'{"a": "', b"target": b"1"}, {b"record": b'{"},""', b"target": b"2"}, JSON])
@example([{b"features": b"\x81\xa1a\x01", b"target": b"1"}, {b"features": b'{"a": 2}', b"target": b"1"}])
@example([{b"features": b"\x81\xa1a\x01", b"target": b"9" * 60}, {b"features": b"\x81\xa1a", b"target": b"1"}])
@example([{b"record": b"\xef\xbb\xbf{}", b"target": b"1"}, {b"record": b"", b"target": b""}, JSON])
def test_what_is_taken_together_is_what_each_entry_holds(entries):
    kinds, packed = pack_together(numbered(entries))
    assert len(kinds) == len(packed) == len(entries)
    for fields, kind, data in zip(entries, kinds, packed, strict=True):
        assert (kind == ALONE) == (data == b"")
        if kind == ALONE:
            continue
        assert is_one(data)
        assert kind == (FEATURES if fields.keys() & {b"features", b"batch"} else RECORD)
        if fields.keys() & {b"batch", b"records"}:
            assert data in fields.values()
            continue
        (alone,) = decode_entry(fields)
        if isinstance(alone, Example):
            assert unpacked(data) == unpacked(alone.packed)
        elif isinstance(alone, RawExample):
            one = [alone.target, alone.record, alone.importance]
            assert unpacked(data) == unpacked(msgpack.packb(one))
        else:  # the program looks at a record in msgpack, and the loop at features
            assert fields.get(b"record", fields.get(b"features"))[0] >= 0x80


@pytest.mark.parametrize(
    "fields",
    [
        JSON | {b"record": LARGE},
        JSON | {b"target": b"x" * 257},
        JSON | {b"id": b"x" * 257},
        JSON | {b"note": b""},
        {b"record": b"{}"},
        {b"batch": b""},
        {b"batch": b"\x01\x01"},
        {b"learn": b"held"},
        CutFields({b"records": b"\x92\x01\x80"}, 1 << 30),
        OutcomeFields({b"outcome": b"a", b"target": b"1"}, Kept(0.5, b"\x80")),
    ],
)
@pytest.mark.parametrize("others", [[], [JSON], [JSON | {b"id": b"a"}, {b"batch": b"\x92\x01\x80"}]])
def test_one_unusual_entry_is_alone_and_the_others_are_not(fields, others):
    kinds, packed = pack_together(numbered([*others, fields, *others]))
    expected = [FEATURES if b"batch" in other else RECORD for other in others]
    assert list(kinds) == [*expected, ALONE, *expected]
    assert all(packed[: len(others)])


def test_one_bad_entry_among_many_is_alone_and_of_none_there_is_nothing():
    assert pack_together([]) == (b"", [])
    many = [{b"features": b"\x81\xa1a\x01", b"target": b"%d" % (i % 2)} for i in range(250)]
    many[77] = {b"features": b"\x81\xa1a", b"target": b"1"}
    kinds, packed = pack_together(numbered(many))
    assert [i for i, kind in enumerate(kinds) if kind != FEATURES] == [77]
    assert packed[1] == b"\x93\x01\x81\xa1a\x01\x01"
