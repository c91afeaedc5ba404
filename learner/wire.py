"""The protocol, in one page: the keys, what an entry holds, what a request holds and what a reply is.

Any client can speak it with plain Redis commands::

    XADD learner:{spam}:examples * record '{"address": "abc@gmail.com"}' target 1
    XADD learner:{spam}:requests * record '{"address": "abc@gmail.com"}' reply learner:replies:me id 7
    BLPOP learner:replies:me 5

An **entry** of ``examples`` has one of these fields:

``record``
    A raw record in JSON or msgpack (told apart by the first byte), with ``target`` and, if it isn't 1, ``importance`` as text.
``features``
    The same, but a map of feature name to number, in JSON or msgpack: no featurizer runs.
``records``
    Many at once: msgpack ``[target, record]`` or ``[target, record, importance]``, one after another.
``batch``
    Many at once: msgpack ``[target, {name: value}]`` or ``[.., importance]``, one after another.

Any entry may have an ``id``, a name of the producer's own choice: of entries with the same id only the first is learned, as far
back as the last 131,072 ids. So a push that nobody answered can be sent again::

    XADD learner:{spam}:examples * record '{"address": "abc@gmail.com"}' target 1 id order-1234

**Features** are a map of name to number or, dense, an array of numbers, whose names are their positions, "0", "1", ...: in
msgpack only, an extension of type 4, which holds float32s, or 8, float64s, little-endian. A zero in it says as little as one in
a map. `learner.client` packs a numpy array of one dimension as one. A record may be one, too, where the model has no featurizer
or the one named ``fields``.

A **request** has ``record`` or ``features`` as above, or ``records`` or ``batch`` (msgpack values one after another, without
targets), then ``reply``, the list to answer on, an optional ``id`` and an optional ``explain 1``. A **reply** is a JSON object
pushed onto that list, which expires after a minute: ``id``, ``score`` and ``prediction`` (a probability in binary tasks), or
``scores`` and ``predictions``, ``contributions`` where asked for, or ``error``.
"""

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import msgpack

from learner.errors import ExampleError, FormatError, LearnerError, SpecError, show

__all__ = [
    "GROUP",
    "REPLIES",
    "REPLY_SECONDS",
    "Bad",
    "Keys",
    "decode_entry",
    "decode_request",
    "encode_reply",
    "is_array",
    "pack_example",
    "to_json",
]

REPLIES = "learner:replies:"  # replies go to keys with this prefix only
REPLY_SECONDS = 60
GROUP = "learner"  # the consumer group whose position follows the cursor, so that standard lag tools tell the truth

UNPACK_ERRORS = (ValueError, TypeError, RecursionError, msgpack.UnpackException)  # TypeError: a list or map as a key

Features = Callable[[Any], Any]


class Keys:
    """The keys of a model: one hash tag, so that they share a cluster slot and a transaction.

    >>> Keys("spam").examples
    'learner:{spam}:examples'
    """

    def __init__(self, model: str) -> None:
        if not re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", model):
            raise SpecError(f"model name must be 1 to 64 of the characters A-Z a-z 0-9 _ . - (got {show(model)})")
        prefix = f"learner:{{{model}}}:"
        self.model = model
        self.spec = prefix + "spec"
        self.examples = prefix + "examples"
        self.requests = prefix + "requests"
        self.owner = prefix + "owner"
        self.lease = prefix + "lease"
        self.rejected = prefix + "rejected"
        self.progress = prefix + "progress"
        self.ids = prefix + "state:ids"
        self.head = prefix + "state:head"
        self._state = prefix + "state:"

    def rows(self, segment: int) -> str:
        """Return the key of a segment of the base of the committed rows (see `learner.journal`)."""
        return f"{self._state}rows:{segment}"

    def delta(self, number: int) -> str:
        """Return the key of the rows that a commit changed."""
        return f"{self._state}delta:{number}"

    def names(self, segment: int) -> str:
        """Return the key of a segment of the committed names."""
        return f"{self._state}names:{segment}"


