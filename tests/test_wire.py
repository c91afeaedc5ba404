"""The protocol: what entries and requests decode to, and that nothing but its own errors comes out of bad bytes."""

import json
import math
import re
import time
import tracemalloc

import msgpack
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from learner.errors import ExampleError, FormatError, SpecError
from learner.model import Model
from learner.service.wire import (
    MAX_BATCH,
    MAX_DEPTH,
    MAX_ENTRY_BYTES,
    MAX_REASON,
    MAX_SHORT_BYTES,
    MAX_VALUE_BYTES,
    REJECTED_BYTES,
    REPLIES,
    Bad,
    Example,
    Keys,
    deadline_ms,
    decode_entry,
    decode_request,
    decode_target,
    decode_value,
    encode_reply,
    pack,
    pack_example,
)

FIELDS = Model("binary", featurizer="fields", seed=bytes(16)).features
PLACE = Model("binary", featurizer="place", seed=bytes(16)).features
AS_IS = Model("binary", seed=bytes(16)).features

scalar = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(max_size=6)
    | st.binary(max_size=6)
)
anything = st.recursive(
    scalar,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)
garbage = st.binary(max_size=60) | st.builds(
    lambda first, rest: bytes([first]) + rest, st.integers(0x80, 0xFF), st.binary(max_size=40)
)
UNHASHABLE = b"\x81\x90\x01"  # {[]: 1}, which no Python dict can hold


def nested(depth: int) -> bytes:
    return b"\x91" * depth + b"\x01"


def examples(fields: dict[bytes, bytes], features=FIELDS) -> list:
    """What an entry decodes to, unpacked where it is an example."""
    return [
        part if isinstance(part, Bad) else msgpack.unpackb(part.packed, strict_map_key=False)
        for part in decode_entry(fields, features)
    ]


# ---- keys ------------------------------------------------------------------------------------------------------------------
def test_all_keys_of_a_model_share_one_hash_tag():
    keys = Keys("spam-2.A_b")
    names = [keys.spec, keys.examples, keys.requests, keys.owner, keys.rejected, keys.progress, keys.head]
    names += [keys.rows(3), keys.names(0)]
    assert len(set(names)) == len(names)
    assert all(name.startswith("learner:{spam-2.A_b}:") for name in names)
    assert [keys.spec, keys.examples, keys.rejected] == [
        f"learner:{{spam-2.A_b}}:{x}" for x in ("spec", "examples", "rejected")
    ]
    assert not any(name.startswith(REPLIES) for name in names)


@pytest.mark.parametrize("name", ["", "a b", "a}b", "{a}", "a:b", "a\n", "é", "a/b", "a*", "x" * 65, "a\x00"])
def test_a_model_name_that_could_break_the_keys_is_refused(name):
    with pytest.raises(SpecError, match="model name must be 1 to 64 of the characters"):
        Keys(name)


def test_a_model_name_may_have_64_characters():
    assert Keys("x" * 64).spec == f"learner:{{{'x' * 64}}}:spec"


# ---- values ----------------------------------------------------------------------------------------------------------------
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


@pytest.mark.parametrize("value", [{1, 2}, object(), 1 << 64, -(1 << 63) - 1, "\ud800", {"a": {"b": 1j}}])
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


# ---- entries ---------------------------------------------------------------------------------------------------------------
def test_every_form_of_an_entry_decodes_to_its_examples():
    assert examples({b"record": b'{"a": 2, "city": "Lyon"}', b"target": b"1"}) == [[1, {"a": 2.0, "city=Lyon": 1.0}]]
    assert examples({b"record": msgpack.packb({"a": 2}), b"target": b"-1"}) == [[-1, {"a": 2.0}]]
    assert examples({b"features": b'{"a": 2}', b"target": b"spam"}) == [["spam", {"a": 2}]]
    assert examples({b"features": msgpack.packb({"a": 2}), b"target": b"true"}) == [[True, {"a": 2}]]
    records = msgpack.packb([1, {"a": 2}]) + msgpack.packb([-1, {"b": "c"}, 0.5])
    assert examples({b"records": records}) == [[1, {"a": 2.0}], [-1, {"b=c": 1.0}, 0.5]]


def test_a_batch_is_passed_on_unopened():
    assert list(decode_entry({b"batch": b"\xc1anything"}, FIELDS)) == [Example(b"\xc1anything", b"\xc1anything")]


