"""A second decoder of the protocol: slow, byte by byte, in plain Python, which imports nothing of `learner.service.wire`.

It follows the formats' specifications (RFC 8259; msgpack's spec.md), and the protocol and the table of bounds in
`learner/service/README.md`. It turns an entry into a list of outcomes, one for each example: (target, features, importance) if
the example must be learned, None if it must be rejected.
"""

import contextlib
import math
import re
import struct
import sys
from collections.abc import Callable, Iterator
from typing import Any

import msgpack

ENTRY_BYTES, VALUE_BYTES, DEPTH, BATCH, SHORT_BYTES = 4 * 1024**2, 1024**2, 32, 10_000, 256
FEATURES, NAME_BYTES, NUMBER, IMPORTANCE = 10_000, 256, 1e30, 1e6
FRAMED_DEPTH = 1024  # beyond this depth the msgpack library can't tell where a value ends

Outcome = tuple[Any, dict[str, float], Any] | None


class Refused(Exception):  # noqa: N818
    """The example must be rejected."""


class Broken(Exception):  # noqa: N818
    """The end of the value is unknown, and so is everything that follows."""


# ---- msgpack ---------------------------------------------------------------------------------------------------------------
class Pairs(list[tuple[Any, Any]]):
    """A map as (key, item) pairs, in which a key may occur twice."""


class Ext(tuple[int, bytes]):
    """An extension (code, data): a time, an array of features, or unknown."""


class BadText(bytes):
    """A string that is not UTF-8."""


def read(data: bytes, at: int, deepest: float = FRAMED_DEPTH, depth: int = 1) -> tuple[Any, int]:
    """Return the msgpack value at a position, and its end; maps as `Pairs`, bad strings as `BadText`."""

    def take(n: int) -> bytes:
        nonlocal at
        if at + n > len(data):
            raise Broken
        at += n
        return data[at - n : at]

    def size(n: int) -> int:
        return int.from_bytes(take(n), "big")

    first = take(1)[0]
    if first < 0x80:
        return first, at
    if first >= 0xE0:
        return first - 256, at
    if first == 0xC0:
        return None, at
    if first == 0xC1:
        raise Broken
    if first in (0xC2, 0xC3):
        return first == 0xC3, at
    if first == 0xCA:
        return struct.unpack(">f", take(4))[0], at
    if first == 0xCB:
        return struct.unpack(">d", take(8))[0], at
    if 0xCC <= first <= 0xD3:
        return int.from_bytes(take(1 << (first - 0xCC) % 4), "big", signed=first >= 0xD0), at
    if 0xA0 <= first <= 0xBF or 0xD9 <= first <= 0xDB:
        raw = take(first & 31 if first < 0xC0 else size(1 << first - 0xD9))
        try:
            return raw.decode("utf-8"), at
        except UnicodeDecodeError:
            return BadText(raw), at
    if 0xC4 <= first <= 0xC6:
        return take(size(1 << first - 0xC4)), at
    if 0xC7 <= first <= 0xC9 or 0xD4 <= first <= 0xD8:
        n = size(1 << first - 0xC7) if first <= 0xC9 else 1 << first - 0xD4
        code = int.from_bytes(take(1), "big", signed=True)
        return Ext((code, take(n))), at
    wide = first >= 0xDC
    n = size(2 << first % 2) if wide else first & 15
    is_map = first >= 0xDE if wide else first < 0x90
    if depth > deepest:
        raise Broken
    items = []
    for _ in range(2 * n if is_map else n):
        item, at = read(data, at, deepest, depth + 1)
        items.append(item)
    return (Pairs(zip(items[::2], items[1::2], strict=True)) if is_map else items), at


def plain(value: Any) -> Any:
    """Return a value with dicts for maps, or refuse it."""
    if isinstance(value, BadText):
        raise Refused("text must be UTF-8")
    if isinstance(value, Pairs):
        try:
            items = {plain(key): plain(item) for key, item in value}
        except TypeError as error:
            raise Refused("a key must be hashable") from error
        if len(items) < len(value):
            raise Refused("a key is there twice")
        return items
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, Ext) and value[0] < 0:
        if value[0] != -1:
            raise Refused("an extension must be a time or an application's own")
        try:
            return msgpack.Timestamp.from_bytes(value[1])
        except ValueError as error:
            raise Refused("no time") from error
    return value


def split(data: bytes, deepest: float) -> Iterator[tuple[Any, int, int]]:
    """Yield (value, start, end) for values that follow one another; a broken value is the last, as a `Broken` error."""
    at = 0
    while at < len(data):
        try:
            value, end = read(data, at, deepest)
        except Broken as error:
            yield error, at, len(data)
            return
        yield value, at, end
        at = end


