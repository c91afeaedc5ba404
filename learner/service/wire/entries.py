"""Entries of ``examples``: what they hold, what they decode to, and the form that a rejected one is kept in.

An **entry** has one of these fields:

``record``
    A raw record in JSON or msgpack, with ``target`` and, if it isn't 1, ``importance`` as text.
``features``
    The same, but a map of feature name to number, in JSON or msgpack, or an array: no featurizer runs.
``records``
    Many at once: msgpack ``[target, record]`` or ``[target, record, importance]``, one after another.
``batch``
    Many at once: msgpack ``[target, {name: value}]`` or ``[.., importance]``, one after another.
``outcome``
    The ``outcome_id`` of a request, with ``target`` and, if it isn't 1, ``importance`` as text: what is learned are the
    features that the request was answered with (see `learner.service.wire.outcomes`).
``learn``
    ``held``, and no other field but ``id``: no example, but the order to learn here the examples that the model holds back (see
    `learner.kernels.held`).

Any entry may have an ``id``, a name of the producer's own choice: once something was learned under it, no other entry with the
same id is learned (see `learner.service.recent`).

An entry of ``rejected`` has ``entry`` (its id in ``examples``), ``stage``, ``reason``, ``bytes`` (its size), ``data`` (the
original, cut) and ``field``: to put it back, push ``data`` under this field's name; the field ``entry`` means that ``data`` is
a msgpack map of the entry's own fields.
"""

import itertools
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from learner.errors import FormatError, LearnerError, show
from learner.packing import pack, pack_example
from learner.service.wire.bounds import MAX_ENTRY_BYTES, MAX_REASON, MAX_SHORT_BYTES, REJECTED_BYTES
from learner.service.wire.outcomes import OutcomeFields
from learner.service.wire.values import decode_features, decode_record, decode_target, decode_value, split

__all__ = [
    "LEARN_HELD",
    "CutFields",
    "Example",
    "RawExample",
    "RejectedEntry",
    "decode_entry",
    "decode_raw",
    "decode_single",
    "field_names",
    "has_records",
    "is_learn_held",
    "rejected_entry",
    "require_size",
    "size_of",
]

LEARN_HELD = {b"learn": b"held"}  # the fields of the entry that has the held examples learned


class CutFields(dict[bytes, bytes]):
    """The start of an entry that was too large to be read whole: no field that comes says so, as anybody could write one.

    Parameters
    ----------
    fields : mapping
        The first field, cut.
    size : int
        Bytes of the whole entry.
    """

    def __init__(self, fields: Mapping[bytes, bytes], size: int) -> None:
        super().__init__(fields)
        self.size = size


class Example(NamedTuple):
    """One example, or a batch of them, packed for the compiled loop.

    Parameters
    ----------
    packed : bytes
        Of one example the msgpack of `learner.packing.pack_example`; of a batch what came, unchecked.
    raw : bytes, optional
        The bytes to reject if it can't be learned; None: the whole entry.
    """

    packed: bytes
    raw: bytes | None = None


class RawExample(NamedTuple):
    """One example whose record is still to be featurized.

    Parameters
    ----------
    target : object
        As decoded, not checked.
    record : object
        What the featurizer takes.
    importance : object
        As decoded, not checked.
    raw : bytes, optional
        The bytes to reject if it can't be featurized or learned; None: the whole entry.
    """

    target: Any
    record: Any
    importance: Any = 1.0
    raw: bytes | None = None


class RejectedEntry(NamedTuple):
    """An entry, or an example of one, that can't be learned.

    Parameters
    ----------
    stage : {"decode", "featurize", "learn", "killed"}
        Where it failed.
    reason : str
        Why.
    data : bytes
        The original.
    field : {"entry", "records", "batch"}
        The field that an entry must hold `data` under to be the same again; ``entry``: `data` is a msgpack map of the entry's
        own fields.
    size : int
        Bytes of the original, where `data` is cut already.
    """

    stage: str
    reason: str
    data: bytes
    field: str = "entry"
    size: int = 0

    def cut(self) -> "RejectedEntry":
        """Return the same with no more of reason and data than is kept."""
        size = max(self.size, len(self.data))
        return self._replace(reason=self.reason[:MAX_REASON], data=self.data[:REJECTED_BYTES], size=size)


def is_learn_held(fields: Mapping[bytes, bytes]) -> bool:
    """Tell whether an entry is no example, but has the held examples learned.

    >>> is_learn_held({b"learn": b"held"}), is_learn_held({b"record": b"{}", b"target": b"1", b"learn": b"held"})
    (True, False)
    """
    return {name: value for name, value in fields.items() if name != b"id"} == LEARN_HELD


