"""Many small entries of one record each, decoded together in a fraction of the time."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from learner.decoding import decode_objects
from learner.service.wire.bounds import MAX_DEPTH, MAX_SHORT_BYTES
from learner.service.wire.values import decode_target, is_one

__all__ = ["MAX_TOGETHER_BYTES", "pack_together"]

MAX_TOGETHER_BYTES = 4096  # of a record; nothing is answered while many are decoded
OF_RECORD = frozenset((b"record", b"target", b"importance", b"id"))
OF_RECORDS = frozenset((b"records", b"id"))
TOO_LONG = bytes(MAX_SHORT_BYTES + 1)

_pack = msgspec.msgpack.Encoder().encode

Fields = Mapping[bytes, bytes]


def pack_together(entries: Iterable[tuple[bytes, Fields]]) -> list[bytes]:
    r"""Return the example of each entry in msgpack, one value; empty bytes of an entry that must be taken alone.

    Such an entry may be as good as the others: `learner.service.wire.entries.decode_entry` tells. Small records that are JSON
    objects are taken together, and small entries of ``records`` with a single one, which is not looked at.

    >>> good = {b"record": b'{"lat": 1}', b"target": b"-1"}
    >>> pack_together([(b"1-0", good), (b"2-0", good | {b"record": b"{"}), (b"3-0", {b"records": b"\x92\x01\x80"})])
    [b'\x93\xff\x81\xa3lat\x01\x01', b'', b'\x92\x01\x80']
    """
    packed: list[bytes] = []
    places: list[int] = []
    objects: list[Fields] = []
    for place, (_, fields) in enumerate(entries):
        is_object = fields.get(b"record", b"")[:1] == b"{" and _is_small(fields)
        packed.append(b"" if is_object else _single(fields))
        if is_object:
            places.append(place)
            objects.append(fields)
    for place, example in zip(places, _pack_objects(objects), strict=True):
        packed[place] = example
    return packed


def _is_small(fields: Fields) -> bool:
    """Tell whether an entry of one record is small, and has a target and nothing that would have to be looked at."""
    if len(fields[b"record"]) > MAX_TOGETHER_BYTES or len(fields.get(b"target", TOO_LONG)) > MAX_SHORT_BYTES:
        return False
    return len(fields) == 2 or (
        fields.keys() <= OF_RECORD
        and max(len(fields.get(name, b"")) for name in (b"importance", b"id")) <= MAX_SHORT_BYTES
    )


def _single(fields: Fields) -> bytes:
    """Return the one value of a small entry of ``records``; empty bytes if the entry is no such one."""
    data = fields.get(b"records", b"")
    is_small = len(data) <= MAX_TOGETHER_BYTES and len(fields.get(b"id", b"")) <= MAX_SHORT_BYTES
    return data if is_small and fields.keys() <= OF_RECORDS and is_one(data) else b""


def _pack_objects(entries: Sequence[Fields]) -> list[bytes]:
    """Return examples of records that are JSON objects; empty bytes where the text is not so simple."""
    records = decode_objects([fields[b"record"] for fields in entries], MAX_DEPTH)
    targets = [decode_target(fields[b"target"]) for fields in entries]
    importances = [decode_target(fields.get(b"importance", b"1")) for fields in entries]
    examples = list(zip(targets, records, importances, strict=True))
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