class Bad(NamedTuple):
    """Something that came and can't be learned: at which stage ("decode", "featurize", "learn"), why, and its bytes."""

    stage: str
    reason: str
    data: bytes


# ---- values ----------------------------------------------------------------------------------------------------------------
def decode_value(data: bytes, what: str) -> Any:
    """Decode JSON or msgpack, told apart by the first byte: no JSON text starts at or above 0x80, no msgpack map below.

    Raises
    ------
    FormatError
        When it is neither.

    >>> decode_value(b'{"lat": 40.6}', "record"), decode_value(bytes([0x81, 0xA1, 0x61, 0x01]), "record")
    ({'lat': 40.6}, {'a': 1})
    """
    if not data:
        raise FormatError(f"{what} must be JSON or msgpack (got nothing)")
    try:
        if data[0] < 0x80:
            return json.loads(data, parse_constant=_no_constant, object_pairs_hook=_no_repeats)
        return msgpack.unpackb(data, strict_map_key=False)
    except UNPACK_ERRORS as error:
        kind = "JSON" if data[0] < 0x80 else "msgpack"
        detail = str(error) or type(error).__name__
        raise FormatError(f"{what} must be JSON or msgpack (got {show(data)}: as {kind}, {detail})") from error


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not a number")


def _no_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"{show(next(key for key in keys if keys.count(key) > 1))} is there twice")
    return value


def decode_target(text: bytes) -> Any:
    """Return a target or importance given as text: a number or boolean if it reads as one in JSON, else the label itself.

    >>> decode_target(b"-1"), decode_target(b"true"), decode_target(b"spam")
    (-1, True, 'spam')
    """
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = text.decode(errors="replace")
    return value if isinstance(value, (bool, int, float)) else text.decode(errors="replace")


def pack(value: Any) -> bytes:
    """Return a value in msgpack.

    Raises
    ------
    ExampleError
        When msgpack has no form for it, or it is an array of another kind than features may be.
    """
    try:
        packed: bytes = msgpack.packb(value, default=_numpy)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise ExampleError(f"value must be numbers, strings, lists and maps (got {show(value)}: {error})") from error
    return packed


def _numpy(value: Any) -> float | msgpack.ExtType:
    """Let numpy's scalars be numbers and its arrays features, without importing numpy."""
    if not hasattr(value, "__array_interface__"):
        raise TypeError(f"no form for {type(value).__name__}")
    if value.shape == ():
        return float(value)
    kind, width = value.dtype.kind, value.dtype.itemsize
    if value.ndim != 1 or kind not in "biuf":
        raise ExampleError(f"array must be of real numbers in one dimension (got {value.dtype} in {value.ndim})")
    code = 4 if width <= (4 if kind == "f" else 2) else 8  # float32 holds it exactly, or float64 has to
    return msgpack.ExtType(code, value.astype(f"<f{code}").tobytes())


def is_array(features: Any) -> bool:
    """Tell whether features are an array, of numpy or as msgpack has it, rather than a map."""
    return isinstance(features, msgpack.ExtType) or hasattr(features, "__array_interface__")


def pack_example(target: Any, features: bytes, importance: float = 1.0) -> bytes:
    """Return one example for the compiled loop, of features packed already."""
    if importance == 1.0:
        return b"\x92" + pack(target) + features
    return b"\x93" + pack(target) + features + pack(importance)


# ---- entries ---------------------------------------------------------------------------------------------------------------
def decode_entry(fields: Mapping[bytes, bytes], features: Features) -> Iterator[bytes | Bad]:
    """Yield an entry's examples, packed for the compiled loop, and what can't be.

    Parameters
    ----------
    fields : mapping
        What XREAD gave.
    features : callable
        The model's featurizer: from a record to its features, a map or an array, or an `ExampleError`.
    """
    batch = fields.get(b"batch")
    if batch is not None:
        yield batch
    elif b"records" in fields:
        yield from _decode_records(fields[b"records"], features)
    else:
        stage = "decode"
        try:
            if b"target" not in fields:
                raise FormatError(f"entry must have a target (got the fields {_names(fields)})")
            importance = decode_target(fields.get(b"importance", b"1"))
            if b"features" in fields:
                vector = _feature_map(fields[b"features"])
            elif b"record" in fields:
                record = decode_value(fields[b"record"], "record")
                stage = "featurize"
                vector = pack(features(record))
            else:
                raise FormatError(
                    f"entry must have one of record, features, records, batch (got the fields {_names(fields)})"
                )
            yield pack_example(decode_target(fields[b"target"]), vector, importance)
        except LearnerError as error:
            yield Bad(
                stage,
                str(error),
                pack({k.decode(errors="replace"): v for k, v in fields.items()}),
            )


