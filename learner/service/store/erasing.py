"""Erases entries and features from all that the server keeps of a model, to the last byte.

Redis only marks an entry of a stream as deleted, whether XDEL or a commit's XTRIM deletes it: its bytes stay in memory and in
the server's files until its neighbours have gone, too. So a stream is copied without the entry, and the copy takes its place.
For the same reason the learned state is written anew: where it became shorter, its keys have bytes of former names behind
their end. The process must own the model meanwhile (see `learner.service.erasing`).
"""

import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgpack
import numpy as np

from learner.answered import AnsweredLoss
from learner.late import LateLoss
from learner.packing import UNPACK_ERRORS
from learner.service.recent import RecentIds
from learner.service.store import loading, snapshots, writing
from learner.service.store.contents import entries_after
from learner.service.store.kept import queue_forget
from learner.service.store.link import Link
from learner.service.store.position import NEVER, locate, stream_id
from learner.service.store.scripts import script
from learner.service.store.snapshot import Learned, Written
from learner.service.wire import GROUP, decode_kept

if TYPE_CHECKING:
    from learner.service.store import Store

__all__ = ["erase_entries", "erase_kept", "erase_rejected", "find_text", "remains", "rewrite_snapshot", "rewrite_state"]

Fields = Mapping[bytes, bytes]
IsMeant = Callable[[bytes, Fields], bool]  # takes an entry's id and fields

PAGE_NAMES = 100  # kept answers that are read together


# ---- streams ----
def erase_entries(store: "Store", is_meant: IsMeant, beside: Sequence["Store"] = ()) -> tuple[int, int]:
    """Erase entries of the stream, and what is left of those that were learned and trimmed; the others keep their ids.

    Parameters
    ----------
    store : Store
        The model's.
    is_meant : callable
        Takes an entry's id and fields.
    beside : sequence of Store
        Those of its candidates, which this process owns, too: what they had not learned yet counts as learned.

    Returns
    -------
    (int, int)
        How many of the entries that it held waited to be learned, and how many had been learned.

    Raises
    ------
    StreamError
        When the stream doesn't fit what was learned.
    """
    keys = store.keys
    store.stream.committed_position().require(keys.model)
    client: Any = store.client
    cursor, learned, removed = store.stream.committed_cursor()
    copy = f"{keys.examples}:erasing"
    store.client.delete(copy)
    store.client.xgroup_create(copy, GROUP, cursor.decode(), mkstream=True)
    erased: list[bytes] = []
    is_history = removed is not None

    def is_kept(entry_id: bytes, fields: Fields) -> bool:
        if is_meant(entry_id, fields):
            erased.append(entry_id)
            return False
        return is_history or stream_id(entry_id) > stream_id(cursor)

    last, n_left = _copy(store, keys.examples, copy, is_kept)
    waiting = sum(stream_id(entry_id) > stream_id(cursor) for entry_id in erased)
    position = locate(client, keys, cursor, learned, 0, cursor, removed)
    lost = position.added - position.length + n_left
    fields = {"cursor": cursor, "entries": learned + waiting, "removed": lost}
    heads = [(each.keys.head, *each.stream.committed_cursor()[:2]) for each in beside if client.exists(each.keys.head)]

    def finish(pipe: Any) -> None:
        pipe.execute_command("EVAL", script("replace.lua"), 2, keys.examples, copy, last)
        pipe.hset(keys.head, mapping=fields)
        pipe.execute_command("XGROUP", "SETID", keys.examples, GROUP, cursor, "ENTRIESREAD", learned + waiting)
        for head, its_cursor, its_learned in heads:
            n_missed = sum(stream_id(entry_id) > stream_id(its_cursor) for entry_id in erased)
            pipe.hset(head, "entries", its_learned + n_missed)

    _as_owner(store, finish, *(key for each in beside for key in (each.keys.owner, each.keys.head)))
    return waiting, len(erased) - waiting


def erase_rejected(store: "Store", is_meant: IsMeant) -> int:
    """Erase rejected entries, which get the fields of the original beside their own; return how many those were."""
    key = store.keys.rejected
    if not store.client.exists(key):
        return 0
    copy = f"{key}:erasing"
    store.client.delete(copy)
    store.client.xgroup_create(copy, GROUP, "0", mkstream=True)
    last, n = _copy(store, key, copy, lambda entry_id, fields: not is_meant(entry_id, _original(fields)))

    def finish(pipe: Any) -> None:
        pipe.execute_command("EVAL", script("replace.lua"), 2, key, copy, last)
        pipe.xgroup_destroy(key, GROUP)

    _as_owner(store, finish)
    return n


def _original(fields: Fields) -> dict[bytes, bytes]:
    """Return a rejected entry's fields, and those of the original, if it is whole."""
    with contextlib.suppress(*UNPACK_ERRORS):
        original = msgpack.unpackb(fields.get(b"data", b""), strict_map_key=False)
        if isinstance(original, dict):
            pairs = {_bytes(name): _bytes(value) for name, value in original.items()}
            return pairs | dict(fields)
    return dict(fields)


