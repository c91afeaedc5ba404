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
targets), then ``reply``, the list to answer on, an optional ``id``, an optional ``explain 1`` and an optional ``deadline_ms``:
so many milliseconds after it was added, by the server's clock (the time in its stream id), nobody waits for the answer any
more. A **reply** is a JSON object pushed onto that list, which expires after a minute: ``id``, ``score`` and ``prediction`` (a
probability in binary tasks), or ``scores`` and ``predictions``, ``contributions`` where asked for, or ``error``: also when the
request came too late, or when too many wait.

Whatever strangers send is measured against the bounds below (and those of `learner.layout`) before it is decoded. An entry of
``rejected`` has ``entry`` (its id in ``examples``), ``stage``, ``reason``, ``bytes`` (its size), ``data`` (the original, cut)
and ``field``: to put it back, push ``data`` under this field's name; ``entry`` is a msgpack map of the entry's own fields.
"""

import itertools
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import msgpack

from learner import layout
from learner.errors import FormatError, LearnerError, SpecError, show
from learner.packing import UNPACK_ERRORS, ends, pack, pack_example

__all__ = [
    "GROUP",
    "MAX_BATCH",
    "MAX_DEPTH",
    "MAX_ENTRY_BYTES",
    "MAX_REASON",
    "MAX_SHORT_BYTES",
    "MAX_VALUE_BYTES",
    "REJECTED_BYTES",
    "REPLIES",
    "REPLY_SECONDS",
    "SIZE",
    "Bad",
    "Example",
    "Keys",
    "bad_entry",
    "deadline_ms",
    "decode_entry",
    "decode_request",
    "encode_reply",
    "to_json",
]

REPLIES = "learner:replies:"  # replies go to keys with this prefix only
REPLY_SECONDS = 60
GROUP = "learner"  # the consumer group whose position follows the cursor, so that standard lag tools tell the truth

# ---- bounds ----
MAX_ENTRY_BYTES = 4 << 20  # an entry or a request, names and values of its fields together
MAX_VALUE_BYTES = 1 << 20  # a record, or features in JSON: what becomes Python values, up to a hundred times as large
MAX_DEPTH = 32  # maps and lists in one another
MAX_BATCH = 10_000  # examples an entry, or feature vectors a request
MAX_SHORT_BYTES = layout.MAX_NAME_BYTES  # a target, an importance, an id, the name of a reply key
REJECTED_BYTES = 1 << 16  # of what was rejected kept
MAX_REASON = 500  # characters
SIZE = "(bytes)"  # the field with the size of an entry that was too large to be read whole

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
        self.workers = prefix + "workers"
        self.rejected = prefix + "rejected"
        self.progress = prefix + "progress"
        self.ids = prefix + "state:ids"
        self.attempt = prefix + "attempt"
        self.head = prefix + "state:head"
        self._state = prefix + "state:"

    def rows(self, segment: int) -> str:
        """Return the key of a segment of the base of the committed rows (see `learner.service.store.journal`)."""
        return f"{self._state}rows:{segment}"

    def delta(self, number: int) -> str:
        """Return the key of the rows that a commit changed."""
        return f"{self._state}delta:{number}"

    def names(self, segment: int) -> str:
        """Return the key of a segment of the committed names."""
        return f"{self._state}names:{segment}"


class Bad(NamedTuple):
    """Something that came and can't be learned.

    Parameters
    ----------
    stage : {"decode", "featurize", "learn", "killed"}
        Where it failed.
    reason : str
        Why.
    data : bytes
        What came.
    field : {"entry", "records", "batch"}
        What an entry has to hold `data` under to be the same again; ``entry``: it is a msgpack map of the entry's own fields.
    size : int
        Bytes, where `data` is cut already.
    """

    stage: str
    reason: str
    data: bytes
    field: str = "entry"
    size: int = 0

    def cut(self) -> "Bad":
        """Return the same with no more of reason and data than is kept."""
        size = max(self.size, len(self.data))
        return self._replace(reason=self.reason[:MAX_REASON], data=self.data[:REJECTED_BYTES], size=size)


class Example(NamedTuple):
    """An example (or a batch of them), packed for the compiled loop, and what it was made of, if not the entry's own fields."""

    packed: bytes
    raw: bytes | None = None


