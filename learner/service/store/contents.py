"""All keys of a model, whatever they hold: found by their names, deleted, and copied value by value.

Which keys a model has is decided in many places, so nothing here knows them all: SCAN finds them by the model's name.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import redis

from learner.errors import StoreError
from learner.service.store.position import LAST
from learner.service.store.registry import unregister
from learner.service.wire import Keys

if TYPE_CHECKING:
    from learner.service.store import Store

__all__ = ["Item", "delete", "entries_after", "items", "keys_of", "parts_at_work", "put", "wipe"]

PAGE_KEYS = 1000
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
        Bytes; or a dict, or a list, of bytes; of a zset (member, score) pairs; of a stream None: see `entries_after`.
    """

    kind: str
    ttl_ms: int
    value: Any


def keys_of(client: redis.Redis, keys: Keys) -> Iterator[str]:
    """Yield the keys of a model, once each: SCAN."""
    seen: set[bytes] = set()
    for key in client.scan_iter(match=keys.everything, count=PAGE_KEYS):
        if key not in seen:
            seen.add(key)
            yield key.decode(errors="surrogateescape")


def parts_at_work(keys: Keys) -> tuple[str, ...]:
    """Return the keys that only say what processes do with the model now."""
    return keys.owner, keys.lease, keys.workers, keys.attempt


# ---- deleting ----
def delete(store: "Store") -> int:
    """Delete a model; return how many keys that were. One transaction ends it; what is left after it is no model's.

    It sends WATCH, MULTI, UNLINK; SCAN; SREM. The store must own the model, unless its spec is gone already.

    Raises
    ------
    FencedError
        When a worker took the model over meanwhile.
    """
    keys, client = store.keys, store.client
    pipe: Any
    with client.pipeline() as pipe:
        try:
            pipe.watch(keys.owner, keys.spec)
            if pipe.exists(keys.spec):
                store.ownership.require(pipe)
            pipe.multi()
            pipe.unlink(
                keys.spec, keys.head, keys.examples, keys.requests, keys.settings, *parts_at_work(keys), keys.moved
            )
            n = int(pipe.execute()[0])
        except redis.WatchError as error:
            store.ownership.require()
            raise redis.ConnectionError(f"lost while deleting ({error})") from error
    unregister(client, keys.model)
    return n + wipe(store)


def wipe(store: "Store", *spared: str) -> int:
    """Delete all keys of a model but those that start with one of `spared`; return how many they were: SCAN, UNLINK."""
    n, page = 0, list[str]()
    for key in keys_of(store.client, store.keys):
        if not key.startswith(spared):
            page.append(key)
        if len(page) == PAGE_KEYS:
            n += _unlink(store.client, page)
    return n + _unlink(store.client, page)


def _unlink(client: redis.Redis, page: list[str]) -> int:
    n = int(client.unlink(*(key.encode(errors="surrogateescape") for key in page))) if page else 0
    page.clear()
    return n


# ---- reading and writing ----
def items(client: Any, keys: Keys, without: tuple[str, ...]) -> Iterator[tuple[str, Item]]:
    """Yield each key of a model, without the model's name at its beginning, and its value.

    It sends SCAN, TYPE, PTTL; GET, HGETALL, LRANGE, SMEMBERS, ZRANGE. A key that starts with one of `without` is left out.
    """
    for key in keys_of(client, keys):
        if key.startswith(without):
            continue
        raw: Any = key.encode(errors="surrogateescape")
        kind, ttl_ms = client.type(raw).decode(), int(client.pttl(raw))
        if kind == "none":  # it is gone
            continue
        if kind not in READ:
            raise StoreError(f"key {key} must hold a string, a hash, a list or a set (it holds a {kind})")
        yield key.removeprefix(keys.prefix), Item(kind, ttl_ms, READ[kind](client, raw))


READ: dict[str, Any] = {
    "stream": lambda client, key: None,
    "string": lambda client, key: client.get(key) or b"",
    "hash": lambda client, key: client.hgetall(key),
    "list": lambda client, key: client.lrange(key, 0, -1),
    "set": lambda client, key: sorted(client.smembers(key)),
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
