"""A rejected example, as people and programs read it: plain data, whatever form it came in."""

from collections.abc import Mapping
from typing import Any

import msgpack

from learner.errors import LearnerError
from learner.packing import ARRAY_TYPES, UNPACK_ERRORS, by_name
from learner.service.wire.values import decode_target, decode_value

__all__ = ["describe"]


def describe(field: str, data: bytes) -> Any:
    r"""Return what an entry of ``rejected`` holds, as data that JSON has a form for; None if it can't be decoded.

    Parameters
    ----------
    field, data : str, bytes
        Of the entry: see `learner.service.wire.entries`.

    >>> describe("entry", msgpack.packb({"record": b'{"lat": 91}', "target": b"1", "id": b"\xff"}))
    {'record': {'lat': 91}, 'target': 1, 'id': '\\xff'}
    >>> describe("records", msgpack.packb([1, {"lat": 92}]))
    {'target': 1, 'record': {'lat': 92}}
    >>> describe("batch", b"\xc1")
    """
    try:
        value = msgpack.unpackb(data, strict_map_key=False)
        if field == "entry" and isinstance(value, Mapping):
            return {_text(name): _field(_text(name), of_field) for name, of_field in value.items()}
        if isinstance(value, list) and len(value) in (2, 3):
            return dict(zip(_names(field), _plain(value), strict=False))
        return _plain(value)
    except UNPACK_ERRORS:
        return None


def _names(field: str) -> tuple[str, str, str]:
    return ("target", "features" if field == "batch" else "record", "importance")


def _field(name: str, value: Any) -> Any:
    """Return the value of an entry's field; as text where it can't be decoded."""
    if not isinstance(value, bytes):
        return _plain(value)
    try:
        if name in ("record", "features"):
            return _plain(decode_value(value, name))
    except LearnerError:
        return _text(value)
    return decode_target(value) if name in ("target", "importance") else _text(value)


def _plain(value: Any) -> Any:
    """Return a decoded value with maps by text, arrays as lists, and bytes as text."""
    if isinstance(value, msgpack.ExtType) and value.code in ARRAY_TYPES and len(value.data) % value.code == 0:
        return list(by_name(value).values())
    if isinstance(value, Mapping):
        return {_text(name): _plain(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value if value is None or isinstance(value, str | int | float) else _text(value)


def _text(value: Any) -> str:
    return value.decode(errors="backslashreplace") if isinstance(value, bytes) else str(value)
