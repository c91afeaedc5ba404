"""Requests and replies.

A **request** has ``record`` or ``features`` as an entry has (see `learner.service.wire.entries`), or ``records`` or ``batch``
(msgpack values one after another, without targets), then ``reply``, the list to answer on, an optional ``id``, an optional
``explain 1``, an optional ``outcome_id``, under which the answer is kept until its outcome comes (see
`learner.service.wire.outcomes`; only for one prediction), and an optional ``deadline_ms``: so many milliseconds after it was
added, by the server's clock (the time in its stream id, or when the worker read it, if that was earlier), nobody waits for the
answer any more.

A **reply** is a JSON object pushed onto that list, which expires after a minute: ``id``, ``task``, ``score``, ``prediction`` (a
probability in binary tasks), of classes ``label`` and ``probabilities``, ``unknown_fields``, ``missing_fields``,
``contributions`` where asked for; or lists of these (``scores``, ``predictions``, ``labels``, and ``probabilities`` where asked
for by ``probabilities 1``); or ``error``: also when the request came too late, or when too many wait.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from learner.errors import FormatError, LearnerError
from learner.service.wire.bounds import MAX_SHORT_BYTES
from learner.service.wire.entries import field_names, require_size
from learner.service.wire.values import decode_features, decode_record, decode_value, encode_json, split

__all__ = [
    "REPLY_SECONDS",
    "TOO_LATE",
    "TOO_MANY",
    "RawRecord",
    "deadline_ms",
    "decode_request",
    "decode_vector",
    "encode_reply",
]

REPLY_SECONDS = 60  # until a list of replies that nobody fetches is gone

# how the errors begin of requests that may be answered when they are sent again
TOO_LATE = "request must be answered within its deadline_ms"
TOO_MANY = ("requests that wait must be at most", "requests for many that wait must be at most")


class RawRecord(NamedTuple):
    """A record that is still to be featurized."""

    record: Any


def decode_request(fields: Mapping[bytes, bytes]) -> tuple[Iterator[bytes | RawRecord | LearnerError], bool]:
    """Return a request's vectors, and whether it asks for one prediction rather than for many.

    A vector is decoded when its turn comes: its packed features, or a record to be featurized, or the error that it is answered
    with.

    >>> vectors, is_single = decode_request({b"record": b'{"lat": 1}'})
    >>> list(vectors), is_single
    ([RawRecord(record={'lat': 1})], True)
    """
    try:
        require_size("request", fields)
        if b"outcome_id" in fields:
            _require_outcome_id(fields)
    except FormatError as error:
        return iter([error]), True
    if b"batch" in fields:
        return ((error or raw) for raw, error in split(fields[b"batch"], "batch")), False
    if b"records" in fields:
        return _decode_records(fields[b"records"]), False
    return _decode_single(fields), True


def _require_outcome_id(fields: Mapping[bytes, bytes]) -> None:
    n_bytes = len(fields[b"outcome_id"])
    if not 1 <= n_bytes <= MAX_SHORT_BYTES:
        raise FormatError(f"outcome_id must have 1 to {MAX_SHORT_BYTES} bytes (got {n_bytes})")
    if b"batch" in fields or b"records" in fields:
        raise FormatError(
            "request with outcome_id must ask for one prediction, by record or features (it asks for many)"
        )


def _decode_single(fields: Mapping[bytes, bytes]) -> Iterator[bytes | RawRecord | LearnerError]:
    try:
        if b"features" in fields:
            yield decode_features(fields[b"features"])
        elif b"record" in fields:
            yield RawRecord(decode_value(fields[b"record"], "record"))
        else:
            raise FormatError(f"request must have one of record, features, records, batch (got {field_names(fields)})")
    except LearnerError as error:
        yield error


def _decode_records(data: bytes) -> Iterator[bytes | RawRecord | LearnerError]:
    for raw, error in split(data, "records"):
        yield decode_vector(raw, error)


def decode_vector(raw: bytes, error: FormatError | None) -> RawRecord | LearnerError:
    """Return one of a request's many records, as `learner.service.wire.values.split` yields it."""
    try:
        return error or RawRecord(decode_record(raw))
    except LearnerError as reason:
        return reason


def deadline_ms(came_ms: float, fields: Mapping[bytes, bytes]) -> float | None:
    """Return when nobody waits for a request's answer any more, in Unix milliseconds of the server's clock.

    None: it has no deadline, or one that is no number.

    >>> deadline_ms(1700000000000, {b"deadline_ms": b"500"})
    1700000000500.0
    """
    text = fields.get(b"deadline_ms")
    if text is None or len(text) > MAX_SHORT_BYTES:
        return None
    try:
        return came_ms + float(text)
    except ValueError:
        return None


def encode_reply(reply: Mapping[str, Any]) -> bytes:
    """Return a reply in JSON; numbers that JSON has no form for become null."""
    return encode_json(reply)