def test_features_in_msgpack_are_passed_on_as_they_came():
    packed = b"\xde\x00\x01\xd9\x01a\xcb" + b"\x3f\xf0" + bytes(6)  # forms that Python's packer would write shorter
    (part,) = decode_entry({b"features": packed, b"target": b"1"}, FIELDS)
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
        ({b"features": b'{"a": "\\ud800"}', b"target": b"1"}, "decode", "value must be numbers"),
        ({b"features": b"\x81\xa1a", b"target": b"1"}, "decode", "must be whole msgpack"),
    ],
)
def test_a_bad_entry_is_one_bad_with_its_stage_its_reason_and_all_of_its_fields(fields, stage, reason):
    (bad,) = decode_entry(fields, FIELDS)
    assert bad.stage == stage
    assert re.search(reason, bad.reason)
    kept = {
        name if isinstance(name, bytes) else name.encode(): value for name, value in msgpack.unpackb(bad.data).items()
    }
    assert kept == fields
    assert bad.field == "entry"


def test_a_featurizer_s_refusal_has_the_stage_featurize():
    (bad,) = decode_entry({b"record": b'{"lat": 91.2, "lon": 0}', b"target": b"1"}, PLACE)
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
    assert [part.data for part in found if isinstance(part, Bad)] == wrong
    assert [part.stage for part in found if isinstance(part, Bad)] == ["decode"] * 3 + ["featurize", "decode"]
    assert [part for part in found if not isinstance(part, Bad)] == [[1, {"a": 1.0}]] * 6


def test_a_record_with_a_key_that_no_dict_can_hold_is_bad_and_those_before_it_survive():
    good = msgpack.packb([1, {"a": 1}])
    found = examples({b"records": good + b"\x92\x01" + UNHASHABLE})
    assert found[0] == [1, {"a": 1.0}]
    assert found[1].stage == "decode"


@pytest.mark.parametrize("depth", [10, 300, 511, 512, 600, 995, 1023, 1024, 5000])
@pytest.mark.parametrize("features", [FIELDS, AS_IS])
def test_deep_nesting_is_bad_or_packed_but_never_an_exception(depth, features):
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
        assert len(list(decode_entry(fields, features))) == 1


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
def test_any_entry_decodes_to_whole_examples_and_bads(fields, features):
    for part in decode_entry(fields, features):
        if isinstance(part, Bad):
            assert part.stage in ("decode", "featurize")
            assert part.reason
        else:
            assert part.packed[0] in (0x92, 0x93)
            unpacker = msgpack.Unpacker()
            unpacker.feed(part.packed)
            unpacker.skip()
            assert unpacker.tell() == len(part.packed)  # exactly one value: it must not reach into the next


# ---- bounds ----------------------------------------------------------------------------------------------------------------
def only_bad(fields: dict[bytes, bytes], features=FIELDS) -> Bad:
    (bad,) = decode_entry(fields, features)
    assert isinstance(bad, Bad)
    return bad.cut()


def test_an_entry_has_at_most_so_many_bytes_whatever_its_fields():
    for field in (b"batch", b"records", b"record", b"features", b"anything"):
        bad = only_bad({field: bytes(MAX_ENTRY_BYTES), b"target": b"1"})
        size = MAX_ENTRY_BYTES + len(field) + 7
        assert bad.reason == f"entry must be at most {MAX_ENTRY_BYTES} bytes (got {size})"
        assert (len(bad.data), bad.size) == (REJECTED_BYTES, size)
    whole = b"\x92\x01\x80" * 2000
    assert list(decode_entry({b"batch": whole}, FIELDS)) == [Example(whole, whole)]


def test_an_entry_too_large_to_be_read_says_its_size():
    bad = only_bad({b"record": b"{", b"(bytes)": b"536870912"})
    assert bad.reason == f"entry must be at most {MAX_ENTRY_BYTES} bytes (got 536870912)"
    assert bad.size == 536870912


@pytest.mark.parametrize("field", [b"record", b"features"])
def test_a_record_has_at_most_so_many_bytes(field):
    text = json.dumps({"a": "x" * MAX_VALUE_BYTES}).encode()
    assert (
        f"{field.decode()} must be at most {MAX_VALUE_BYTES} bytes" in only_bad({field: text, b"target": b"1"}).reason
    )
    (good,) = decode_entry({b"record": text[: MAX_VALUE_BYTES - 2] + b'"}', b"target": b"1"}, FIELDS)
    assert isinstance(good, Example)


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


