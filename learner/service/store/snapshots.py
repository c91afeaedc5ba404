"""Snapshots: copies of the committed state that stay on the server, and the way back to them.

A snapshot of the name S has the keys ``snapshot:S:*``, which are those of ``state:*`` at one commit. The hash ``snapshots``
says of each when it was taken and which keys it has. All of it lies in the model's slot, and each change is one transaction.
"""

import contextlib
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import redis

from learner.errors import StoreError
from learner.service.store import loading
from learner.service.store.link import Link
from learner.service.store.position import NEVER, locate, stream_id
from learner.service.wire import GROUP, Keys
from learner.stored import require_readable

if TYPE_CHECKING:
    from learner.service.store import Store

__all__ = [
    "MAX_SNAPSHOTS", "drop", "known_snapshots", "listed", "names_of", "note_parts", "parts_of", "roll_back", "take",
]  # fmt: skip

MAX_SECONDS = 1 << 36  # of a time: what a calendar has
MAX_SNAPSHOTS = 10  # that are kept: the next one takes the place of the oldest


# ---- taking and dropping ----
def take(store: "Store", name: str, keep: int = MAX_SNAPSHOTS) -> list[str]:
    """Copy the last commit's state under a name; return the names of the oldest snapshots, which went for it.

    It sends WATCH, HGETALL, EXISTS, XREVRANGE; MULTI, COPY, UNLINK, HSET, HDEL. A worker may commit meanwhile.

    Parameters
    ----------
    store : Store
        The model's.
    name : str
        Of 1 to 64 of the characters that a model's name may have.
    keep : int
        How many snapshots to keep at most.

    Raises
    ------
    StoreError
        When the name is taken, or nothing was committed yet.
    """
    keys, to = store.keys, store.keys.snapshot(name)
    pipe: Any
    while True:
        with store.client.pipeline() as pipe, contextlib.suppress(redis.WatchError):
            pipe.watch(keys.head, keys.snapshots)
            head, known = pipe.hgetall(keys.head), known_snapshots(keys, pipe)
            if name in known:
                raise StoreError(
                    f"snapshot of {keys.model!r} must have a new name (got {name!r}): drop the old one first"
                )
            if b"format" not in head:
                raise StoreError(f"model {keys.model!r} must have a commit to take a snapshot of (it has none)")
            parts = parts_of(pipe, keys, head)
            latest = pipe.xrevrange(keys.progress, count=1)
            seconds = pipe.time()[0]
            over = _in_order(known)[: max(len(known) + 1 - keep, 0)]
            note = {
                "time": seconds,
                "commits": int(head[b"commits"]),
                "keys": parts,
                "progress": {field.decode(): text.decode() for field, text in latest[0][1].items()} if latest else {},
            }
            pipe.multi()
            for each in over:
                _queue_drop(pipe, keys, each, known[each])
            for part in parts:
                pipe.copy(keys.state + part, to.state + part, replace=True)
            pipe.hset(keys.snapshots, name, json.dumps(note))
            pipe.execute()
            return over


def parts_of(client: Any, keys: Keys, head: dict[bytes, bytes]) -> list[str]:
    """Return the keys of the commit with this head, without the beginning that they share."""
    deltas = [keys.delta(delta.number) for delta in loading.journal_of(head).deltas]
    parts = [keys.head, *(key for key in (keys.ids, *deltas) if client.exists(key))]
    for segments in (keys.rows, keys.names):
        number = 0
        while client.exists(segments(number)):
            parts.append(segments(number))
            number += 1
    return [part.removeprefix(keys.state) for part in parts]


def drop(store: "Store", name: str) -> None:
    """Delete a snapshot.

    Raises
    ------
    StoreError
        When there is none of that name.
    """
    note = _note(store, store.client, name)
    with store.client.pipeline() as pipe:
        _queue_drop(pipe, store.keys, name, note)
        pipe.execute()


def _queue_drop(pipe: Any, keys: Keys, name: str, note: dict[str, Any]) -> None:
    state = keys.snapshot(name).state
    pipe.unlink(*(state + part for part in note["keys"]))
    pipe.hdel(keys.snapshots, name)


def note_parts(store: "Store", name: str) -> None:
    """Note which keys a snapshot has, after it was written anew."""
    old = store.keys.snapshot(name)
    note = _note(store, store.client, name)
    head: Any = store.client.hgetall(old.head)
    note["keys"] = parts_of(store.client, old, head)
    store.client.hset(store.keys.snapshots, name, json.dumps(note))


# ---- looking ----
def listed(store: "Store") -> list[dict[str, Any]]:
    """Return what is known of each snapshot, the oldest first: name, time, commit, examples, progressive loss, bytes."""
    known = known_snapshots(store.keys, store.client)
    found = []
    for name in _in_order(known):
        note, state = known[name], store.keys.snapshot(name).state
        sizes = [store.client.memory_usage(state + part) or 0 for part in note["keys"]]
        figures = {field: float(note["progress"].get(field, "nan")) for field in ("examples", "loss")}
        found.append({"name": name, "time": note["time"], "commits": note["commits"], **figures, "bytes": sum(sizes)})
    return found


def known_snapshots(keys: Keys, client: Any) -> dict[str, dict[str, Any]]:
    """Return the notes of a model's snapshots, by name."""
    notes = client.hgetall(keys.snapshots)
    with require_readable(f"snapshots of {keys.model!r}", f"delete {keys.snapshots}"):
        known = {name.decode(): json.loads(text) for name, text in notes.items()}
        for note in known.values():
            if not 0 <= note["time"] < MAX_SECONDS or note["commits"] < 0:
                raise ValueError(note)
            "".join(note["keys"]), sum(map(float, note["progress"].values()))
    return known


