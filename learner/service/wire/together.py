"""Many small entries of one example each, decoded together in a fraction of the time."""

import functools
import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from learner.decoding import decode_objects
from learner.errors import ExampleError
from learner.packing import pack
from learner.service.wire.bounds import MAX_DEPTH, MAX_SHORT_BYTES
from learner.service.wire.values import MAX_CACHED, decode_target, require_each_one

__all__ = ["ALONE", "FEATURES", "MAX_TOGETHER_BYTES", "RECORD", "pack_together"]

MAX_TOGETHER_BYTES = 4096  # of a record; nothing is answered while many are decoded
ALONE, RECORD, FEATURES = range(3)  # what `pack_together` tells of an entry

KINDS = {b"record": RECORD, b"features": FEATURES, b"records": RECORD, b"batch": FEATURES}
MOST_BYTES = dict.fromkeys(KINDS, MAX_TOGETHER_BYTES) | dict.fromkeys(
    (b"target", b"importance", b"id"), MAX_SHORT_BYTES
)
FORMS = {  # the names of an entry's fields, in their order -> that which holds the example
    names: needed[0]
    for needed in ((b"record", b"target"), (b"features", b"target"), (b"records",), (b"batch",))
    for more in ((), (b"id",), (b"importance",), (b"importance", b"id"))
    if b"importance" not in more or b"target" in needed
    for names in itertools.permutations(needed + more)
}

Fields = dict[bytes, bytes]

_pack = msgspec.msgpack.Encoder().encode


def pack_together(entries: Sequence[tuple[bytes, Fields]]) -> tuple[bytes, list[bytes]]:
    r"""Return what each entry is, and its example in msgpack.

    Small entries of one example are taken together: of ``record`` or ``features`` that is a JSON object or msgpack, and of
    ``records`` or ``batch`` with a single value. What is msgpack already is not looked at, except that it is one whole value.

    Returns
    -------
    kinds : bytes
        Of each entry `RECORD` if its example is one of a record, which is still to be featurized; `FEATURES` if it is one of
        features; `ALONE` if it must be taken alone. Such an entry may be as good as the others:
        `learner.service.wire.entries.decode_entry` tells.
    packed : list of bytes
        The examples; empty bytes where an entry must be taken alone.

    >>> good = {b"record": b'{"lat": 1}', b"target": b"-1"}
    >>> pack_together([(b"1-0", good), (b"2-0", good | {b"record": b"{"}), (b"3-0", {b"batch": b"\x92\x01\x80"})])
    (b'\x01\x00\x02', [b'\x93\xff\x81\xa3lat\x01\x01', b'', b'\x92\x01\x80'])
    """
    of_each = [fields for _, fields in entries]
    if len(set(map(tuple, of_each))) == 1 and set(map(type, of_each)) == {dict}:  # as in most streams
        return _pack_form(tuple(of_each[0]), [fields.values() for fields in of_each])
    kinds, packed = bytearray(len(entries)), [b""] * len(entries)
    places: dict[tuple[bytes, ...], list[int]] = {}
    for place, fields in enumerate(of_each):
        if type(fields) is dict:  # others were cut, or name an answer
            places.setdefault(tuple(fields), []).append(place)
    for form, some in places.items():
        found = _pack_form(form, [of_each[place].values() for place in some])
        for place, kind, example in zip(some, *found, strict=True):
            kinds[place], packed[place] = kind, example
    return bytes(kinds), packed


def _pack_form(form: tuple[bytes, ...], rows: Sequence[Iterable[bytes]]) -> tuple[bytes, list[bytes]]:
    """Return the same of entries with the same fields, in the same order; a row has an entry's values."""
    if form not in FORMS:
        return bytes(len(rows)), [b""] * len(rows)
    packed, kind = _pack_rows(form, rows), KINDS[FORMS[form]]
    kinds = bytes([kind]) * len(rows) if all(packed) else bytes(kind if example else ALONE for example in packed)
    return kinds, packed


def _pack_rows(form: tuple[bytes, ...], rows: Sequence[Iterable[bytes]]) -> list[bytes]:
    """Return the examples, all at once if they are alike; else of each half, down to empty bytes for a single entry."""
    columns = dict(zip(form, zip(*rows, strict=True), strict=True))
    if all(max(map(len, column)) <= MOST_BYTES[name] for name, column in columns.items()):
        try:
            return _pack_columns(columns, columns[FORMS[form]])
        except (ValueError, RecursionError, OverflowError, ExampleError, msgspec.MsgspecError):
            pass
    half = len(rows) // 2
    return _pack_rows(form, rows[:half]) + _pack_rows(form, rows[half:]) if half else [b""]


def _pack_columns(columns: Mapping[bytes, Sequence[bytes]], values: Sequence[bytes]) -> list[bytes]:
    """Return the examples of small entries, from each field's values; raise an error if some are unlike the others."""
    targets, importances = columns.get(b"target", ()), columns.get(b"importance", itertools.repeat(b"1", len(values)))
    if targets and min(values) >= b"{" and max(values) < b"|":
        return _pack_objects(targets, values, importances)
    require_each_one(values)
    if not targets:
        return list(values)
    if min(values) < b"\x80":
        raise ValueError("neither JSON objects nor msgpack")
    parts = zip(map(_pack_text, targets), values, map(_pack_text, importances), strict=True)
    return [b"\x93" + target + value + importance for target, value, importance in parts]


@functools.lru_cache(MAX_CACHED)
def _pack_text(text: bytes) -> bytes:
    """Return a target or importance in msgpack."""
    return pack(decode_target(text))


def _pack_objects(targets: Iterable[bytes], texts: Sequence[bytes], importances: Iterable[bytes]) -> list[bytes]:
    """Return examples of JSON objects; empty bytes where the text is not so simple."""
    records = decode_objects(texts, MAX_DEPTH)
    examples = list(zip(map(decode_target, targets), records, map(decode_target, importances), strict=True))
    try:
        if None not in records:
            return list(map(_pack, examples))
    except (OverflowError, UnicodeEncodeError):
        pass
    return [_packed(example) if example[1] is not None else b"" for example in examples]


def _packed(value: Any) -> bytes:
    try:
        return _pack(value)
    except (OverflowError, UnicodeEncodeError):
        return b""