def test_an_entry_or_a_request_has_at_most_so_many_examples():
    one = msgpack.packb([1, {"a": 1}])
    assert len(examples({b"records": one * MAX_BATCH})) == MAX_BATCH
    *good, bad = examples({b"records": one * (MAX_BATCH + 2)})
    assert good == [[1, {"a": 1.0}]] * MAX_BATCH
    assert bad.reason == f"records must be at most {MAX_BATCH} at once (got more)"
    assert (bad.data, bad.field) == (one * 2, "records")
    found, _ = decode_request({b"batch": b"\x80" * (MAX_BATCH + 5)}, FIELDS)
    assert found[:-1] == [b"\x80"] * MAX_BATCH
    assert found[-1].data == b"\x80" * 5


def test_no_room_is_made_for_what_is_only_announced():
    bomb = b"\xdd\x00\x0f\xff\xff" * 1000 + bytes(MAX_VALUE_BYTES // 2)  # a thousand lists of a million in one another
    tracemalloc.start()
    try:
        assert "whole" in only_bad({b"records": bomb}).reason
        assert "msgpack" in only_bad({b"record": bomb, b"target": b"1"}).reason
        assert tracemalloc.get_traced_memory()[1] < 8 * len(bomb)
    finally:
        tracemalloc.stop()


def test_a_key_that_is_there_twice_is_found_in_a_large_map_at_once():
    pairs = [f'"k{i}": 1' for i in range(60_000)]
    started = time.process_time()
    bad = only_bad({b"record": ("{" + ", ".join([*pairs, pairs[-1]]) + "}").encode(), b"target": b"1"})
    assert "'k59999' is there twice" in bad.reason
    assert time.process_time() - started < 20  # it took minutes when every key was counted


def test_what_is_kept_of_the_rejected_is_bounded():
    bad = Bad("decode", "x" * 10_000, bytes(10 * REJECTED_BYTES)).cut()
    assert (len(bad.reason), len(bad.data), bad.size) == (MAX_REASON, REJECTED_BYTES, 10 * REJECTED_BYTES)
    assert bad.cut() == bad
    names = {b"%d" % i * 100: b"" for i in range(1000)}
    assert len(only_bad(names).reason) < 400


def test_a_deadline_is_counted_from_the_request_s_own_time():
    assert deadline_ms(b"1700000000000-3", {b"deadline_ms": b"250.5"}) == 1700000000250.5
    for odd in ({}, {b"deadline_ms": b"soon"}, {b"deadline_ms": b""}, {b"deadline_ms": b"1" * (MAX_SHORT_BYTES + 1)}):
        assert deadline_ms(b"1700000000000-3", odd) is None


# ---- requests --------------------------------------------------------------------------------------------------------------
def test_a_request_is_for_one_or_for_many():
    one = pack({"a": 1.0})
    assert decode_request({b"record": b'{"a": 1}'}, FIELDS) == ([one], True)
    assert decode_request({b"features": one}, FIELDS) == ([one], True)
    assert decode_request({b"features": b'{"a": 1.0}'}, FIELDS) == ([one], True)
    assert decode_request({b"batch": one + one}, FIELDS) == ([one, one], False)
    assert decode_request({b"records": pack({"a": 1}) * 2}, FIELDS) == ([one, one], False)
    assert decode_request({b"records": b""}, FIELDS) == ([], False)


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
def test_a_bad_request_for_one_is_one_bad(fields):
    (bad,), one = decode_request(fields, FIELDS)
    assert one
    assert isinstance(bad, Bad)


def test_a_bad_one_among_many_asked_for_is_alone_in_being_bad():
    good = pack({"a": 1})
    found, _ = decode_request({b"records": good + b"\x91\x01" + good + b"\xc1"}, FIELDS)
    assert [isinstance(part, Bad) for part in found] == [False, True, False, True]
    found, _ = decode_request({b"batch": good + UNHASHABLE}, FIELDS)
    assert found[0] == good
    assert len(found) == 2


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
    found, _ = decode_request(fields, FIELDS)
    assert all(isinstance(part, bytes | Bad) for part in found)


# ---- replies ---------------------------------------------------------------------------------------------------------------
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
