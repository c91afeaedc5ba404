"""Many small entries of one record each, decoded together in a fraction of the time."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from learner.decoding import decode_objects
from learner.service.wire.bounds import MAX_DEPTH, MAX_SHORT_BYTES
from learner.service.wire.values import decode_target

__all__ = ["MAX_TOGETHER_BYTES", "pack_together"]

MAX_TOGETHER_BYTES = 4096  # of a record; nothing is answered while many are decoded
OF_RECORD = frozenset((b"record", b"target", b"importance", b"id"))
OF_RECORDS = frozenset((b"records", b"id"))

_pack = msgspec.msgpack.Encoder().encode

Fields = Mapping[bytes, bytes]


def pack_together(entries: Iterable[tuple[bytes, Fields]]) -> list[bytes]:
    r"""Return the example of each entry in msgpack, ``[target, record, importance]``; empty bytes if it must be taken alone.

    An entry that must be taken alone may be as good as the others: `learner.service.wire.entries.decode_entry` tells. What came
    in msgpack is not looked at: it may be no whole value, or several.

    >>> good = {b"record": b'{"lat": 1}', b"target": b"-1"}
    >>> pack_together([(b"1-0", good), (b"2-0", good | {b"record": b"{"}), (b"3-0", {b"records": b"\x92\x01\x80"})])
    [b'\x93\xff\x81\xa3lat\x01\x01', b'', b'\x92\x01\x80']
    """
    packed: list[bytes] = []
    places: list[int] = []
    texts: list[bytes] = []
    objects: list[Fields] = []
    for place, (_, fields) in enumerate(entries):
        record = fields.get(b"record", b"")
        is_object = record[:1] == b"{" and _is_small(record, fields)
        packed.append(b"" if is_object else _in_msgpack(fields))
        if is_object:
            places.append(place)
            texts.append(record)
            objects.append(fields)
    records = decode_objects(texts, MAX_DEPTH)
    for place, example in zip(places, _pack_each(records, objects), strict=True):
        packed[place] = example
    return packed


def _is_small(record: bytes, fields: Fields) -> bool:
    """Tell whether an entry of one record is small, and has a target and nothing that would have to be looked at."""
    target = fields.get(b"target")
    if target is None or len(target) > MAX_SHORT_BYTES or len(record) > MAX_TOGETHER_BYTES:
        return False
    return len(fields) == 2 or (
        fields.keys() <= OF_RECORD and max(len(fields.get(name, b"")) for name in (b"importance", b"id")) <= MAX_SHORT_BYTES
    )


def _in_msgpack(fields: Fields) -> bytes:
    """Return the example of an entry that has it in msgpack, empty bytes if it hasn't, or isn't small."""
    if fields.keys() <= OF_RECORDS:
        data = fields.get(b"records", b"")
        return data if len(data) <= MAX_TOGETHER_BYTES and len(fields.get(b"id", b"")) <= MAX_SHORT_BYTES else b""
    record = fields.get(b"record", b"")
    if record[:1] < b"\x80" or not _is_small(record, fields):
        return b""
    target, importance = _packed(_target(fields)), _packed(_importance(fields))
    return b"\x93" + target + record + importance if target and importance else b""


def _pack_each(records: Sequence[Any], entries: Sequence[Fields]) -> list[bytes]:
    """Return examples of records in msgpack; empty bytes where the record is None, or msgpack has no form for a value."""
    examples = list(zip(map(_target, entries), records, map(_importance, entries), strict=True))
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


def _target(fields: Fields) -> Any:
    return decode_target(fields[b"target"])


def _importance(fields: Fields) -> Any:
    return decode_target(fields.get(b"importance", b"1"))
