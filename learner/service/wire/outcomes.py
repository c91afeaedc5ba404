"""Late outcomes: what is kept of an answer until its outcome comes, and the entries that name it.

A request with ``outcome_id`` has its answer kept. An entry of ``examples`` with ``outcome``, which names it, and ``target``
(and ``importance``, unless it is 1) is its outcome: what is learned are exactly the features that were scored. The owner itself
adds an entry with ``expired 1`` for an answer that has waited for too long, with the default outcome as ``target``, if there is
one.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgpack

from learner.packing import UNPACK_ERRORS, pack
from learner.service.wire.bounds import MAX_SHORT_BYTES

__all__ = ["Kept", "OutcomeFields", "decode_kept", "encode_kept", "expiry_of", "is_outcome"]

EXAMPLE_FIELDS = (b"record", b"features", b"records", b"batch")  # an entry with one of these is no outcome


class Kept(NamedTuple):
    """An answer that waits for its outcome.

    Parameters
    ----------
    answer : float or dict
        By what it is judged: see `learner.answered.answer_of`.
    features : bytes
        In msgpack, as they were scored.
    """

    answer: Any
    features: bytes


class OutcomeFields(dict[bytes, bytes]):
    """The fields of an outcome's entry, and what is kept under its name.

    Parameters
    ----------
    fields : mapping
        The entry's.
    kept : Kept or None
        None: nothing is.
    """

    def __init__(self, fields: Mapping[bytes, bytes], kept: Kept | None) -> None:
        super().__init__(fields)
        self.kept = kept

    @property
    def name(self) -> bytes:
        """The ``outcome_id`` of the request."""
        return self[b"outcome"]

    @property
    def expires(self) -> bool:
        """Whether the entry says that no outcome came."""
        return b"expired" in self


def is_outcome(fields: Mapping[bytes, bytes]) -> bool:
    """Tell whether an entry is an outcome, under a name that may be one.

    >>> is_outcome({b"outcome": b"order-1", b"target": b"1"}), is_outcome({b"record": b"{}", b"outcome": b"x"})
    (True, False)
    """
    return 1 <= len(fields.get(b"outcome", b"")) <= MAX_SHORT_BYTES and not any(
        map(fields.__contains__, EXAMPLE_FIELDS)
    )


def expiry_of(name: bytes, default: str | None) -> dict[bytes, bytes]:
    """Return the fields of the entry for an answer whose outcome never came."""
    return {b"outcome": name, b"expired": b"1"} | ({} if default is None else {b"target": default.encode()})


def encode_kept(answer: Any, features: bytes) -> bytes:
    """Return what is kept of an answer."""
    return pack([answer, features])


def decode_kept(data: bytes | None) -> Kept | None:
    """Return an answer that was kept; None if there is none, or none that can be read."""
    try:
        answer, features = msgpack.unpackb(data or b"")
        numbers = answer.values() if isinstance(answer, dict) else [answer]
        is_readable = isinstance(features, bytes) and all(isinstance(number, float) for number in numbers)
    except UNPACK_ERRORS:
        return None
    return Kept(answer, features) if is_readable else None
