"""What entries decode to, featurized as a worker does it, and how they are rejected."""

import json
import re
import time
import tracemalloc

import msgpack
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from learner.model import Model
from learner.service.featurizing import featurize
from learner.service.wire import (
    MAX_BATCH,
    MAX_ENTRY_BYTES,
    MAX_REASON,
    MAX_VALUE_BYTES,
    REJECTED_BYTES,
    CutFields,
    Example,
    RawExample,
    RejectedEntry,
    decode_entry,
)
from tests.unit.service.wire.strategies import UNHASHABLE, anything, garbage

FIELDS = Model("binary", featurizer="fields", seed=bytes(16)).pack
PLACE = Model("binary", featurizer="place", seed=bytes(16)).pack
AS_IS = Model("binary", seed=bytes(16)).pack


def nested(depth: int) -> bytes:
    return b"\x91" * depth + b"\x01"


def decoded(fields: dict[bytes, bytes], pack=FIELDS) -> "list[Example | RejectedEntry]":
    """What an entry becomes, decoded and featurized as a worker does it."""
    return [featurize(part, fields, pack) if isinstance(part, RawExample) else part for part in decode_entry(fields)]


def examples(fields: dict[bytes, bytes]) -> list:
    """The same, unpacked where it is an example."""
    return [
        part if isinstance(part, RejectedEntry) else msgpack.unpackb(part.packed, strict_map_key=False)
        for part in decoded(fields)
    ]


def test_every_form_of_an_entry_decodes_to_its_examples():
    assert examples({b"record": b'{"a": 2, "city": "Lyon"}', b"target": b"1"}) == [[1, {"a": 2.0, "city=Lyon": 1.0}]]
    assert examples({b"record": msgpack.packb({"a": 2}), b"target": b"-1"}) == [[-1, {"a": 2.0}]]
    assert examples({b"features": b'{"a": 2}', b"target": b"spam"}) == [["spam", {"a": 2}]]
    assert examples({b"features": msgpack.packb({"a": 2}), b"target": b"true"}) == [[True, {"a": 2}]]
    records = msgpack.packb([1, {"a": 2}]) + msgpack.packb([-1, {"b": "c"}, 0.5])
    assert examples({b"records": records}) == [[1, {"a": 2.0}], [-1, {"b=c": 1.0}, 0.5]]


def test_a_batch_is_passed_on_unopened():
    assert decoded({b"batch": b"\xc1anything"}) == [Example(b"\xc1anything", b"\xc1anything")]


def test_features_in_msgpack_are_passed_on_as_they_came():
    packed = b"\xde\x00\x01\xd9\x01a\xcb" + b"\x3f\xf0" + bytes(6)  # forms that Python's packer would write shorter
    (part,) = decoded({b"features": packed, b"target": b"1"})
    assert part.packed == b"\x92\x01" + packed


def test_an_importance_as_text_goes_along():
    assert examples({b"features": b'{"a": 1}', b"target": b"1", b"importance": b"2.5"}) == [[1, {"a": 1}, 2.5]]
    assert examples({b"features": b'{"a": 1}', b"target": b"1", b"importance": b"1.0"}) == [[1, {"a": 1}]]
    assert examples({b"features": b'{"a": 1}', b"target": b"1", b"importance": b"many"}) == [[1, {"a": 1}, "many"]]


