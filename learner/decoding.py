"""JSON, decoded fast: by msgspec, and by the standard library what msgspec refuses or might take differently.

Both give the same values. But msgspec refuses more, such as NaN, numbers too large for a float and half of a surrogate pair.
And of a key that comes twice it keeps the last value silently. The standard library's decoder, with its hooks, does the rest.
"""

import json
from collections.abc import Sequence
from typing import Any

import msgspec

__all__ = ["decode", "decode_objects"]

KEY_ENDS = (b'":', b" :", b"\t:", b"\n:", b"\r:")  # what a colon after a key follows

_decode = msgspec.json.Decoder().decode
_ERRORS = (ValueError, RecursionError, msgspec.MsgspecError)


def decode(data: bytes, decoder: json.JSONDecoder) -> Any:
    """Return what ``decoder.decode(data.decode())`` returns.

    Parameters
    ----------
    data : bytes
        JSON.
    decoder : json.JSONDecoder
        Its hooks may refuse values, such as a key that comes twice or a constant, but must not change any.

    Raises
    ------
    ValueError, RecursionError
        What the decoder raises.

    >>> decode(b'{"a": [1, 2.5]}', json.JSONDecoder()), decode(b"NaN", json.JSONDecoder())
    ({'a': [1, 2.5]}, nan)
    """
    try:
        value = _decode(data)
        if not _may_repeat(value, data):
            return value
    except _ERRORS:
        pass
    return decoder.decode(data.decode())


def decode_objects(texts: Sequence[bytes], max_depth: int) -> list[Any]:
    """Return what `decode` returns of JSON texts that start with a brace; None of those that it must look at more closely.

    Parameters
    ----------
    texts : sequence of bytes
        Fast if they hold no maps or lists in one another.
    max_depth : int
        A text may hold so many brackets.

    >>> decode_objects([b'{"a": 1}', b'{"a": 1, "a": 2}', b'{"a": NaN}'], max_depth=8)
    [{'a': 1}, None, None]
    """
    together = b"[" + b",".join(texts) + b"]"
    is_flat = together.count(b"{") == len(texts) and together.count(b"[") == 1
    try:
        values: list[Any] = _decode(together) if is_flat else []
        if list(map(type, values)) == [dict] * len(texts):  # as many as braces: so each begins, and ends, with its text
            n = sum(map(len, values))
            if n == together.count(b":") or n == sum(map(together.count, KEY_ENDS)):  # no key comes twice
                return values
    except _ERRORS:
        pass
    return [_object(text, max_depth) for text in texts]


def _object(text: bytes, max_depth: int) -> Any:
    """Return the value of a text, None if it can't be decoded here, a key may come twice, or it may be deep."""
    try:
        value = _decode(text)
    except _ERRORS:
        return None
    is_deep = text.count(b"{") + text.count(b"[") > max_depth
    return None if is_deep or _may_repeat(value, text) else value


def _may_repeat(value: Any, data: bytes) -> bool:
    """Tell whether a key may come twice in a map: then there are more colons than keys, as there are with colons in texts."""
    n_colons = data.count(b":")
    if type(value) is dict and len(value) == n_colons:
        return False
    n = _n_keys(value)
    return n < n_colons and n < sum(map(data.count, KEY_ENDS))


def _n_keys(value: Any) -> int:
    """Return the number of keys of all maps in a value."""
    kind = type(value)
    if kind is dict:
        return len(value) + sum(_n_keys(item) for item in value.values() if type(item) in _NESTED)
    return sum(_n_keys(item) for item in value if type(item) in _NESTED) if kind is list else 0


_NESTED = frozenset((dict, list))
