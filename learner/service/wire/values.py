"""Values on the wire: JSON or msgpack on the way in, JSON on the way out.

**Features** are a map of name to number or, dense, an array of numbers, whose names are their positions, "0", "1", ...: in
msgpack only, an extension of type 4, which holds float32s, or 8, float64s, little-endian. A zero in an array counts as little
as a zero in a map. A **record** may be an array, too, where the model has no featurizer or the one named ``fields``.
"""

import functools
import itertools
import json
import math
import re
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgpack
import msgspec

from learner.decoding import decode
from learner.errors import FormatError, show
from learner.packing import UNPACK_ERRORS, ends, number, pack
from learner.service.wire.bounds import MAX_BATCH, MAX_DEPTH, MAX_VALUE_BYTES

__all__ = [
    "decode_features",
    "decode_record",
    "decode_target",
    "decode_value",
    "encode_json",
    "is_one",
    "require_each_one",
    "split",
    "to_json",
]


MAX_CACHED = 1024  # targets and importances: the same few come again and again

_skip = msgspec.msgpack.Decoder(msgspec.Raw).decode  # looks for the end of a value, and decodes nothing


# ---- in ----
def decode_value(data: bytes, what: str) -> Any:
    """Decode JSON or msgpack; the first byte tells which: no JSON text starts at or above 0x80, no msgpack map below.

    Raises
    ------
    FormatError
        When it is neither, has a key twice, or breaks a bound.

    >>> decode_value(b'{"lat": 40.6}', "record"), decode_value(bytes([0x81, 0xA1, 0x61, 0x01]), "record")
    ({'lat': 40.6}, {'a': 1})
    """
    if not data:
        raise FormatError(f"{what} must be JSON or msgpack (got nothing)")
    if len(data) > MAX_VALUE_BYTES:
        raise FormatError(f"{what} must be at most {MAX_VALUE_BYTES} bytes (got {len(data)})")
    json_text = data[0] < 0x80
    try:
        if json_text:
            value = decode(data, _JSON)
        else:
            if (end := next(ends(data))) != len(data):  # before unpacking, which makes room for all that is announced
                raise ValueError(f"{len(data) - end} more bytes follow")
            value = _unpack(data)
    except UNPACK_ERRORS as error:
        detail = f"as {'JSON' if json_text else 'msgpack'}, {str(error) or type(error).__name__}"
        raise FormatError(f"{what} must be JSON or msgpack (got {show(data)}: {detail})") from error
    _require_shallow(value, what)
    return value


def decode_record(data: bytes) -> Any:
    """Decode one of several records: msgpack that `split` has found to be one whole value.

    Raises
    ------
    FormatError
        When it can't be decoded, has a key twice, or breaks a bound.
    """
    if len(data) > MAX_VALUE_BYTES:
        raise FormatError(f"record must be at most {MAX_VALUE_BYTES} bytes (got {len(data)})")
    try:
        value = _unpack(data)
    except UNPACK_ERRORS as error:
        raise FormatError(f"record must be msgpack ({str(error) or type(error).__name__})") from error
    _require_shallow(value, "record")
    return value


def decode_features(data: bytes) -> bytes:
    """Return features as msgpack: packed anew from JSON; msgpack is kept as it is, once it is known to be one whole value.

    Raises
    ------
    FormatError
        When they are neither JSON nor one value of msgpack.
    ExampleError
        When msgpack has no form for a value in JSON.
    """
    if data[:1] < b"\x80":
        return pack(decode_value(data, "features"))
    (raw, error), *more = itertools.islice(split(data, "features"), 2)
    if error or more:
        raise error or FormatError("features must be one msgpack map (got more bytes)")
    return raw


@functools.lru_cache(MAX_CACHED)
def decode_target(text: bytes) -> Any:
    """Return a target or importance from its text: a number as JSON or a file has it, a boolean, else the label itself.

    >>> [decode_target(text) for text in (b"-1", b"+1", b"true", b"spam", b"01")]
    [-1, 1, True, 'spam', '01']
    """
    try:
        value = json.loads(text.decode())
    except (ValueError, RecursionError):
        value = number(text.decode(errors="replace").strip())
    return value if isinstance(value, (bool, int, float)) else text.decode(errors="replace")