# ---- values ----------------------------------------------------------------------------------------------------------------
def decode_value(data: bytes, what: str) -> Any:
    """Decode JSON or msgpack, told apart by the first byte: no JSON text starts at or above 0x80, no msgpack map below.

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
            value = json.loads(data.decode(), parse_constant=_no_constant, object_pairs_hook=_no_repeats)
        else:
            if (end := next(ends(data))) != len(data):  # no room is made for what is only announced
                raise ValueError(f"{len(data) - end} more bytes follow")
            value = _unpack(data)
    except UNPACK_ERRORS as error:
        detail = f"as {'JSON' if json_text else 'msgpack'}, {str(error) or type(error).__name__}"
        raise FormatError(f"{what} must be JSON or msgpack (got {show(data)}: {detail})") from error
    if _is_deep(value, MAX_DEPTH):
        raise FormatError(f"{what} must be nested at most {MAX_DEPTH} deep (got more)")
    return value


def _unpack(data: bytes) -> Any:
    """Return the value of whole msgpack."""
    return msgpack.unpackb(data, strict_map_key=False, object_pairs_hook=_no_repeats)


def _is_deep(value: Any, most: int) -> bool:
    """Tell whether maps and lists are in one another more than so many deep."""
    kind = type(value)
    if kind is dict:
        value = value.values()
    elif kind is not list:
        return False
    for item in value:
        kind = type(item)
        if (kind is dict or kind is list) and (most == 1 or _is_deep(item, most - 1)):
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


def decode_target(text: bytes) -> Any:
    """Return a target or importance given as text: a number or boolean if it reads as one in JSON, else the label itself.

    >>> decode_target(b"-1"), decode_target(b"true"), decode_target(b"spam")
    (-1, True, 'spam')
    """
    try:
        value = json.loads(text.decode())
    except (ValueError, RecursionError):
        value = text.decode(errors="replace")
    return value if isinstance(value, (bool, int, float)) else text.decode(errors="replace")


# ---- entries ---------------------------------------------------------------------------------------------------------------
def decode_entry(fields: Mapping[bytes, bytes], features: Features) -> Iterator[Example | Bad]:
    """Yield an entry's examples, packed for the compiled loop, and what can't be.

    A batch is one `Example`: its own bytes, which the compiled loop checks.

    Parameters
    ----------
    fields : mapping
        What XREAD gave.
    features : callable
        The model's featurizer: from a record to its features, a map or an array, or an `ExampleError`.
    """
    if (size := size_of(fields)) > MAX_ENTRY_BYTES:
        yield bad_entry("decode", _too_large("entry", size), fields)
        return
    batch = fields.get(b"batch")
    if batch is not None:
        yield Example(batch, batch)
    elif b"records" in fields:
        yield from _decode_records(fields[b"records"], features)
    else:
        stage = "decode"
        try:
            if b"target" not in fields:
                raise FormatError(f"entry must have a target (got the fields {_names(fields)})")
            importance = decode_target(_short(fields, b"importance", b"1"))
            target = decode_target(_short(fields, b"target"))
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
            yield Example(pack_example(target, vector, importance))
        except LearnerError as error:
            yield bad_entry(stage, str(error), fields)


def size_of(fields: Mapping[bytes, bytes]) -> int:
    """Return the bytes of an entry's fields, names and values."""
    size = fields.get(SIZE.encode(), b"")
    if size.isdigit() and len(size) < 20:
        return int(size)
    return sum(map(len, fields)) + sum(map(len, fields.values()))


def bad_entry(stage: str, reason: str, fields: Mapping[bytes, bytes]) -> Bad:
    """Return an entry as a whole that can't be learned, with its fields as a msgpack map, no value longer than is kept."""
    kept = {_text(name): value[:REJECTED_BYTES] for name, value in fields.items()}
    size = size_of(fields)
    return Bad(stage, reason, pack(kept), size=size if size > REJECTED_BYTES else 0)