def _bytes(value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode(errors="surrogateescape")


def _copy(store: "Store", key: str, copy: str, is_kept: IsMeant) -> tuple[bytes, int]:
    """Copy the entries that are kept; return the id of the last entry looked at, and how many were left out."""
    last, n = NEVER, 0
    for page in entries_after(store.client, key, NEVER):
        with store.client.pipeline(transaction=False) as pipe:
            for entry_id, fields in page:
                if is_kept(entry_id, fields):
                    pipe.xadd(copy, dict[Any, Any](fields), id=entry_id)
                else:
                    n += 1
            pipe.execute()
        last = page[-1][0]
    return last, n


def _as_owner(store: "Store", queue: Callable[[Any], None], *watched: str) -> None:
    """Run what is queued as one transaction, as long as this process owns the model, and no key that is watched changes."""
    with store.ownership.transaction("while erasing", store.keys.head, *watched) as pipe:
        pipe.multi()
        queue(pipe)
        pipe.execute()


# ---- answers that wait for their outcomes ----
def erase_kept(store: "Store", names: set[bytes], is_feature_meant: Callable[[str], bool]) -> int:
    """Erase the answers that wait for their outcomes under some names, or have some feature; return how many those were."""
    client: Any = store.client
    keys, cursor, n = store.keys, 0, 0
    while True:
        cursor, page = client.zscan(keys.kept, cursor, count=PAGE_NAMES)
        found = [name for name, _ in page]
        answers = client.mget([keys.kept_answer(name) for name in found]) if found else []
        meant = [
            name
            for name, data in zip(found, answers, strict=True)
            if name in names or any(map(is_feature_meant, _features(data)))
        ]
        if meant:
            queue_forget(client, keys, meant)
        n += len(meant)
        if not cursor:
            return n


def _features(data: bytes | None) -> list[str]:
    """Return the names of the features of a kept answer; none of an array, or of what can't be read."""
    kept = decode_kept(data)
    with contextlib.suppress(*UNPACK_ERRORS):
        features = msgpack.unpackb(kept.features if kept else b"\x80", strict_map_key=False)
        return [str(name) for name in features] if isinstance(features, dict) else []
    return []


# ---- the learned state ----
def rewrite_state(
    store: "Store", model: Any, erase: Callable[[Any], Any], figures: Callable[[Any, LateLoss, AnsweredLoss], Any]
) -> Any:
    """Write the learned state anew, after `erase(model)`; return what `erase` returned, None if nothing was learned.

    Parameters
    ----------
    store : Store
        The model's.
    model : Model
        A model of its spec; it gets the state.
    erase, figures : callable
        Erases from the model; returns the figures of the commit for a model and its losses.
    """
    keys = store.keys
    committed = store.commits.load(model.fingerprint, model.row_width, must_fit=False)
    if committed is None or not committed.state:
        return None
    model.load_state(committed.state)
    result = erase(model)
    head: Any = store.client.hgetall(keys.head)
    ids = loading.recent_ids(Link(store.client, keys), bytes.fromhex(store.spec()["seed"]))
    losses = committed.late, committed.answered
    snapshot = store.commits.whole(_learned(model, *losses), committed.cursor, figures(model, *losses), ids)
    gone = [keys.state + part for part in snapshots.parts_of(store.client, keys, head) if part not in ("head", "ids")]

    def finish(pipe: Any) -> None:
        pipe.unlink(*gone)
        writing.queue(
            pipe, keys, snapshot, Written(), committed.n_commits + 1, int(head[b"entries"]),
            int(head[b"removed"]) if head.get(b"removed") else None,
        )  # fmt: skip

    _as_owner(store, finish)
    return result


def rewrite_snapshot(store: "Store", name: str, model: Any, erase: Callable[[Any], Any]) -> Any:
    """Write a snapshot anew, after `erase(model)`; return what `erase` returned."""
    old = store.keys.snapshot(name)
    with loading.require_readable(old):
        parts = loading.read(Link(store.client, old), model.row_width)
        loading.require_model(old, parts.head, model.fingerprint)
        state, written = loading.decode(parts, old, model.row_width)
    model.load_state(state)
    result = erase(model)
    ids = RecentIds(bytes.fromhex(store.spec()["seed"]))
    ids.load(np.frombuffer(parts.ids, np.uint64), written.n_ids)
    losses = loading.losses_of(parts.head)
    snapshot = store.commits.whole(_learned(model, *losses), parts.head[b"cursor"], {}, ids)
    gone = [
        old.state + part for part in snapshots.parts_of(store.client, old, parts.head) if part not in ("head", "ids")
    ]

    def finish(pipe: Any) -> None:
        pipe.unlink(*gone)
        kept = {name: parts.head[name] for name in (b"commits", b"entries", b"removed", b"time") if name in parts.head}
        writing.queue_state(pipe, old, snapshot, Written(), int(parts.head[b"commits"]), kept)

    _as_owner(store, finish)
    snapshots.note_parts(store, name)
    return result


def _learned(model: Any, late: LateLoss, answered: AnsweredLoss) -> Learned:
    return Learned(model.state(), np.ones(len(model.state()["rows"]), np.uint8), model.fingerprint, late, answered)


# ---- what remains ----
def find_text(store: "Store", texts: list[bytes], most: int, beside: Sequence["Store"]) -> dict[str, list[str]]:
    """Return the ids of entries that have one of some texts in them, by the name of the stream, at most `most` of each."""
    keys, found = store.keys, dict[str, list[str]]()
    streams = {"examples": keys.examples, "requests": keys.requests, "rejected": keys.rejected}
    for name, key in (streams | {f"{each.keys.model} rejected": each.keys.rejected for each in beside}).items():
        ids = [
            entry_id.decode()
            for page in entries_after(store.client, key, NEVER)
            for entry_id, fields in page
            if any(text in value for value in fields.values() for text in texts)
        ]
        if ids:
            found[name] = ids[:most]
    return found


def remains(store: "Store") -> bool:
    """Tell whether the server keeps an append-only file, in which erased bytes stay until it is rewritten."""
    return bool(store.client.info("persistence").get("aof_enabled"))
