"""All keys of a model, whatever they hold: found by their names, deleted, and copied value by value.

Which keys a model has is decided in many places, so nothing here knows them all: SCAN finds them by the model's name.
"""

import secrets
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import redis

from learner.errors import StoreError
from learner.service.store.cluster import require_settled
from learner.service.store.paging import pages
from learner.service.store.position import LAST
from learner.service.store.registry import unregister
from learner.service.wire import Keys

if TYPE_CHECKING:
    from learner.service.store import Store

__all__ = ["PAGE_ENTRIES", "Item", "delete", "entries_after", "items", "keys_of", "parts_at_work", "put", "wipe"]

PAGE_KEYS = 1000
LARGE_BYTES = 1 << 16  # of a value that is read by itself
PAGE_ENTRIES = 100  # of a stream, each of which may have several megabytes


class Item(NamedTuple):
    """A key's value.

    Parameters
    ----------
    kind : str
        Its type: string, hash, list, set, zset or stream.
    ttl_ms : int
        In how many milliseconds it expires; below 0: never.
    value : object
        Bytes; or a dict, or a list, of bytes; of a zset (member, score) pairs. For a stream see `entries_after`.
    """

    kind: str
    ttl_ms: int
    value: Any


def keys_of(client: redis.Redis, keys: Keys) -> Iterator[str]:
    """Yield the keys of a model, once each: SCAN; of a cluster EXISTS, before and after it.

    Raises
    ------
    Rerouted
        When the model's slot is moving, so that some keys would be missed.
    """
    seen: set[bytes] = set()
    require_settled(client, keys.prefix)
    for key in client.scan_iter(match=keys.everything, count=PAGE_KEYS):
        if key not in seen:
            seen.add(key)
            yield key.decode(errors="surrogateescape")
    require_settled(client, keys.prefix)


def parts_at_work(keys: Keys) -> tuple[str, ...]:
    """Return the keys that only say what processes do with the model now."""
    return keys.owner, keys.lease, keys.workers, keys.answerers, keys.attempt


# ---- deleting ----
def delete(store: "Store") -> int:
    """Delete a model; return how many keys that were. One transaction ends it; what is left after it is no model's.

    It sends WATCH, MULTI, UNLINK; SCAN; SREM. The store must own the model, unless its spec is gone already.

    Raises
    ------
    FencedError
        When a worker took the model over meanwhile.
    """
    keys, client, token = store.keys, store.client, b"delete " + secrets.token_hex(8).encode()
    pipe: Any
    with client.pipeline() as pipe:
        try:
            pipe.watch(keys.owner, keys.spec)
            if pipe.exists(keys.spec):
                store.ownership.require(pipe)
            pipe.multi()
            streams = () if keys.old else (keys.examples, keys.requests)
            pipe.unlink(keys.spec, keys.head, *streams, keys.settings, *parts_at_work(keys), keys.moved)
            pipe.set(keys.arriving, token)  # until all is deleted, nobody makes a model of that name
            if keys.old:
                pipe.hdel(keys.old.candidates, keys.model.partition("/")[2])
            n = int(pipe.execute()[0])
        except redis.WatchError as error:
            store.ownership.require()
            raise redis.ConnectionError(f"lost while deleting ({error})") from error
    if not keys.old:
        unregister(client, keys.model)
    n += wipe(store, token, keys.arriving)
    with store.guarded(token) as pipe:
        pipe.unlink(keys.arriving)
    return n


def wipe(store: "Store", token: bytes | None, *spared: str) -> int:
    """Delete all keys of a model but those that start with one of `spared`; return how many they were: SCAN, UNLINK.

    With a token they are deleted only while the key ``arriving`` holds it: see `Store.guarded`.
    """
    unwanted = (
        key.encode(errors="surrogateescape") for key in keys_of(store.client, store.keys) if not key.startswith(spared)
    )
    n = 0
    for page in pages(unwanted, PAGE_KEYS):
        n += len(page)
        if token is None:
            store.client.unlink(*page)
            continue
        with store.guarded(token) as pipe:
            pipe.unlink(*page)
    return n


