"""The format of features outside Python: msgpack, a map of name to number or an array of numbers.

Clients push this format, files are converted to it, and the compiled loops read it. A numpy array of one dimension is a msgpack
extension of type 4 (float32) or 8 (float64), little-endian; its numbers are named by position, "0", "1", ... This module
imports neither numpy nor the compiler.
"""

import math
import re
from collections.abc import Iterable, Iterator
from numbers import Real
from typing import Any, Literal

import msgpack

from learner.errors import ExampleError, show

__all__ = ["UNPACK_ERRORS", "by_name", "ends", "is_array", "number", "pack", "pack_example", "pack_plain"]

UNPACK_ERRORS = (ValueError, TypeError, RecursionError, msgpack.UnpackException)  # TypeError: a list or map as a key
_NUMBER = re.compile(r"[+-]?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
MAX_PACKER_BYTES = 1 << 16  # a packer keeps the memory of the largest value that it has packed
_packers: list[msgpack.Packer] = []  # not in use: making one takes as long as packing a record
ARRAY_TYPES: dict[int, Literal["f", "d"]] = {4: "f", 8: "d"}  # extension type -> format for `memoryview.cast`


def pack(value: Any) -> bytes:
    r"""Return a value in msgpack.

    Raises
    ------
    ExampleError
        When msgpack can't encode the value, or it is an array of another kind than features may be.

    >>> pack({"lat": 1})
    b'\x81\xa3lat\x01'
    """
    try:
        packer = _packers.pop()
    except IndexError:
        packer = msgpack.Packer(default=_plain)
    try:
        packed: bytes = packer.pack(value)
    except UnicodeEncodeError as error:
        raise ExampleError(f"text must have no lone surrogates (got {show(error.object)})") from error
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise ExampleError(f"value must be numbers, strings, lists and maps (got {show(value)}: {error})") from error
    if len(packed) <= MAX_PACKER_BYTES:
        _packers.append(packer)
    return packed


def pack_plain(values: Iterable[Any]) -> list[bytes]:
    r"""Return values in msgpack, empty bytes in place of those that hold other types than JSON has.

    Subclasses count as other types, and tuples, too: who reads the msgpack could not tell them apart.

    >>> pack_plain([[1, {"a": None}], {"a": (1,)}, "\ud800", 2**64])
    [b'\x92\x01\x81\xa1a\xc0', b'', b'', b'']
    """
    packed = []
    packer = msgpack.Packer(strict_types=True)
    for value in values:
        try:
            packed.append(packer.pack(value))
        except (TypeError, ValueError, OverflowError, RecursionError):
            packed.append(b"")
    return packed


def _plain(value: Any) -> Any:
    """Convert an array of numpy, or another value that msgpack doesn't know, without importing numpy."""
    if not hasattr(value, "__array_interface__") or value.shape == ():
        from featurizers.values import plain  # only now: a client that sends plain records needs no featurizers

        if (own := plain(value)) is not value:
            return own
        if isinstance(value, Real) and not isinstance(value, int):  # such as a fraction
            return float(value)
        raise TypeError(f"no form for {type(value).__name__}")
    kind, width = value.dtype.kind, value.dtype.itemsize
    if value.ndim != 1 or kind not in "biuf":
        raise ExampleError(f"array must be of real numbers in one dimension (got {value.dtype} in {value.ndim})")
    code = 4 if width <= (4 if kind == "f" else 2) else 8  # float32 where it is exact, otherwise float64
    return msgpack.ExtType(code, value.astype(f"<f{code}").tobytes())


def is_array(features: Any) -> bool:
    """Tell whether features are an array (of numpy, or decoded from msgpack) rather than a map."""
    return isinstance(features, msgpack.ExtType) or hasattr(features, "__array_interface__")


def pack_example(target: Any, features: bytes, importance: float = 1.0) -> bytes:
    """Return an example, ``[target, features]`` or ``[target, features, importance]``, from packed features."""
    if importance == 1.0:
        return b"\x92" + pack(target) + features
    return b"\x93" + pack(target) + features + pack(importance)


def by_name(features: Any) -> Any:
    """Return features decoded from msgpack as a map; an array's numbers are named by position.

    >>> by_name(msgpack.ExtType(4, bytes([0, 0, 0, 0, 0, 0, 128, 63])))
    {'0': 0.0, '1': 1.0}
    """
    if not isinstance(features, msgpack.ExtType):
        return features
    values = memoryview(features.data).cast(ARRAY_TYPES[features.code])
    return {str(position): value for position, value in enumerate(values)}


def ends(data: bytes) -> Iterator[int]:
    """Yield the end of each of several consecutive msgpack values, without decoding them.

    Raises
    ------
    One of UNPACK_ERRORS
        Where a value is cut off (``msgpack.OutOfData``) or malformed.

    >>> list(ends(pack(1) + pack("two") + pack([3, 3])))
    [1, 5, 8]
    """
    unpacker = msgpack.Unpacker(max_buffer_size=len(data) or 1)
    unpacker.feed(data)
    end = 0
    while end < len(data):
        unpacker.skip()
        end = unpacker.tell()
        yield end


def number(text: str) -> float | None:
    """Return the number that a text stands for, or None if the text must stay a text.

    >>> [number(text) for text in ("-7", ".5", "1e3", "02139", "nan", "1e999", "1_000", "9223372036854775808")]
    [-7, 0.5, 1000.0, None, None, None, None, None]
    """
    if not _NUMBER.fullmatch(text):
        return None
    value = float(text)
    if text.lstrip("+-").isdecimal():
        return int(text) if abs(value) < 2**63 else None
    return value if math.isfinite(value) else None
