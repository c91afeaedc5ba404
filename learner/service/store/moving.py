"""Renaming a model: its keys go from one cluster slot to another, so no transaction can have both.

The hash ``moved`` of the old name is written first, in one transaction with the deletion of the old spec: from then on no
worker can own the old model. All values are copied, the new spec last; then the old keys go. Whatever ends it, the same call
goes on. Producers may push to the old name all the while, and afterwards: each entry there is moved once, as the transaction
that adds it to the new stream notes its id in the hash ``arrived`` beside it.
"""

import contextlib
import secrets
from typing import TYPE_CHECKING, Any

import redis

from learner.errors import StoreError
from learner.service.store.contents import entries_after, items, keys_of, parts_at_work, put, wipe
from learner.service.store.position import LAST, NEVER, create_group, stream_id
from learner.service.store.registry import register, unregister
from learner.service.store.requests import Answer
from learner.service.wire import GROUP, to_json

if TYPE_CHECKING:
    from learner.service.store import Store

__all__ = ["move", "moved_to", "require_free", "set_out"]


def moved_to(store: "Store") -> str | None:
    """Return the new name of a model that was renamed, or is being renamed: HGET."""
    name: Any = store.client.hget(store.keys.moved, "to")
    return name.decode(errors="replace") if name else None


def require_free(store: "Store") -> None:
    """Make sure that a name has no keys.

    Raises
    ------
    StoreError
        When it has.
    """
    if taken := next(keys_of(store.client, store.keys), None):
        raise StoreError(
            f"model name {store.keys.model!r} must be free (there is {taken}): delete it, or choose another"
        )


def set_out(old: "Store", new: "Store") -> None:
    """Take a model's name from it, in one transaction. The store must own the model.

    Raises
    ------
    FencedError
        When a worker took the model over meanwhile.
    """
    with old.ownership.transaction("while renaming", old.keys.spec) as pipe:
        spec = pipe.get(old.keys.spec)
        pipe.multi()
        pipe.hset(old.keys.moved, mapping={"to": new.keys.model, "spec": spec or b"", "round": secrets.token_hex(8)})
        pipe.unlink(old.keys.spec, *parts_at_work(old.keys))
        pipe.execute()


def move(old: "Store", new: "Store") -> int:
    """Do what is left of a renaming that has set out; return how many entries the new stream got.

    Raises
    ------
    StoreError
        When somebody else wrote keys of the new name.
    """
    note: Any = old.client.hgetall(old.keys.moved)
    n = 0
    if b"spec" in note and not _is_copied(new, note[b"round"]):
        n += _copy(old, new, note)
    n += _follow(old, new)
    _refuse_requests(old, new.keys.model)
    wipe(
        old, None, old.keys.moved, old.keys.replies, old.keys.examples
    )  # replies expire; producers may push again by now
    unregister(old.client, old.keys.model)
    new.client.unlink(new.keys.arrived)
    return n


def _is_copied(new: "Store", round_: bytes) -> bool:
    """Tell whether everything is copied: the model of the new name must be the old one, not one that was made meanwhile."""
    if not new.exists(new.keys.model):
        return False
    if new.client.hget(new.keys.arrived, "round") != round_:
        raise StoreError(
            f"model name {new.keys.model!r} must be free (there is a model by now): rename or delete that one"
        )
    return True


def _copy(old: "Store", new: "Store", note: dict[bytes, bytes]) -> int:
    """Copy everything, from the beginning, and the spec last; return how many entries were copied."""
    client, keys = new.client, new.keys
    token = new.claim(f"rename {old.keys.model} ".encode())
    wipe(new, token, keys.arriving)
    pipe: Any
    left = (old.keys.moved, old.keys.examples, old.keys.requests, old.keys.replies, *parts_at_work(old.keys))
    for name, item in items(old.client, old.keys, without=left):
        if item.kind == "stream":
            _copy_stream(old, old.keys.prefix + name, new, keys.prefix + name, token)
            continue
        with new.guarded(token) as pipe:
            put(pipe, keys.prefix + name, item)
    cursor: Any = old.client.hget(old.keys.head, "cursor")  # None before the first commit
    n, n_learned = _copy_examples(old, new, cursor or NEVER, note[b"round"], token)
    create_group(client, keys.examples)
    create_group(client, keys.requests)
    with new.guarded(token) as pipe:
        if cursor is not None:
            fields = {"cursor": cursor if n_learned else NEVER, "entries": n_learned, "removed": 0}
            pipe.hset(keys.head, mapping=fields)
            pipe.execute_command("XGROUP", "SETID", keys.examples, GROUP, fields["cursor"], "ENTRIESREAD", n_learned)
        pipe.hset(keys.arrived, "round", note[b"round"])
        pipe.set(keys.spec, note[b"spec"])
        pipe.unlink(keys.arriving)
    register(client, keys.model)
    return n