# ---- reading and writing ----
def items(client: Any, keys: Keys, without: tuple[str, ...]) -> Iterator[tuple[str, Item]]:
    """Yield each key of a model, without the model's name at its beginning, and its value.

    It sends SCAN, TYPE, PTTL, MEMORY USAGE; GET, HGETALL, LRANGE, SMEMBERS, ZRANGE. A key that starts with one of `without`
    is left out.
    """
    wanted = (key for key in keys_of(client, keys) if not key.startswith(without))
    for page in pages(wanted, PAGE_ENTRIES):
        raws = [key.encode(errors="surrogateescape") for key in page]
        with client.pipeline(transaction=False) as pipe:
            for raw in raws:
                pipe.type(raw)
                pipe.pttl(raw)
                pipe.memory_usage(raw)
            replies = pipe.execute()
        about = [
            (kind.decode(), int(ttl_ms), n_bytes or 0)
            for kind, ttl_ms, n_bytes in zip(*[iter(replies)] * 3, strict=True)
        ]
        values = _values(client, list(zip(raws, about, strict=True)))
        for key, (kind, ttl_ms, _), value in zip(page, about, values, strict=True):
            if value is not None:  # it is there
                yield key.removeprefix(keys.prefix), Item(kind, ttl_ms, value)


def _values(client: Any, found: list[tuple[bytes, tuple[str, int, int]]]) -> Iterator[Any]:
    """Yield the values of keys, those of small ones read together; None for a key that is gone."""
    small = [n_bytes < LARGE_BYTES for _, (_, _, n_bytes) in found]
    with client.pipeline(transaction=False) as pipe:
        for (raw, (kind, _, _)), is_small in zip(found, small, strict=True):
            if kind not in ("none", *READ):
                raise StoreError(
                    f"key {raw!r} must hold a string, a hash, a list, a set or a stream (it holds a {kind})"
                )
            if is_small and kind in READ:
                READ[kind](pipe, raw)
        together = iter(pipe.execute())
    for (raw, (kind, _, _)), is_small in zip(found, small, strict=True):
        if kind not in READ:
            yield None
        else:
            yield next(together) if is_small else READ[kind](client, raw)


READ: dict[str, Any] = {
    "stream": lambda client, key: client.exists(key),
    "string": lambda client, key: client.get(key),
    "hash": lambda client, key: client.hgetall(key),
    "list": lambda client, key: client.lrange(key, 0, -1),
    "set": lambda client, key: client.smembers(key),
    "zset": lambda client, key: client.zrange(key, 0, -1, withscores=True),
}


def put(pipe: Any, key: str, item: Item) -> None:
    """Queue the commands that write a key's value in place of what it holds; an empty one leaves none."""
    raw, value = key.encode(errors="surrogateescape"), item.value
    pipe.unlink(raw)
    if item.kind == "string":
        pipe.set(raw, value)
    elif value and item.kind == "hash":
        pipe.hset(raw, mapping=value)
    elif value and item.kind == "list":
        pipe.rpush(raw, *value)
    elif value and item.kind == "set":
        pipe.sadd(raw, *value)
    elif value and item.kind == "zset":
        pipe.zadd(raw, dict(value))
    if item.ttl_ms > 0:
        pipe.pexpire(raw, item.ttl_ms)


def entries_after(client: Any, stream: str, last: bytes) -> Iterator[list[tuple[bytes, dict[bytes, bytes]]]]:
    """Yield the entries of a stream after an id, in pages, up to its end: XRANGE."""
    while last != LAST:
        page = client.xrange(stream, f"({last.decode()}", count=PAGE_ENTRIES)
        if not page:
            return
        yield page
        last = page[-1][0]