def decode_entry(fields: Mapping[bytes, bytes]) -> Iterator[Example | RawExample | RejectedEntry]:
    """Yield an entry's examples, decoded one at a time, and what can't be decoded.

    A batch is one `Example`: its own bytes, which the compiled loop checks.

    Parameters
    ----------
    fields : mapping
        The entry's fields, as XREAD returns them.

    >>> list(decode_entry({b"record": b'{"lat": 1}', b"target": b"1"}))
    [RawExample(target=1, record={'lat': 1}, importance=1, raw=None)]
    """
    batch = fields.get(b"batch")
    if batch is None and b"records" not in fields:
        yield decode_single(fields)
        return
    try:
        require_size("entry", fields)
        _short(fields, b"id")
    except LearnerError as error:
        yield rejected_entry("decode", str(error), fields)
        return
    if batch is not None:
        yield Example(batch, batch)
    else:
        yield from _decode_records(fields[b"records"])


def decode_single(fields: Mapping[bytes, bytes]) -> Example | RawExample | RejectedEntry:
    """Return the example of an entry that has neither a batch nor records, decoded, or the entry rejected."""
    try:
        require_size("entry", fields)
        _short(fields, b"id")
        return _decode_single(fields)
    except LearnerError as error:
        return rejected_entry("decode", str(error), fields)


def _decode_single(fields: Mapping[bytes, bytes]) -> Example | RawExample:
    if b"target" not in fields:
        raise FormatError(f"entry must have a target (got the fields {field_names(fields)})")
    importance = decode_target(_short(fields, b"importance", b"1"))
    target = decode_target(_short(fields, b"target"))
    if b"features" in fields:
        return Example(pack_example(target, decode_features(fields[b"features"]), importance))
    if b"record" in fields:
        return RawExample(target, decode_value(fields[b"record"], "record"), importance)
    if b"outcome" in fields:
        return Example(pack_example(target, _kept_features(fields), importance))
    raise FormatError(
        f"entry must have one of record, features, records, batch, outcome (got the fields {field_names(fields)})"
    )


def _kept_features(fields: Mapping[bytes, bytes]) -> bytes:
    """Return the features of the answer that an outcome names."""
    name = _short(fields, b"outcome")
    if not isinstance(fields, OutcomeFields) or fields.kept is None:
        raise FormatError(
            f"outcome must name an answer that is kept (got {show(name.decode(errors='replace'))}: nobody asked with this "
            "outcome_id, or its outcome didn't come in time, or came long ago)"
        )
    return fields.kept.features


def _decode_records(data: bytes) -> Iterator[RawExample | RejectedEntry]:
    for raw, error in split(data, "records"):
        yield decode_raw(raw, error)


def decode_raw(raw: bytes, error: FormatError | None) -> RawExample | RejectedEntry:
    """Return one of an entry's many records, as `learner.service.wire.values.split` yields it."""
    try:
        if error:
            raise error
        value = decode_record(raw)
        if not isinstance(value, list) or len(value) not in (2, 3):
            raise FormatError(f"record must be [target, record] or [target, record, importance] (got {show(value)})")
    except LearnerError as reason:
        return RejectedEntry("decode", str(reason), raw, "records")
    return RawExample(value[0], value[1], value[2] if len(value) == 3 else 1.0, raw)


def has_records(fields: Mapping[bytes, bytes]) -> bool:
    """Tell whether an entry holds many records, and isn't too large."""
    return b"records" in fields and b"batch" not in fields and size_of(fields) <= MAX_ENTRY_BYTES


def rejected_entry(stage: str, reason: str, fields: Mapping[bytes, bytes]) -> RejectedEntry:
    """Return a whole entry as rejected: its fields as a msgpack map, no value longer than is kept."""
    kept = {_text(name): value[:REJECTED_BYTES] for name, value in fields.items()}
    size = size_of(fields)
    return RejectedEntry(stage, reason, pack(kept), size=size if size > REJECTED_BYTES else 0)


def size_of(fields: Mapping[bytes, bytes]) -> int:
    """Return the bytes of an entry's fields, names and values, also of an entry that was too large to be read whole."""
    if isinstance(fields, CutFields):
        return fields.size
    return sum(map(len, fields)) + sum(map(len, fields.values()))


def require_size(what: str, fields: Mapping[bytes, bytes]) -> None:
    """Make sure that an entry or request has at most `MAX_ENTRY_BYTES` bytes, or raise a `FormatError`."""
    if (size := size_of(fields)) > MAX_ENTRY_BYTES:
        raise FormatError(f"{what} must be at most {MAX_ENTRY_BYTES} bytes (got {size})")


def field_names(fields: Mapping[bytes, bytes]) -> str:
    """Return the names of the fields as a message shows them: ten at most, each cut."""
    names = sorted(name[:MAX_SHORT_BYTES].decode(errors="replace") for name in itertools.islice(fields, 10))
    return show(", ".join(names))[1:-1] or "none"


def _text(name: bytes) -> str | bytes:
    try:
        return name.decode()
    except UnicodeDecodeError:
        return name


def _short(fields: Mapping[bytes, bytes], name: bytes, default: bytes = b"") -> bytes:
    value = fields.get(name, default)
    if len(value) > MAX_SHORT_BYTES:
        raise FormatError(f"{name.decode()} must be at most {MAX_SHORT_BYTES} bytes (got {len(value)})")
    return value
