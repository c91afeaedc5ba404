"""Reads the last commit: one transaction reads the head and all parts, from which the state is decoded."""

import itertools
import json
import zlib
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from learner import layout, stored
from learner.answered import AnsweredLoss
from learner.errors import StoreError
from learner.late import LateLoss
from learner.service.recent import RecentIds
from learner.service.store import segments
from learner.service.store.journal import Journal
from learner.service.store.link import Link
from learner.service.store.snapshot import FORMAT, Written, checksums
from learner.service.wire import Keys

__all__ = ["Parts", "decode", "journal_of", "losses_of", "read", "recent_ids", "require_model", "require_readable"]

COMMITS_AHEAD = 3  # their deltas are read too, in case a worker commits in between


@dataclass
class Parts:
    """The bytes of one commit.

    Parameters
    ----------
    head : dict
        Its fields; empty before the first commit; without ``format`` if a repair wrote a cursor without a state.
    journal : Journal
        How `base` and `deltas` make the rows.
    base, names, ids : bytes
        `base` and `names` may be longer than the head says: then their first bytes count.
    deltas : list of bytes
        The rows that commits changed since the base.
    """

    head: dict[bytes, bytes]
    journal: Journal
    base: bytes
    names: bytes
    ids: bytes
    deltas: list[bytes]


def read(link: Link, width: int) -> Parts:
    """Return the parts of the last commit, all from the same one: HGETALL and GET, in a transaction.

    Parameters
    ----------
    link : Link
        The model's.
    width : int
        float32s in a row.
    """
    head = cast("dict[bytes, bytes]", link.client.hgetall(link.keys.head))
    while True:  # the head tells which keys to read; if a new head names other keys, read again
        number = int(head.get(b"commits", 0))
        ahead = [link.keys.delta(number + i) for i in range(1, COMMITS_AHEAD + 1)]
        keys = list(dict.fromkeys([*itertools.chain(*_keys(link.keys, head, width)), *ahead]))
        with link.client.pipeline() as pipe:
            pipe.hgetall(link.keys.head)
            for key in keys:
                pipe.get(key)
            head, *values = pipe.execute()
        held = dict(zip(keys, values, strict=True))
        groups = _keys(link.keys, head, width)
        if all(key in held for group in groups for key in group):
            base, names, ids, *deltas = (b"".join(held[key] or b"" for key in group) for group in groups)
            return Parts(head, journal_of(head), base, names, ids, deltas)


def recent_ids(link: Link, seed: bytes) -> RecentIds:
    """Return the ids of the last entries learned, as of the last commit: GET, HGET."""
    recent = RecentIds(seed)
    with link.client.pipeline() as pipe:
        pipe.get(link.keys.ids)
        pipe.hget(link.keys.head, "n_ids")
        ids, n_ids = pipe.execute()
    if ids:
        recent.load(np.frombuffer(ids, np.uint64), int(n_ids))
    return recent


def _keys(keys: Keys, head: Mapping[bytes, bytes], width: int) -> list[list[str]]:
    """Return the keys of the base, the names, the ids, and each delta of the commit with this head."""
    journal = journal_of(head)
    base = segments.keys_of(keys.rows, journal.base_rows * width * 4)
    n_bytes = int(head.get(b"name_bytes", 0))
    if not 0 <= n_bytes <= layout.MAX_ARENA:
        raise ValueError(f"names must have 0 to {layout.MAX_ARENA} bytes (got {n_bytes})")
    names = segments.keys_of(keys.names, n_bytes)
    return [base, names, [keys.ids], *([keys.delta(delta.number)] for delta in journal.deltas)]


def losses_of(head: Mapping[bytes, bytes]) -> tuple[LateLoss, AnsweredLoss]:
    """Return the late and the answered loss in a commit's head."""
    return LateLoss(*json.loads(head.get(b"late", b"[]"))), AnsweredLoss(*json.loads(head.get(b"answered", b"[]")))


def journal_of(head: Mapping[bytes, bytes]) -> Journal:
    """Return the journal in a commit's head, an empty one if there is none."""
    return Journal.from_json(head[b"journal"]) if b"journal" in head else Journal()


def require_readable(keys: Keys) -> AbstractContextManager[None]:
    """Return a block in which whatever decoding raises at a damaged head becomes one error: see `learner.stored`."""
    return stored.require_readable(f"state of {keys.model!r}", _remedy(keys))


def _remedy(keys: Keys) -> str:
    return f"restore the server's data, or 'learner repair {keys.model} --forget'"


def require_model(keys: Keys, head: Mapping[bytes, bytes], fingerprint: str) -> None:
    """Make sure that a commit has the current format and belongs to the model with this fingerprint.

    Raises
    ------
    StoreError
        When it doesn't.
    """
    version = int(head[b"format"])
    if version > FORMAT:
        raise StoreError(f"state of {keys.model!r} must have format {FORMAT} (got {version}): a newer learner wrote it")
    if version < FORMAT:
        raise StoreError(
            f"state of {keys.model!r} must have format {FORMAT} (got {version}): an older learner wrote it; push the stream "
            "again to a new model"
        )
    if (digest := head.get(b"layout", layout.FIRST_DIGEST.encode()).decode()) != layout.digest():
        raise StoreError(
            f"state of {keys.model!r} must have the layout {layout.digest()} (got {digest}): it was learned with other "
            "constants, so its numbers mean something else; push the stream again to a new model"
        )
    if head[b"fingerprint"].decode() != fingerprint:
        raise StoreError(
            f"state of {keys.model!r} was learned with fingerprint {head[b'fingerprint'].decode()}, "
            f"but the model's is {fingerprint}: its spec was changed; put the old spec back at {keys.spec}, or "
            "create a new model under another name"
        )


def decode(parts: Parts, keys: Keys, width: int) -> tuple[dict[str, NDArray[Any]], Written]:
    """Return the state of a commit, and what the server has of its parts.

    Raises
    ------
    StoreError
        When something is missing or damaged.
    """
    head, n_bytes = parts.head, int(parts.head[b"name_bytes"])
    if len(parts.names) < n_bytes:
        raise StoreError(
            f"state of {keys.model!r} must have {n_bytes} bytes at {keys.names(0)} (got {len(parts.names)})"
        )
    names = parts.names[:n_bytes]
    small = json.loads(head[b"arrays"])
    written = Written(parts.journal, n_bytes, zlib.crc32(names), int(head[b"n_ids"]))
    sums = checksums(written.names_crc, [head[name.encode()] for name in small], parts.ids)
    try:
        rows = _rows(parts, width)
        _require_checksums(head[b"checksums"].decode(), sums)
    except StoreError as error:
        raise StoreError(
            f"state of {keys.model!r} was damaged or written by something else: {error}; {_remedy(keys)}"
        ) from error
    state: dict[str, NDArray[Any]] = {
        name: np.frombuffer(head[name.encode()], dtype).reshape(shape) for name, (dtype, shape) in small.items()
    }
    return state | {"rows": rows, "names": np.frombuffer(names, np.uint8)}, written


def _rows(parts: Parts, width: int) -> NDArray[np.float32]:
    base = parts.base[: parts.journal.base_rows * width * 4]
    return parts.journal.rows(int(parts.head[b"features"]), width, base, parts.deltas)


def _require_checksums(wanted: str, got: str) -> None:
    pairs = zip(("names", "arrays", "ids"), wanted.split(), got.split(), strict=True)
    if damaged := [part for part, a, b in pairs if a != b]:
        raise StoreError(f"{' and '.join(damaged)} must have the checksums {wanted} (got {got})")