def _copy_stream(old: "Store", key: str, new: "Store", to: str, token: bytes) -> None:
    for page in entries_after(old.client, key, NEVER):
        with new.guarded(token) as pipe:
            for entry_id, fields in page:
                pipe.xadd(to, fields, id=entry_id)


def _copy_examples(old: "Store", new: "Store", cursor: bytes, round_: bytes, token: bytes) -> tuple[int, int]:
    """Copy the stream of examples, with the ids; return how many entries it has, and how many of them were learned."""
    n = n_learned = 0
    for page in entries_after(old.client, old.keys.examples, NEVER):
        with new.guarded(token) as pipe:
            for entry_id, fields in page:
                pipe.xadd(new.keys.examples, fields, id=entry_id)
                n_learned += stream_id(entry_id) <= stream_id(cursor)
            pipe.hset(new.keys.arrived, mapping={"round": round_, "id": page[-1][0]})
        n += len(page)
    return n, n_learned


def _refuse_requests(old: "Store", name: str) -> None:
    """Answer the requests that wait at the old name with an error, as nobody else will."""
    for page in entries_after(old.client, old.keys.requests, NEVER):
        replies = []
        for request_id, fields in page:
            reply, number = fields.get(b"reply", b""), fields.get(b"id")
            told = {} if number is None else {"id": number.decode(errors="replace")}
            if old.requests.may_be_replied_to(reply):
                error = f"model {old.keys.model!r} was renamed: ask {name!r}"
                replies.append(Answer(request_id, reply, to_json(told | {"error": error}).encode()))
        old.requests.answer(replies)


def _follow(old: "Store", new: "Store") -> int:
    """Move what was pushed to the old name meanwhile to the end of the new stream; return how many entries that were.

    The old stream goes once nothing is left in it; it has another ``round`` then, as its ids may begin anew.
    """
    n = 0
    pipe: Any
    while True:
        with contextlib.suppress(redis.WatchError):  # somebody pushed meanwhile, or runs the same command
            last, n_moved = _move_page(old, new)
            n += n_moved
            if n_moved:
                continue
            with old.client.pipeline() as pipe:
                pipe.watch(old.keys.examples)
                if last == LAST or not pipe.xrange(old.keys.examples, f"({last.decode()}", count=1):
                    pipe.multi()
                    pipe.unlink(old.keys.examples)
                    pipe.hset(old.keys.moved, mapping={"round": secrets.token_hex(8)})
                    pipe.hdel(old.keys.moved, "spec")
                    pipe.execute()
                    return n


def _move_page(old: "Store", new: "Store") -> tuple[bytes, int]:
    """Move the next entries, once each; return the last one that was moved so far, and how many these are.

    Raises
    ------
    redis.WatchError
        When the same command, run elsewhere, moved entries meanwhile.
    """
    pipe: Any
    with new.client.pipeline() as pipe:
        pipe.watch(new.keys.arrived)
        round_: Any = old.client.hget(old.keys.moved, "round") or b""
        arrived: Any = pipe.hgetall(new.keys.arrived)
        last = arrived.get(b"id", NEVER) if arrived.get(b"round") == round_ else NEVER
        page = next(entries_after(old.client, old.keys.examples, last), [])
        if (old.client.hget(old.keys.moved, "round") or b"") != round_:  # they may be of another stream
            raise redis.WatchError
        if not page:
            return last, 0
        pipe.multi()
        for _, fields in page:
            pipe.xadd(new.keys.examples, fields)
        pipe.hset(new.keys.arrived, mapping={"round": round_, "id": page[-1][0]})
        pipe.execute()
    return page[-1][0], len(page)
