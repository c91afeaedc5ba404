"""JSON, decoded fast: by msgspec, and by the standard library what msgspec refuses or might take differently.

Both give the same values. But msgspec refuses more, such as NaN, numbers too large for a float and half of a surrogate pair.
And of a key that comes twice it keeps the last value silently. The standard library's decoder, with its hooks, does the rest.
"""

import json
from typing import Any

import msgspec

__all__ = ["decode"]

KEY_ENDS = (b'":', b" :", b"\t:", b"\n:", b"\r:")  # what a colon after a key follows

_decode = msgspec.json.Decoder().decode


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
    except (ValueError, RecursionError, msgspec.MsgspecError):
        pass
    return decoder.decode(data.decode())


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