def split(data: bytes, what: str) -> Iterator[tuple[bytes, FormatError | None]]:
    r"""Yield the bytes of msgpack values that follow one another, each with no error.

    Where a value is broken, or `MAX_BATCH` values have passed, the rest is yielded as one piece, with the error.

    >>> list(split(b"\x01\x91", "records"))
    [(b'\x01', None), (b'\x91', FormatError('records must be whole msgpack values (at byte 1: ...)'))]
    """
    start, places = 0, ends(data)
    for _ in range(MAX_BATCH):
        try:
            end = next(places)
        except StopIteration:
            return
        except UNPACK_ERRORS as error:
            detail = str(error) or type(error).__name__
            yield data[start:], FormatError(f"{what} must be whole msgpack values (at byte {start}: {detail})")
            return
        yield data[start:end], None
        start = end
    if start < len(data):
        yield data[start:], FormatError(f"{what} must be at most {MAX_BATCH} at once (got more)")


def is_one(data: bytes) -> bool:
    r"""Tell whether bytes are exactly one whole msgpack value.

    >>> is_one(b"\x01"), is_one(b"\x01\x01"), is_one(b"\x91"), is_one(b"")
    (True, False, False, False)
    """
    try:
        require_each_one([data])
    except (msgspec.MsgspecError, RecursionError):
        return False
    return True


def require_each_one(data: Iterable[bytes]) -> None:
    """Make sure that each is exactly one whole msgpack value.

    Raises
    ------
    msgspec.MsgspecError, RecursionError
        When one is not.
    """
    deque(map(_skip, data), 0)


def _unpack(data: bytes) -> Any:
    """Return the value of whole msgpack."""
    return msgpack.unpackb(data, strict_map_key=False, object_pairs_hook=_no_repeats)


def _require_shallow(value: Any, what: str) -> None:
    if _is_deeper(value, MAX_DEPTH):
        raise FormatError(f"{what} must be nested at most {MAX_DEPTH} deep (got more)")


def _is_deeper(value: Any, depth: int) -> bool:
    """Tell whether maps and lists stand inside one another more than `depth` deep."""
    kind = type(value)
    if kind is dict:
        value = value.values()
    elif kind is not list:
        return False
    for item in value:
        kind = type(item)
        if (kind is dict or kind is list) and (depth == 1 or _is_deeper(item, depth - 1)):
            return True
    return False


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not a number")


def _no_repeats(pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        seen: set[Any] = set()
        for key, _ in pairs:
            if key in seen:
                raise ValueError(f"{show(key)} is there twice")
            seen.add(key)
    return value


_JSON = json.JSONDecoder(
    parse_constant=_no_constant, object_pairs_hook=_no_repeats
)  # a new one costs as much as a record


# ---- out ----
UNPRINTABLE = re.compile("[\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def to_json(value: Any, **options: Any) -> str:
    r"""Return a value in JSON, with null for the numbers that JSON has no form for.

    Characters that a terminal obeys, or that UTF-8 has no form for, are escaped.

    What terminals obey, and the lone surrogates that UTF-8 has no form for, is escaped.

    >>> to_json({"loss": float("nan")})
    '{"loss": null}'
    >>> print(to_json("\x1b[2J \x9b2J \ud800 né"))
    "\u001b[2J \u009b2J \ud800 né"
    """
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, **options)
    except (TypeError, ValueError):  # another mapping than a dict; a number that is not finite
        text = json.dumps(_finite(value), ensure_ascii=False, **options)
    return _printable(text)


def encode_json(value: Any) -> bytes:
    r"""Return the same in bytes, without blanks: in a tenth of the time where the value is of dicts, lists, numbers and texts.

    >>> encode_json({"loss": float("nan"), "rate": 1e-7}), encode_json({"name": "\x1b[2J \x9b2J \ud800"})
    (b'{"loss":null,"rate":1e-7}', b'{"name":"\\u001b[2J \\u009b2J \\ud800"}')
    """
    try:
        data = msgspec.json.encode(value)
    except (TypeError, ValueError):
        return to_json(value, separators=(",", ":")).encode()
    return data if data.isascii() and b"\x7f" not in data else _printable(data.decode()).encode()


def _printable(text: str) -> str:
    return UNPRINTABLE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value