def _feature_map(data: bytes) -> bytes:
    """Return a map of features as msgpack; msgpack stays as it came, once it is known to be one whole value."""
    value = decode_value(data, "features")
    return data if data[0] >= 0x80 else pack(value)


def _decode_records(data: bytes, features: Features) -> Iterator[bytes | Bad]:
    for value, raw in _split(data):
        if isinstance(value, FormatError):
            yield Bad("decode", str(value), raw)
            continue
        stage = "decode"
        try:
            if not isinstance(value, list) or len(value) not in (2, 3):
                raise FormatError(
                    f"record must be [target, record] or [target, record, importance] (got {show(value)})"
                )
            stage = "featurize"
            yield pack_example(value[0], pack(features(value[1])), *value[2:])
        except LearnerError as error:
            yield Bad(stage, str(error), raw)


def _split(data: bytes) -> Iterator[tuple[Any, bytes]]:
    """Yield (value, its bytes) for msgpack values that follow one another; an error as the value of what can't be read."""
    unpacker = msgpack.Unpacker(max_buffer_size=len(data) or 1)
    unpacker.feed(data)
    start = 0
    while start < len(data):
        try:
            unpacker.skip()
        except UNPACK_ERRORS as error:
            detail = str(error) or type(error).__name__
            yield FormatError(f"records must be whole msgpack values (at byte {start}: {detail})"), data[start:]
            return
        end = unpacker.tell()
        value: Any
        try:
            value = msgpack.unpackb(data[start:end], strict_map_key=False)
        except UNPACK_ERRORS as error:
            value = FormatError(f"record must be msgpack ({str(error) or type(error).__name__})")
        yield value, data[start:end]
        start = end


def _names(fields: Mapping[bytes, bytes]) -> str:
    return ", ".join(sorted(name.decode(errors="replace") for name in fields)) or "none"


# ---- requests --------------------------------------------------------------------------------------------------------------
def decode_request(fields: Mapping[bytes, bytes], features: Features) -> tuple[list[bytes | Bad], bool]:
    """Return a request's feature maps, packed, and whether it asked for one rather than for many."""
    one = b"records" not in fields and b"batch" not in fields
    found: list[bytes | Bad] = []
    if b"batch" in fields:
        for value, raw in _split(fields[b"batch"]):
            found.append(Bad("decode", str(value), raw) if isinstance(value, FormatError) else raw)
    elif b"records" in fields:
        for value, raw in _split(fields[b"records"]):
            try:
                if isinstance(value, FormatError):
                    raise value
                found.append(pack(features(value)))
            except LearnerError as error:
                found.append(Bad("featurize", str(error), raw))
    else:
        try:
            if b"features" in fields:
                found.append(_feature_map(fields[b"features"]))
            elif b"record" in fields:
                found.append(pack(features(decode_value(fields[b"record"], "record"))))
            else:
                raise FormatError(f"request must have one of record, features, records, batch (got {_names(fields)})")
        except LearnerError as error:
            found.append(Bad("decode", str(error), b""))
    return found, one


def encode_reply(reply: Mapping[str, Any]) -> bytes:
    """Return a reply in JSON; numbers that JSON has no form for become null."""
    return to_json(reply, separators=(",", ":")).encode()


def to_json(value: Any, **options: Any) -> str:
    """Return a value in JSON, with null for the numbers that JSON has no form for.

    >>> to_json({"loss": float("nan")})
    '{"loss": null}'
    """
    return json.dumps(_finite(value), ensure_ascii=False, **options)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value