# ---- JSON ------------------------------------------------------------------------------------------------------------------
SPACE = re.compile(r"[ \t\n\r]*")
FILE_NUMBER = re.compile(r"[+-]?((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")
NUMBER_TEXT = re.compile(r"(-?(?:0|[1-9][0-9]*))(\.[0-9]+)?([eE][+-]?[0-9]+)?")
ESCAPES = {'"': '"', "\\": "\\", "/": "/", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}


def read_json(text: str, at: int, depth: int = 1) -> tuple[Any, int]:
    """Return the JSON value at a position, and its end, or refuse it."""
    if depth > 900:
        raise Refused("too deep")
    at = SPACE.match(text, at).end()
    for word, value in (("true", True), ("false", False), ("null", None)):
        if text.startswith(word, at):
            return value, at + len(word)
    if text[at : at + 1] == '"':
        return _json_string(text, at + 1)
    if text[at : at + 1] in ("{", "["):
        is_map, items = text[at] == "{", Pairs()
        closing = "}" if is_map else "]"
        at = SPACE.match(text, at + 1).end()
        if text[at : at + 1] == closing:
            return ({} if is_map else []), at + 1
        while True:
            key = None
            if is_map:
                at = SPACE.match(text, at).end()
                if text[at : at + 1] != '"':
                    raise Refused("a name must be there")
                key, at = _json_string(text, at + 1)
                at = SPACE.match(text, at).end()
                if text[at : at + 1] != ":":
                    raise Refused("a colon must be there")
                at += 1
            item, at = read_json(text, at, depth + 1)
            items.append((key, item))
            at = SPACE.match(text, at).end()
            if text[at : at + 1] == closing:
                return (plain(items) if is_map else [item for _, item in items]), at + 1
            if text[at : at + 1] != ",":
                raise Refused("a comma must be there")
            at += 1
    number = NUMBER_TEXT.match(text, at)
    if not number:
        raise Refused("a value must be there")
    whole, fraction, exponent = number.groups()
    if fraction or exponent:
        return float(number[0]), number.end()
    if len(whole) > 4300:
        raise Refused("an integer must be of a reasonable length")
    return int(whole), number.end()


def _json_string(text: str, at: int) -> tuple[str, int]:
    parts = []
    while True:
        c = text[at : at + 1]
        if c == '"':
            return "".join(parts), at + 1
        if c == "" or c < " ":
            raise Refused("a string must end, without control characters")
        at += 1
        if c == "\\":
            c = text[at : at + 1]
            at += 1
            if c == "u":
                unit, at = _json_unit(text, at)
                if 0xD800 <= unit < 0xDC00 and text[at : at + 2] == "\\u":
                    low, after = _json_unit(text, at + 2)
                    if 0xDC00 <= low < 0xE000:
                        unit, at = 0x10000 + (unit - 0xD800 << 10 | low - 0xDC00), after
                c = chr(unit)
            elif c in ESCAPES and c:
                c = ESCAPES[c]
            else:
                raise Refused("an escape must be one")
        parts.append(c)


def _json_unit(text: str, at: int) -> tuple[int, int]:
    digits = text[at : at + 4]
    if not re.fullmatch("[0-9a-fA-F]{4}", digits):
        raise Refused("an escape must have four digits")
    return int(digits, 16), at + 4


# ---- values and rules ------------------------------------------------------------------------------------------------------
def value_of(data: bytes) -> Any:
    """Return a record, or features in JSON, as Python values, or refuse them."""
    if not 0 < len(data) <= VALUE_BYTES:
        raise Refused("it must be there, and not too large")
    if data[0] < 0x80:
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError as error:
            raise Refused("JSON must be UTF-8") from error
        value, end = read_json(text, 0)
        if SPACE.match(text, end).end() != len(text):
            raise Refused("one value must be there")
    else:
        try:
            value, end = read(data, 0)
        except Broken as error:
            raise Refused("it must be whole") from error
        if end != len(data):
            raise Refused("one value must be there")
        value = plain(value)
    if depth_of(value) > DEPTH:
        raise Refused("too deep")
    return value


def depth_of(value: Any) -> int:
    """Return how deeply maps and lists are nested."""
    if isinstance(value, dict | list):
        inner = value.values() if isinstance(value, dict) else value
        return 1 + max(map(depth_of, inner), default=0)
    return 0


def text_value(text: bytes) -> Any:
    """Return a target or importance given as text."""
    if len(text) > SHORT_BYTES:
        raise Refused("it must be short")
    try:
        decoded = text.decode("utf-8")
        value, end = read_json(decoded, 0)
        if SPACE.match(decoded, end).end() == len(decoded) and isinstance(value, bool | int | float):
            return value
    except (Refused, UnicodeDecodeError):
        pass
    decoded = text.decode("utf-8", "replace")
    if FILE_NUMBER.fullmatch(decoded.strip()):
        value = float(decoded)
        whole = decoded.strip().lstrip("+-").isdecimal()
        if abs(value) < (2**63 if whole else math.inf):
            return value
    return decoded