def _text(name: bytes) -> str | bytes:
    try:
        return name.decode()
    except UnicodeDecodeError:
        return name


def _too_large(what: str, size: int) -> str:
    return f"{what} must be at most {MAX_ENTRY_BYTES} bytes (got {size})"


def _short(fields: Mapping[bytes, bytes], name: bytes, default: bytes = b"") -> bytes:
    value = fields.get(name, default)
    if len(value) > MAX_SHORT_BYTES:
        raise FormatError(f"{name.decode()} must be at most {MAX_SHORT_BYTES} bytes (got {len(value)})")
    return value


def _feature_map(data: bytes) -> bytes:
    """Return a map of features as msgpack; msgpack stays as it came, once it is known to be one whole value."""
    if data[:1] < b"\x80":
        return pack(decode_value(data, "features"))
    (raw, error), *more = itertools.islice(_split(data, "features"), 2)
    if error or more:
        raise error or FormatError("features must be one msgpack map (got more bytes)")
    return raw


def _decode_records(data: bytes, features: Features) -> Iterator[Example | Bad]:
    for raw, broken in _split(data, "records"):
        stage = "decode"
        try:
            if broken:
                raise broken
            value = _decode_whole(raw)
            if not isinstance(value, list) or len(value) not in (2, 3):
                raise FormatError(
                    f"record must be [target, record] or [target, record, importance] (got {show(value)})"
                )
            stage = "featurize"
            yield Example(pack_example(value[0], pack(features(value[1])), *value[2:]), raw)
        except LearnerError as error:
            yield Bad(stage, str(error), raw, "records")


def _decode_whole(raw: bytes) -> Any:
    """Decode a record in msgpack that is known to be one whole value."""
    if len(raw) > MAX_VALUE_BYTES:
        raise FormatError(f"record must be at most {MAX_VALUE_BYTES} bytes (got {len(raw)})")
    try:
        value = _unpack(raw)
    except UNPACK_ERRORS as error:
        raise FormatError(f"record must be msgpack ({str(error) or type(error).__name__})") from error
    if _is_deep(value, MAX_DEPTH):
        raise FormatError(f"record must be nested at most {MAX_DEPTH} deep (got more)")
    return value


def _split(data: bytes, what: str) -> Iterator[tuple[bytes, FormatError | None]]:
    """Yield the bytes of msgpack values that follow one another; the rest with an error when it is broken or too many."""
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


def _names(fields: Mapping[bytes, bytes]) -> str:
    names = sorted(name[:MAX_SHORT_BYTES].decode(errors="replace") for name in itertools.islice(fields, 10))
    return show(", ".join(names))[1:-1] or "none"


# ---- requests --------------------------------------------------------------------------------------------------------------
def decode_request(fields: Mapping[bytes, bytes], features: Features) -> tuple[list[bytes | Bad], bool]:
    """Return a request's feature maps, packed, and whether it asked for one rather than for many."""
    one = b"records" not in fields and b"batch" not in fields
    found: list[bytes | Bad] = []
    if (size := size_of(fields)) > MAX_ENTRY_BYTES:
        return [Bad("decode", _too_large("request", size), b"")], True
    if one:
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
    batch = b"batch" in fields
    for raw, broken in _split(fields[b"batch" if batch else b"records"], "batch" if batch else "records"):
        try:
            if broken:
                raise broken
            found.append(raw if batch else pack(features(_decode_whole(raw))))
        except LearnerError as error:
            found.append(Bad("featurize", str(error), raw))
    return found, one


def deadline_ms(entry_id: bytes, fields: Mapping[bytes, bytes]) -> float | None:
    """Return when nobody waits for a request's answer any more, in Unix milliseconds of the server's clock.

    None: it has no deadline, or one that is no number.

    >>> deadline_ms(b"1700000000000-0", {b"deadline_ms": b"500"})
    1700000000500.0
    """
    given = fields.get(b"deadline_ms")
    if given is None or len(given) > MAX_SHORT_BYTES:
        return None
    try:
        return int(entry_id.partition(b"-")[0]) + float(given)
    except ValueError:
        return None


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