@pytest.mark.parametrize(
    ("fields", "stage", "reason"),
    [
        ({b"record": b'{"a": 1}'}, "decode", "entry must have a target"),
        ({}, "decode", r"got the fields none"),
        ({b"target": b"1"}, "decode", "entry must have one of record, features, records, batch"),
        ({b"x": b"1", b"target": b"1"}, "decode", r"got the fields target, x"),
        ({b"record": b"{", b"target": b"1"}, "decode", "must be JSON or msgpack"),
        ({b"record": b"", b"target": b"1"}, "decode", "got nothing"),
        ({b"record": b'{"a": NaN}', b"target": b"1"}, "decode", "NaN is not a number"),
        ({b"record": UNHASHABLE, b"target": b"1"}, "decode", "must be JSON or msgpack"),
        ({b"record": b"[1, 2]", b"target": b"1"}, "featurize", "record must be a map"),
        ({b"record": b'"text"', b"target": b"1"}, "featurize", "record must be a map"),
        ({b"record": b'{"a": ' + b"9" * 400 + b"}", b"target": b"1"}, "featurize", "field 'a' must be finite"),
        ({b"record": b'{"a":' * 500 + b"1" + b"}" * 500, b"target": b"1"}, "decode", "nested"),
        ({b"record": b'{"a": 1}', b"target": b"x" * 257}, "decode", "target must be at most 256 bytes"),
        (
            {b"record": b'{"a": 1}', b"target": b"1", b"importance": b"1" * 257},
            "decode",
            "importance must be at most 256",
        ),
        ({b"record": b'{"a": 1, "b": 2, "a": 3}', b"target": b"1"}, "decode", "'a' is there twice"),
        ({b"record": b"\x82\xa1a\x01\xa1a\x02", b"target": b"1"}, "decode", "'a' is there twice"),
        ({b"record": b"\x81\xa1a\x01\x02", b"target": b"1"}, "decode", "1 more bytes follow"),
        ({b"features": b"\x81\xa1a\x01\x02", b"target": b"1"}, "decode", "features must be one msgpack map"),
        ({b"x\xff": b"1", b"target": b"1"}, "decode", "got the fields target, x"),
        ({b"features": b'{"a": 1e400}', b"target": b"1", b"importance": b"9" * 60}, "decode", "value must be numbers"),
        ({b"features": b'{"a": ' + b"9" * 400 + b"}", b"target": b"1"}, "decode", "value must be numbers"),
        ({b"features": b'{"a": "\\ud800"}', b"target": b"1"}, "decode", "text must have no lone surrogates"),
        ({b"features": b"\x81\xa1a", b"target": b"1"}, "decode", "must be whole msgpack"),
    ],
)
def test_a_wrong_entry_is_rejected_with_its_stage_its_reason_and_all_of_its_fields(fields, stage, reason):
    (bad,) = decoded(fields)
    assert bad.stage == stage
    assert re.search(reason, bad.reason)
    kept = {
        name if isinstance(name, bytes) else name.encode(): value for name, value in msgpack.unpackb(bad.data).items()
    }
    assert kept == fields
    assert bad.field == "entry"


def test_a_featurizer_s_refusal_has_the_stage_featurize():
    (bad,) = decoded({b"record": b'{"lat": 91.2, "lon": 0}', b"target": b"1"}, PLACE)
    assert bad.stage == "featurize"
    assert "91.2" in bad.reason
    assert "lat" in bad.reason


def test_examples_before_broken_msgpack_in_records_survive():
    good = [msgpack.packb([1, {"a": i + 1}]) for i in range(3)]
    found = examples({b"records": b"".join(good) + b"\xc1" + good[0]})
    assert found[:3] == [[1, {"a": 1.0}], [1, {"a": 2.0}], [1, {"a": 3.0}]]
    (bad,) = found[3:]
    assert bad.stage == "decode"
    assert f"at byte {sum(map(len, good))}" in bad.reason
    assert bad.data == b"\xc1" + good[0]


def test_records_that_are_cut_off_lose_only_the_last():
    good = msgpack.packb([1, {"a": 1}])
    found = examples({b"records": good + good[:-1]})
    assert found[0] == [1, {"a": 1.0}]
    assert found[1].data == good[:-1]


def test_one_bad_record_among_many_is_alone_in_being_bad():
    wrong = [msgpack.packb(x) for x in (7, [1], [1, {"a": 1}, 1, 1], [1, "text"], {"a": 1})]
    good = msgpack.packb([1, {"a": 1}])
    found = examples({b"records": good + good.join(wrong) + good})
    assert [part.data for part in found if isinstance(part, RejectedEntry)] == wrong
    assert [part.stage for part in found if isinstance(part, RejectedEntry)] == ["decode"] * 3 + ["featurize", "decode"]
    assert [part for part in found if not isinstance(part, RejectedEntry)] == [[1, {"a": 1.0}]] * 6


def test_a_record_with_a_key_that_no_dict_can_hold_is_bad_and_those_before_it_survive():
    good = msgpack.packb([1, {"a": 1}])
    found = examples({b"records": good + b"\x92\x01" + UNHASHABLE})
    assert found[0] == [1, {"a": 1.0}]
    assert found[1].stage == "decode"


@pytest.mark.parametrize("depth", [10, 300, 511, 512, 600, 995, 1023, 1024, 5000])
@pytest.mark.parametrize("pack", [FIELDS, AS_IS])
def test_deep_nesting_is_bad_or_packed_but_never_an_exception(depth, pack):
    deep = nested(depth)
    brackets = b"[" * depth + b"]" * depth
    for fields in (
        {b"records": b"\x92" + deep + b"\x80"},
        {b"records": b"\x92\x01" + deep},
        {b"records": b"\x92\x01\x81\xa1a" + deep},
        {b"features": deep, b"target": b"1"},
        {b"record": deep, b"target": b"1"},
        {b"record": brackets, b"target": b"1"},
        {b"features": b'{"a": ' + brackets + b"}", b"target": brackets},
    ):
        assert len(decoded(fields, pack)) == 1