def example(target: Any, features: Any, importance: Any, labels: tuple[str, str]) -> Outcome:
    """Return an example of the binary task if it follows the rules for examples, or refuse it."""
    if isinstance(target, bool | int | float):
        if target not in (-1, 0, 1):
            raise Refused("a target must be one")
    elif target not in labels or isinstance(target, BadText):
        raise Refused("a label must be known")
    if isinstance(features, Ext):
        features = numbered(features)
    pairs = list(features.items()) if isinstance(features, dict) else features
    if not isinstance(features, Pairs | dict) or len(pairs) > FEATURES:
        raise Refused("features must be a map, not too large")
    vector = {}
    for name, value in pairs:
        if not isinstance(name, str):
            raise Refused("a name must be a string")
        try:
            size = len(name.encode())
        except UnicodeEncodeError as error:
            raise Refused("a name must have a form in UTF-8") from error
        if not 0 < size <= NAME_BYTES or name == "(constant)" or name in vector:
            raise Refused("a name must be there once, not too long, and not the constant's")
        if not isinstance(value, bool | int | float) or not abs(value) <= NUMBER:
            raise Refused("a value must be a finite number")
        vector[name] = float(value)
    if not isinstance(importance, bool | int | float) or not 0 <= importance <= IMPORTANCE:
        raise Refused("an importance must be within its bounds")
    return target, vector, importance


def packable(value: Any) -> None:
    """Refuse values that msgpack can't represent: an integer beyond 64 bits, half a surrogate pair."""
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        raise Refused("an integer must have 64 bits")
    if isinstance(value, str) and re.search("[\ud800-\udfff]", value):
        raise Refused("a string must have a form in UTF-8")


@contextlib.contextmanager
def deep_stack() -> Iterator[None]:
    """Allow deeper recursion than Python does by default."""
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(20_000)
    try:
        yield
    finally:
        sys.setrecursionlimit(limit)


@deep_stack()
def outcomes(
    fields: dict[bytes, bytes], featurize: Callable[[Any], Any], labels: tuple[str, str], takes_arrays: bool
) -> list[Outcome]:
    """Return the outcome that is required for each example of an entry.

    Parameters
    ----------
    fields : mapping
        The entry's fields.
    featurize : callable
        The model's featurizer; any error that it raises is a refusal.
    labels : (negative, positive)
        The model's labels.
    takes_arrays : bool
        Whether a record may be an array of features.
    """
    if sum(len(name) + len(value) for name, value in fields.items()) > ENTRY_BYTES:
        return [None]
    results: list[Outcome] = []
    if b"batch" in fields or b"records" in fields:
        raw = b"batch" not in fields
        data = fields[b"records" if raw else b"batch"]
        for value, start, end in split(data, FRAMED_DEPTH if raw else math.inf):  # the compiled loop needs no stack
            if len(results) == BATCH:
                return [*results, None]
            try:
                if isinstance(value, Broken):
                    raise Refused("what follows can't be told apart")
                if not isinstance(value, list) or isinstance(value, Pairs) or len(value) not in (2, 3):
                    raise Refused("an example must be a pair, or three")
                if raw:
                    value = value_of(data[start:end])
                    for item in (value[0], *value[2:]):
                        packable(item)
                    features = features_of(value[1], featurize, takes_arrays)
                else:
                    features = value[1]
                results.append(example(value[0], features, value[2] if len(value) > 2 else 1.0, labels))
            except Refused:
                results.append(None)
        return results
    try:
        if b"target" not in fields or not fields.keys() & {b"features", b"record"}:
            raise Refused("an entry must have a target, and features or a record")
        importance = text_value(fields.get(b"importance", b"1"))
        target = text_value(fields[b"target"])
        for item in (importance, target):
            packable(item)
        if b"features" in fields:
            data = fields[b"features"]
            if data[:1] >= b"\x80":
                try:
                    features, end = read(data, 0)
                except Broken as error:
                    raise Refused("it must be whole") from error
                if end != len(data):
                    raise Refused("one value must be there")
            else:
                features = value_of(data)
        else:
            features = features_of(value_of(fields[b"record"]), featurize, takes_arrays)
        return [example(target, features, importance, labels)]
    except Refused:
        return [None]


def numbered(array: Ext) -> dict[str, float]:
    """Return the features of an array, named by position, or refuse it."""
    code, data = array
    if code not in (4, 8) or len(data) % code or len(data) // code > FEATURES:
        raise Refused("an array must be of float32s or float64s, not too many")
    numbers = struct.unpack(f"<{len(data) // code}{'f' if code == 4 else 'd'}", data)
    return {str(i): number for i, number in enumerate(numbers)}


def features_of(record: Any, featurize: Callable[[Any], Any], takes_arrays: bool) -> Any:
    """Return a record's features, or refuse it."""
    if isinstance(record, Ext) and takes_arrays:
        return record
    try:
        return dict(featurize(record))
    except Exception as error:
        raise Refused("the featurizer must take it") from error
