"""Examples that break a rule, each with its code and the words that it is rejected with."""

import math
import struct

import msgpack

from tests.unit.streams import new, pack


def one_rejection(loss, data, labels=None):
    model = new(loss, labels=labels)
    rejections = model.learn_packed(data).rejections
    assert len(rejections) == 1
    return rejections[0]


def string(data):
    """Bytes as a msgpack string, valid UTF-8 or not."""
    return b"\xd9" + bytes([len(data)]) + data if len(data) < 256 else b"\xda" + struct.pack(">H", len(data)) + data


def example(name=b"\xa1a", value=b"\x01"):
    """``[1, {name: value}]`` of packed bytes."""
    return b"\x92\x01\x81" + name + value


TARGET = "target must be -1, 0, 1, true, false or one of the model's labels"
IMPORTANCE = "importance must be a number within [0, 1e+06]"
CUT = "example must be whole msgpack (it is cut off or malformed)"
SHAPE = "example must be [target, features] or [target, features, importance]"
MAP = "features must be a map of name to number, or an array as extension 4 (float32) or 8 (float64)"
NAME = "feature name must be a string"
BYTES = "feature name must have 1 to 256 bytes"
STRINGS = ': strings need a featurizer, such as Model(featurizer="fields"), and a record in place of features'
WIDTH = "features must be at most 10000 an example"
BAD = [
    ("FRAMING", b"\x92", CUT),
    ("FRAMING", b"\x92\x01", CUT),
    ("FRAMING", b"\x92\xa3ab", CUT),
    ("FRAMING", b"\xdc\x00", CUT),
    ("FRAMING", b"\x92\x01\x81", CUT),
    ("FRAMING", b"\x92\x01\xde\x00", CUT),
    ("FRAMING", b"\x92\x01\x82\xa1a\x01", CUT),
    ("FRAMING", b"\x92\x01\x81\xa5abc", CUT),
    ("FRAMING", b"\x92\x01\x81\xdb\xff\xff\xff\xffabc", CUT),
    ("FRAMING", b"\x92\x01\x81\xa1a\xcb\x00\x00", CUT),
    ("FRAMING", b"\x92\x01\x81\xa1a\xcd\x01", CUT),
    ("FRAMING", b"\x93\x01\x80", CUT),
    ("FRAMING", b"\x93\x01\x80\xca\x01", CUT),
    ("FRAMING", b"\x92\x01\xc7", CUT),
    ("FRAMING", b"\x92\x01\xc8\x00", CUT),
    ("FRAMING", b"\x92\x01\xd6\x04\x00\x00\x00", CUT),
    ("FRAMING", b"\x92\x01\xc9\xff\xff\xff\xff\x04abcd", CUT),
    ("EXAMPLE", b"\x90", f"{SHAPE} (got [])"),
    ("EXAMPLE", pack([1]), f"{SHAPE} (got [1])"),
    ("EXAMPLE", pack([1, {}, 1, 1]), f"{SHAPE} (got [1, {{}}, 1, 1])"),
    ("EXAMPLE", pack({"a": 1}), f"{SHAPE} (got {{'a': 1}})"),
    ("EXAMPLE", pack(None), f"{SHAPE} (got None)"),
    ("TARGET", pack([2, {}]), f"{TARGET} (got 2)"),
    ("TARGET", pack([0.5, {}]), f"{TARGET} (got 0.5)"),
    ("TARGET", pack([math.nan, {}]), f"{TARGET} (got nan)"),
    ("TARGET", pack(["spam", {}]), f"{TARGET} (got 'spam')"),
    ("TARGET", pack([None, {}]), f"{TARGET} (got None)"),
    ("TARGET", pack([[1], {}]), f"{TARGET} (got [1])"),
    ("TARGET", pack([b"spam", {}]), f"{TARGET} (got b'spam')"),
    ("MAP", pack([1, [1]]), f"{MAP} (got [1])"),
    ("MAP", pack([1, "a"]), f"{MAP} (got 'a')"),
    ("MAP", pack([1, None]), f"{MAP} (got None)"),
    ("MAP", pack([1, msgpack.ExtType(5, b"abcd")]), f"{MAP} (got ExtType(code=5, data=b'abcd'))"),
    ("MAP", pack([1, msgpack.ExtType(4, b"abc")]), f"{MAP} (got ExtType(code=4, data=b'abc'))"),
    ("MAP", pack([1, msgpack.ExtType(8, b"abcd")]), f"{MAP} (got ExtType(code=8, data=b'abcd'))"),
    ("NAME_TYPE", pack([1, {1: 1}]), f"{NAME} (got 1)"),
    ("NAME_TYPE", pack([1, {b"a": 1}]), f"{NAME} (got b'a')"),
    ("NAME_TYPE", pack([1, {None: 1}]), f"{NAME} (got None)"),
    ("NAME_LENGTH", pack([1, {"": 1}]), f"{BYTES} (got 0)"),
    ("NAME_LENGTH", pack([1, {"a" * 257: 1}]), f"{BYTES} (got 257)"),
    ("NAME_LENGTH", pack([1, {"é" * 129: 1}]), f"{BYTES} (got 258)"),
    ("NAME_UTF8", example(string(b"\xff")), "feature name must be UTF-8"),
    ("NAME_UTF8", example(string(b"a\xc3")), "feature name must be UTF-8"),
    ("NAME_UTF8", example(string(b"\xed\xa0\x80")), "feature name must be UTF-8"),
    ("VALUE_TYPE", pack([1, {"a": [1]}]), "feature 'a' must be a number (got [1])"),
    ("VALUE_TYPE", pack([1, {"a": "1"}]), f"feature 'a' must be a number (got '1'){STRINGS}"),
    ("VALUE_TYPE", pack([1, {"a": None}]), "feature 'a' must be a number (got None)"),
    ("VALUE_TYPE", pack([1, {"a": b"1"}]), "feature 'a' must be a number (got b'1')"),
    ("VALUE_TYPE", pack([1, {"a": [1]}]), "feature 'a' must be a number (got [1])"),
    ("VALUE_TYPE", pack([1, {"b": 1, "a": {}}]), "feature 'a' must be a number (got {})"),
    ("VALUE_FINITE", pack([1, {"a": math.nan}]), "feature 'a' must be finite, at most 1e+30 in size (got nan)"),
    ("VALUE_FINITE", pack([1, {"a": math.inf}]), "feature 'a' must be finite, at most 1e+30 in size (got inf)"),
    (
        "VALUE_FINITE",
        example(value=b"\xca\xff\x80\x00\x00"),
        "feature 'a' must be finite, at most 1e+30 in size (got -inf)",
    ),
    ("VALUE_FINITE", pack([1, {"a": 1.1e30}]), "feature 'a' must be finite, at most 1e+30 in size (got 1.1e+30)"),
    ("VALUE_FINITE", pack([1, {"a": -math.inf}]), "feature 'a' must be finite, at most 1e+30 in size (got -inf)"),
    (
        "VALUE_FINITE",
        pack([1, msgpack.ExtType(8, struct.pack("<3d", 0, -1e30, math.nan))]),
        "feature '2' must be finite, at most 1e+30 in size (got nan)",
    ),
    (
        "VALUE_FINITE",
        pack([1, msgpack.ExtType(4, struct.pack("<9000f", *[1] * 8999, -math.inf))]),
        "feature '8999' must be finite, at most 1e+30 in size (got -inf)",
    ),
    ("WIDTH", pack([1, msgpack.ExtType(4, bytes(40_004))]), f"{WIDTH} (got more)"),
    ("WIDTH", pack([1, {str(i): 1 for i in range(10_001)}]), f"{WIDTH} (got more)"),
    ("WIDTH", b"\x92\x01\xdf\xff\xff\xff\xff", f"{WIDTH} (got more)"),
    ("DUPLICATE", b"\x92\x01\x82\xa1a\x01\xa1a\x02", "feature 'a' must be there once (it came again)"),
    ("DUPLICATE", b"\x92\x01\x83\xa1a\x00\xa1b\x01\xa1a\x02", "feature 'a' must be there once (it came again)"),
    ("DUPLICATE", b"\x92\x01\x82\xa1a\x01\xd9\x01a\x02", "feature 'a' must be there once (it came again)"),
    ("IMPORTANCE", pack([1, {}, -1]), f"{IMPORTANCE} (got -1)"),
    ("IMPORTANCE", pack([1, {}, 1_000_001]), f"{IMPORTANCE} (got 1000001)"),
    ("IMPORTANCE", pack([1, {}, -0.001]), f"{IMPORTANCE} (got -0.001)"),
    ("IMPORTANCE", pack([1, {}, math.nan]), f"{IMPORTANCE} (got nan)"),
    ("IMPORTANCE", pack([1, {}, math.inf]), f"{IMPORTANCE} (got inf)"),
    ("IMPORTANCE", pack([1, {}, "1"]), f"{IMPORTANCE} (got '1')"),
    ("IMPORTANCE", pack([1, {}, None]), f"{IMPORTANCE} (got None)"),
    ("IMPORTANCE", pack([1, {}, {}]), f"{IMPORTANCE} (got {{}})"),
]
RESERVED = "feature name must not be (constant): every model has this feature already"