@settings(max_examples=150, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from([b"record", b"features", b"records", b"target", b"importance", b"x"]),
        garbage | anything.map(msgpack.packb) | st.binary(max_size=10) | anything.map(lambda x: msgpack.packb([1, x])),
        max_size=4,
    ),
    st.sampled_from([FIELDS, PLACE, AS_IS]),
)
@example({b"records": b"\x92\x01" + UNHASHABLE}, FIELDS)
def test_any_entry_decodes_to_whole_examples_and_rejected_ones(fields, pack):
    for part in decoded(fields, pack):
        if isinstance(part, RejectedEntry):
            assert part.stage in ("decode", "featurize")
            assert part.reason
        else:
            assert part.packed[0] in (0x92, 0x93)
            unpacker = msgpack.Unpacker()
            unpacker.feed(part.packed)
            unpacker.skip()
            assert unpacker.tell() == len(part.packed)  # exactly one value: it must not reach into the next


def only_rejected(fields: dict[bytes, bytes]) -> RejectedEntry:
    (rejected,) = decoded(fields)
    assert isinstance(rejected, RejectedEntry)
    return rejected.cut()


def test_an_entry_has_at_most_so_many_bytes_whatever_its_fields():
    for field in (b"batch", b"records", b"record", b"features", b"anything"):
        bad = only_rejected({field: bytes(MAX_ENTRY_BYTES), b"target": b"1"})
        size = MAX_ENTRY_BYTES + len(field) + 7
        assert bad.reason == f"entry must be at most {MAX_ENTRY_BYTES} bytes (got {size})"
        assert (len(bad.data), bad.size) == (REJECTED_BYTES, size)
    whole = b"\x92\x01\x80" * 2000
    assert decoded({b"batch": whole}) == [Example(whole, whole)]


def test_an_entry_too_large_to_be_read_says_its_size():
    bad = only_rejected(CutFields({b"record": b"{"}, 536870912))
    assert bad.reason == f"entry must be at most {MAX_ENTRY_BYTES} bytes (got 536870912)"
    assert bad.size == 536870912


@pytest.mark.parametrize("field", [b"record", b"features"])
def test_a_record_has_at_most_so_many_bytes(field):
    text = json.dumps({"a": "x" * MAX_VALUE_BYTES}).encode()
    assert (
        f"{field.decode()} must be at most {MAX_VALUE_BYTES} bytes"
        in only_rejected({field: text, b"target": b"1"}).reason
    )
    (good,) = decoded({b"record": text[: MAX_VALUE_BYTES - 2] + b'"}', b"target": b"1"})
    assert isinstance(good, Example)


def test_an_entry_has_at_most_so_many_examples():
    one = msgpack.packb([1, {"a": 1}])
    assert len(examples({b"records": one * MAX_BATCH})) == MAX_BATCH
    *good, bad = examples({b"records": one * (MAX_BATCH + 2)})
    assert good == [[1, {"a": 1.0}]] * MAX_BATCH
    assert bad.reason == f"records must be at most {MAX_BATCH} at once (got more)"
    assert (bad.data, bad.field) == (one * 2, "records")


def test_no_room_is_made_for_what_is_only_announced():
    bomb = b"\xdd\x00\x0f\xff\xff" * 1000 + bytes(MAX_VALUE_BYTES // 2)  # a thousand lists of a million in one another
    tracemalloc.start()
    try:
        assert "whole" in only_rejected({b"records": bomb}).reason
        assert "msgpack" in only_rejected({b"record": bomb, b"target": b"1"}).reason
        assert tracemalloc.get_traced_memory()[1] < 8 * len(bomb)
    finally:
        tracemalloc.stop()


def test_a_key_that_is_there_twice_is_found_in_a_large_map_at_once():
    pairs = [f'"k{i}": 1' for i in range(60_000)]
    started = time.process_time()
    bad = only_rejected({b"record": ("{" + ", ".join([*pairs, pairs[-1]]) + "}").encode(), b"target": b"1"})
    assert "'k59999' is there twice" in bad.reason
    assert time.process_time() - started < 20  # it took minutes when every key was counted


def test_what_is_kept_of_the_rejected_is_bounded():
    bad = RejectedEntry("decode", "x" * 10_000, bytes(10 * REJECTED_BYTES)).cut()
    assert (len(bad.reason), len(bad.data), bad.size) == (MAX_REASON, REJECTED_BYTES, 10 * REJECTED_BYTES)
    assert bad.cut() == bad
    names = {b"%d" % i * 100: b"" for i in range(1000)}
    assert len(only_rejected(names).reason) < 400
