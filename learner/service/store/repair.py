"""Makes cursor and stream fit again, in the way that an administrator chooses."""

import contextlib
from typing import TYPE_CHECKING, Any

import redis

from learner.errors import StoreError
from learner.service.store.contents import keys_of
from learner.service.store.position import (
    LAST,
    NEVER,
    PAGE_ENTRIES,
    Position,
    create_group,
    locate,
    queue_renewal,
    stream_id,
)
from learner.service.store.writing import queue_rejected
from learner.service.wire import GROUP, rejected_entry
from learner.stored import require_readable

if TYPE_CHECKING:
    from learner.service.store import Store

__all__ = ["CHOICES", "renew", "repair", "skip_entry"]

CHOICES = {
    "from-start": "learn what the stream has now, from its beginning",
    "skip": "skip what the stream has now; learn what comes after",
    "continue": "learn what comes after the last entry learned; what was lost before it stays lost",
    "forget": "forget all that was learned, and learn what the stream has now from its beginning",
}


def repair(store: "Store", choice: str) -> Position:
    """Make cursor and stream fit as chosen, in one transaction; return the new position.

    All choices but "forget" keep the state.

    Parameters
    ----------
    store : Store
        The model's; it must own the model (see `learner.service.owning.own_without_worker`).
    choice : str
        One of `CHOICES`.

    Raises
    ------
    StoreError
        When the choice is not possible.
    FencedError
        When a worker took the model over meanwhile.
    """
    keys = store.keys
    _create_group(store)

    def change(pipe: Any, old: Position) -> None:
        if choice == "continue" and not old.reaches:
            raise StoreError(f"choice {choice!r} must have a stream that reaches {old.cursor} (it ends at {old.last})")
        new, entries = {
            "from-start": (NEVER.decode(), old.added - old.length),
            "forget": (NEVER.decode(), old.added - old.length),
            "skip": (old.last, old.added),
            "continue": (old.cursor, old.passed),
        }[choice]
        found = keys_of(store.client, keys) if choice == "forget" else []
        state = [key.encode(errors="surrogateescape") for key in found if key.startswith(keys.state)]
        pipe.multi()
        if state:
            pipe.delete(*state)
        pipe.hset(keys.head, mapping={"cursor": new, "entries": entries, "removed": old.added - old.length})
        pipe.execute_command("XGROUP", "SETID", keys.examples, GROUP, new, "ENTRIESREAD", entries)

    return _transaction(store, change, forgets=choice == "forget")


def skip_entry(store: "Store", entry_id: str) -> Position:
    """Reject an entry that waits to be learned, so that it never is; return the new position. See `repair`.

    It goes to the rejected stream as one that killed a worker.
    """
    keys = store.keys

    def change(pipe: Any, old: Position) -> None:
        try:
            is_learned = stream_id(entry_id) <= stream_id(old.cursor)
            entries = pipe.xrange(keys.examples, entry_id, entry_id)
        except (ValueError, redis.ResponseError):
            is_learned, entries = False, []
        if is_learned or not entries:
            raise StoreError(f"entry must be one of {keys.examples} after {old.cursor} (got {entry_id!r})")
        pipe.multi()
        pipe.xdel(keys.examples, entry_id)
        queue_rejected(
            pipe, keys, entries[0][0], rejected_entry("killed", "entry was skipped by a repair", entries[0][1])
        )
        removed = old.added - old.length + 1
        pipe.hset(keys.head, mapping={"cursor": old.cursor, "entries": old.learned + 1, "removed": removed})

    return _transaction(store, change)


def renew(store: "Store") -> Position:
    """Give the entries that are not learned yet new ids, in a new stream; return the new position. See `repair`.

    So entries can be added again where the last possible id was used, and ids tell the time again where they were far ahead.

    Raises
    ------
    StoreError
        When the stream doesn't fit what was learned.
    """
    keys, client = store.keys, store.client
    renewed = f"{keys.examples}:renewed"
    copied = store.stream.committed_position().cursor.encode()
    client.delete(renewed)
    is_copied = False

    def change(pipe: Any, old: Position) -> None:
        nonlocal is_copied
        if old.trouble:
            raise StoreError(f"{old.trouble}; settle that first")
        is_copied = copied == LAST or not pipe.xrange(keys.examples, f"({copied.decode()}", count=1)
        has_some = is_copied and pipe.exists(renewed)
        pipe.multi()
        if is_copied:
            queue_renewal(pipe, keys, renewed if has_some else None)

    try:
        while not is_copied:
            copied = _copy_after(store, copied, renewed)
            position = _transaction(store, change)
    finally:
        with contextlib.suppress(redis.RedisError):
            client.delete(renewed)
    return position


def _copy_after(store: "Store", last: bytes, to: str) -> bytes:
    """Add the examples after an entry to another stream; return the id of the last one, and give signs of life meanwhile."""
    while last != LAST:
        page: Any = store.client.xrange(store.keys.examples, f"({last.decode()}", count=PAGE_ENTRIES // 100)
        if not page:
            break
        with store.client.pipeline(transaction=False) as pipe:
            for _, fields in page:
                pipe.xadd(to, fields)
            pipe.execute()
        last = page[-1][0]
        store.ownership.beat()
    return last


def _transaction(store: "Store", change: Any, forgets: bool = False) -> Position:
    """Have `change(pipe, position)` queue what changes, as long as nothing else did and the store owns the model.

    What was learned, which may be damaged, is not looked at if the change forgets it.
    """
    keys = store.keys
    pipe: Any
    while True:
        with store.client.pipeline() as pipe:
            pipe.watch(keys.owner, keys.lease, keys.head, keys.examples)
            store.ownership.require(pipe)
            fields = (None, None, None) if forgets else pipe.hmget(keys.head, "cursor", "entries", "removed")
            with require_readable(f"cursor of {keys.model!r}", "choose forget, which learns the stream anew"):
                cursor, learned, removed = fields[0] or NEVER, int(fields[1] or 0), fields[2]
                old = locate(pipe, keys, cursor, learned, 0, cursor, int(removed) if removed else None)
            if not old.is_stream:
                raise StoreError(str(old.trouble))
            change(pipe, old)
            with contextlib.suppress(redis.WatchError):
                pipe.execute()
                return store.stream.committed_position()


def _create_group(store: "Store") -> None:
    with contextlib.suppress(redis.ResponseError):  # what isn't a stream is named by `_transaction`
        create_group(store.client, store.keys.examples)