def _in_order(known: dict[str, dict[str, Any]]) -> list[str]:
    """Return the names of snapshots, the oldest first."""
    return sorted(known, key=lambda name: (known[name]["time"], name))


def _note(store: "Store", client: Any, name: str) -> dict[str, Any]:
    known = known_snapshots(store.keys, client)
    if name not in known:
        names = ", ".join(sorted(known)) or "none"
        raise StoreError(f"snapshot of {store.keys.model!r} must be one of: {names} (got {name!r})")
    return known[name]


# ---- going back ----
def roll_back(store: "Store", name: str, fingerprint: str, width: int, relearn: bool = False) -> dict[str, Any]:
    """Put a snapshot in place of what was learned since, in one transaction.

    The cursor stays, so nothing is learned twice, and so do the ids of entries that were learned. It sends WATCH, HGETALL,
    XINFO STREAM, XRANGE; MULTI, UNLINK, COPY, HSET, XADD, XGROUP SETID.

    Parameters
    ----------
    store : Store
        The model's. It owns the model for a moment: a worker that runs then goes on from the snapshot.
    name : str
        The snapshot's.
    fingerprint, width : str, int
        The model's, and the float32s in a row.
    relearn : bool
        Whether the cursor goes back, too, so that what the stream still holds of the entries since is learned again.

    Returns
    -------
    dict
        ``commits``, the snapshot's; ``since``, how many entries were learned since; ``again``, how many of them are learned
        again.

    Raises
    ------
    StoreError
        When there is no such snapshot, it is damaged, or the stream doesn't fit what was learned.
    FencedError
        When a worker took the model over meanwhile.
    """
    note = _note(store, store.client, name)
    head = _verified(store, store.keys.snapshot(name), fingerprint, width)
    store.ownership.borrow()
    try:
        return _put_back(store, name, note, head, relearn)
    finally:
        store.ownership.release()


def _put_back(
    store: "Store", name: str, note: dict[str, Any], head: dict[bytes, bytes], relearn: bool
) -> dict[str, Any]:
    keys, old = store.keys, store.keys.snapshot(name)
    pipe: Any
    while True:
        with store.client.pipeline() as pipe, contextlib.suppress(redis.WatchError):
            pipe.watch(keys.owner, keys.head, keys.examples, keys.snapshots)
            store.ownership.require(pipe)
            if _note(store, pipe, name) != note:
                raise StoreError(f"snapshot {name!r} must stay while it is put back (it was changed): try again")
            current = pipe.hgetall(keys.head)
            position = store.stream.committed_position()
            position.require(keys.model)
            cursor, entries, again = _cursor(pipe, store, head, position.cursor.encode(), relearn)
            since = max(position.learned - int(head[b"entries"]), again)
            fields = {
                "cursor": cursor,
                "entries": entries,
                "removed": position.added - position.length,
                "commits": max(int(current.get(b"commits", 0)), note["commits"]) + 1,  # above all deltas' numbers
            }
            if not relearn:  # the ids of all entries up to the cursor
                *_, of_ids = current.get(b"checksums", b"00000000").decode().split()
                sums = [*head[b"checksums"].decode().split()[:2], of_ids]
                fields |= {"checksums": " ".join(sums), "n_ids": current.get(b"n_ids", 0)}
            parts = [part for part in parts_of(pipe, keys, current) if relearn or part != "ids"]
            back = [part for part in note["keys"] if relearn or part != "ids"]
            now, microseconds = pipe.time()
            pipe.multi()
            pipe.unlink(*(keys.state + part for part in parts))
            for part in back:
                pipe.copy(old.state + part, keys.state + part, replace=True)
            pipe.hset(keys.head, mapping=fields)
            pipe.xadd(keys.progress, note["progress"] | {"time": f"{now}.{microseconds // 1000:03}"})
            pipe.execute_command("XGROUP", "SETID", keys.examples, GROUP, cursor, "ENTRIESREAD", entries)
            pipe.execute()
            return {"commits": note["commits"], "since": since, "again": again}


def _verified(store: "Store", old: Keys, fingerprint: str, width: int) -> dict[bytes, bytes]:
    """Return the head of a snapshot, all parts of which have their checksums."""
    with loading.require_readable(old):
        parts = loading.read(Link(store.client, old), width)
        loading.require_model(old, parts.head, fingerprint)
        loading.decode(parts, old, width)
    return parts.head


def _cursor(
    pipe: Any, store: "Store", head: dict[bytes, bytes], current: bytes, relearn: bool
) -> tuple[bytes, int, int]:
    """Return the cursor after a rollback, how many entries were learned up to it, and how many are learned again.

    Where a rollback with `relearn` came before, the snapshot may be ahead of the cursor: then it goes to the snapshot's.
    """
    keys = store.keys
    now = locate(pipe, keys, current, -1, 0, current)
    then = locate(pipe, keys, head[b"cursor"], -1, 0, head[b"cursor"])
    is_same = stream_id(then.last) >= stream_id(head[b"cursor"])  # else the stream began anew since
    if is_same and stream_id(head[b"cursor"]) > stream_id(current):
        return head[b"cursor"], then.passed, 0
    if not relearn:
        return current, now.passed, 0
    if is_same and then.history:
        return head[b"cursor"], then.passed, now.passed - then.passed
    return NEVER, now.added - now.length, now.history


def names_of(store: "Store") -> Sequence[str]:
    """Return the names of the snapshots, the oldest first."""
    return _in_order(known_snapshots(store.keys, store.client))
